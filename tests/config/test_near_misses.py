"""Misspelt protective settings, and the names of other programs that only look a little like them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ibkr_bridge.config.env_reader import EnvReader
from ibkr_bridge.config.near_misses import PROTECTIVE_SETTINGS, misspelt_protective_setting
from ibkr_bridge.config.settings import setting_names

READ_ONLY = (
    *(
        "IBKR_READONLY",
        "ibkr_read_only",
        "IBKR_READ_ONLY_MODE",
        "IBKR_READONLY_MODE",
        "IBKR_READ_ONY",
        "IKBR_READ_ONLY",
    ),
    *("IBRK_READ_ONLY", "IB_READ_ONLY", "IBKRREADONLY", "IBKR_READ-ONLY", "IBKR_BRIDGE_READ_ONLY", "IBKR_ONLY_READ"),
    *(
        "IBKR_GATEWAY_READ_ONLY",
        "IBKR_READ_ONLYY",
        "IBKR_RO",
        "IBKR_REED_ONLY",
        "IBKR__READ_ONLY",
        "IBKR_READ_ONLY_FILE",
    ),
    *("IBKR_IS_READ_ONLY", "IBKR_REDONLY"),
    *("BRIDGE_READ_ONLY", "GATEWAY_READONLY", "IBKR_VIEW_ONLY", "IBKR_TRADING_DISABLED", "IBKR_DISABLE_TRADING"),
    *("IBKR_NO_TRADING", "IBKR_NOTRADING", "IBKR_ORDERS_OFF", "IBKR_BRIDGE_NO_ORDERS", "IBKR_TradingDisabled"),
)
ACCOUNTS = (
    *("IBKR_ALLOWED_ACCOUNT", "IBKR_ALLOW_ACCOUNTS", "IBKR_ALLOWED_ACCTS", "IBKR_ACCOUNTS_ALLOWED"),
    *("IBKR_ALOWED_ACCOUNTS", "IBKR_ALLOWEDACCOUNTS", "IBKR_ACCOUNT_WHITELIST", "IBKR_BRIDGE_ALLOWED_ACCOUNTS"),
    *("IBKR_ALLOWED_ACCOUNT_IDS", "IBKR_PERMITTED_ACCOUNTS", "Ibkr_Allowed_Accounts"),
    *("IBKR_WHITELIST", "IBKR_ALLOW_LIST", "IBKR_ONLY_ACCOUNTS", "IBKR_ACCOUNTWHITELIST", "IBKR_VALID_ACCOUNTS"),
    *("IBKR_ALLOWED_ACC", "IBKR_ENABLED_ACCOUNTS", "BRIDGE_ALLOWED_ACCOUNTS"),
)
QUANTITY = (
    *("IBKR_MAX_ORDER_QTY", "IBKR_MAX_QTY", "IBKR_MAX_QUANTITY", "IBKR_MAX_ORDER_SIZE", "IBKR_MAXORDERQUANTITY"),
    *("IBKR_MAXIMUM_ORDER_QUANTITY", "IBKR_ORDER_MAX_QUANTITY", "IBKR_MAX_ODER_QUANTITY", "IBKR_MAX_ORDER_QUANTITIES"),
    *("IBKR_LIMIT_QUANTITY", "IBKR_MAX_ORDERS_QUANTITY", "IBKR_MX_ORDER_QUANTITY"),
    *("IBKR_MAX_ORDER", "IBKR_ORDER_LIMIT", "IBKR_MAXQTY", "IBKR_MAX_CONTRACTS", "IBKR_MAXTRADESIZE", "IBKR_MAX_LOTS"),
    *("IBKR_MAX_SHARES_PER_ORDER", "IBKR_ORDERSIZELIMIT", "ibkrMaxOrderQty", "BRIDGE_MAX_ORDER_QTY"),
    *("IBKR_MAX_ORDER_VOLUME", "IBKR_QTY_CAP", "IBKR_MAX_ORDER_QNTY"),
)
VALUE = (
    *("IBKR_MAX_ORDERVALUE", "IBKR_MAX_VALUE", "IBKR_MAX_ORDER_AMOUNT", "IBKR_ORDER_LIMIT_VALUE", "IBKR_MAX_ORDER_VAL"),
    *("IBKR_MAX_ORDER_NOTIONAL", "IBKR_MAX_ORDERS_VALUE", "IBKR_MAX_ORDR_VALUE"),
    *("IBKR_MAX_ORDER_AMT", "IBKR_MAX_ORDER_USD", "IBKR_MAX_TRADE_VALUE", "IBKR_VALUE_CAP", "IBKR_MAXORDERUSD"),
    *("IBKR_UPPER_ORDER_VALUE", "IBKR_MAX_ORDER_EUROS", "IBKR_MAX_NOTIONAL_PER_TRADE"),
)
MISSPELT = [
    (name, setting)
    for setting, names in zip(PROTECTIVE_SETTINGS, (READ_ONLY, ACCOUNTS, QUANTITY, VALUE), strict=True)
    for name in names
]
INNOCENT = (
    *("IBKR_ACCOUNT", "IBKR_ACCOUNTS", "IBKR_ACCOUNT_ID", "IBKR_DEFAULT_ACCOUNT", "IBKR_PAPER_ACCOUNT", "IBKR_X"),
    *("IBKR_HOST", "IBKR_PORT", "IBKR_CLIENT_ID", "IBKR_USERNAME", "IBKR_PASSWORD", "IBKR_API_URL", "IBKR_TIMEOUT"),
    *("IBKR_MODE", "IBKR_PAPER", "IBKR_LIVE", "IBKR_DRY_RUN", "IBKR_TRADING_ENABLED", "IBKR_TRADING_MODES"),
    *(
        "IBKR_MAX_RETRIES",
        "IBKR_MAX_CONNECTIONS",
        "IBKR_MAX_POSITIONS",
        "IBKR_MAX_DAILY_LOSS",
        "IBKR_MAX_ORDERS_PER_DAY",
    ),
    *("IBKR_ORDER_SIZE", "IBKR_ORDER_QUANTITY", "IBKR_DEFAULT_QUANTITY", "IBKR_ORDER_TYPE", "IBKR_ORDER_TIMEOUT"),
    *(
        "IBKR_READ_TIMEOUT",
        "IBKR_READONLY_KEY",
        "IBKR_READ_ONLY_KEY",
        "IBKR_READ_KEY",
        "IBKR_LOG_LEVEL",
        "IBKR_MAX_WAIT",
    ),
    *("IBKR_ALLOWED_HOSTS", "IBKR_ALLOWED_SYMBOLS", "IBKR_FLEX_TOKEN", "IBKR_SNAPSHOTS", "IBKR_MARKET_DATA_TYPE"),
    *("IBKR_MAX_ORDER_AGE", "IBKR_MAX_ORDER_RATE", "IBKR_MAX_ORDER_COUNT", "IBKR_MAX_ORDER_RETRIES", "IBKR_MAX_ORDERS"),
    *("IBKR_LIMIT_ORDER", "IBKR_LIMIT_PRICE", "IBKR_ORDER_LIMIT_PRICE", "IBKR_MAX_TRADES", "IBKR_RATE_LIMIT"),
    *("IBKR_MAX_POSITION_SIZE", "IBKR_MAX_POSITION_VALUE", "IBKR_MAX_BATCH_SIZE", "IBKR_MAX_CACHE_SIZE"),
    *("IBKR_SYMBOL_WHITELIST", "IBKR_TRADING_HOURS", "IBKR_PAPER_TRADING", "IBKR_ACCOUNT_VALUE", "IBKR_CONTRACTS"),
    *("IBKR_DISABLE_SSL", "IBKR_ONLY_RTH", "BRIDGE_URL", "BRIDGE_MAX_SIZE", "GATEWAY_PORT", "GATEWAY_MAX_SIZE"),
    *("IBEAM_ACCOUNT", "READ_ONLY", "DB_READ_ONLY", "MAX_ORDER_VALUE", "ALLOWED_ACCOUNTS", "PATH", "_", "", "\u00e4"),
)


@pytest.mark.parametrize(("name", "setting"), MISSPELT)
def test_a_misspelt_protective_setting_is_found(name: str, setting: str) -> None:
    """However people write it."""
    assert misspelt_protective_setting(name, setting_names()) == setting


@pytest.mark.parametrize("name", INNOCENT)
def test_the_name_of_another_program_is_not_taken_for_a_protective_setting(name: str) -> None:
    """A bridge that does not start because of the app's own settings helps nobody."""
    assert misspelt_protective_setting(name, setting_names()) is None


@pytest.mark.parametrize("name", setting_names())
def test_a_setting_is_no_misspelt_one(name: str) -> None:
    """Each has its own name."""
    assert misspelt_protective_setting(name, setting_names()) is None
    assert set(setting_names()) >= set(PROTECTIVE_SETTINGS)


@given(st.text(max_size=60))
def test_no_name_raises(name: str) -> None:
    """The environment has names of every form."""
    assert misspelt_protective_setting(name, setting_names()) in (None, *PROTECTIVE_SETTINGS)


def test_the_reader_reports_it() -> None:
    """As a problem like every other."""
    reader = EnvReader({"IBKR_READONLY": "yes"}, secrets=(), problems=[])
    reader.flag("IBKR_READ_ONLY", default=False)

    (problem,) = reader.problems()
    assert str(problem) == "IBKR_READONLY: unknown setting; did you mean IBKR_READ_ONLY?"
