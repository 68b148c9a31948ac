"""The catalogue: every row can be found, and an unknown path gets a cautious row."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import ibkr_bridge
from ibkr_bridge.config.env_reader import NEVER_BRIDGED
from ibkr_bridge.ibkr.catalogue import (
    API_PREFIX,
    AUTH_STATUS,
    CATALOGUE,
    VALIDATE,
    account_from_path,
    api_path,
    decode_segments,
    endpoint_of,
    match,
)
from ibkr_bridge.ibkr.endpoint import CacheTag, Effect, Endpoint, Layer, OrderOperation

HERE = Path(__file__).parents[1]
FYI = (
    *(("GET", what) for what in ("unreadnumber", "settings", "disclaimer/x", "deliveryoptions")),
    *(("GET", what) for what in ("notifications", "notifications/more")),
    *(("POST", "settings/x"), ("PUT", "disclaimer/x"), ("PUT", "deliveryoptions/email")),
    *(("POST", "deliveryoptions/device"), ("DELETE", "deliveryoptions/x"), ("PUT", "notifications/x")),
)

SEGMENTS = st.lists(
    st.one_of(st.text(max_size=8), st.sampled_from(["iserver", "account", "orders", "{x}", ""])), max_size=7
)


def label_of(endpoint: Endpoint) -> str:
    """The id of a row in the output of pytest."""
    return f"{endpoint.method} {endpoint.path}"


@pytest.mark.parametrize("endpoint", CATALOGUE, ids=label_of)
def test_every_row_can_be_reached(endpoint: Endpoint) -> None:
    """A row after a wider one would never be used."""
    example = tuple("DU1234567" if part == "{accountId}" else part.strip("{}") for part in endpoint.segments)

    assert match(endpoint.method, example) is endpoint


PUBLISHED = [line.split() for line in (HERE / "published_paths.txt").read_text().splitlines() if line[0] != "#"]


@pytest.mark.parametrize(("method", "path", "row"), [(m, p, r) for m, p, _, r in PUBLISHED], ids=lambda part: part)
def test_every_published_path_has_its_row(method: str, path: str, row: str) -> None:
    """The paths of IBKR's documents are listed and match the right row."""
    endpoint = match(method, tuple("7" if part == "{}" else part for part in decode_segments(path)))

    assert (endpoint.path, endpoint.is_listed) == (row, True)


@pytest.mark.parametrize("endpoint", CATALOGUE, ids=label_of)
def test_ttl_and_rate_limit_of_a_row_agree(endpoint: Endpoint) -> None:
    """Only reads are cached, exactly as long as IBKR's rate limit lasts."""
    assert endpoint.ttl_s == 0 or endpoint.is_shareable
    is_cached = endpoint.is_read and endpoint.segments != VALIDATE  # the keeper alone calls that one
    assert (
        endpoint.rate_limit is None
        or endpoint.rate_limit.calls > 1
        or endpoint.ttl_s == (endpoint.rate_limit.period_s if is_cached else 0)
    )
    assert endpoint.rate_limit is None or endpoint.rate_limit.source in ("GUIDE", "CLIENTS")


@pytest.mark.parametrize(
    ("method", "path", "calls", "seconds"),
    [
        ("GET", "/iserver/account/orders", 1, 5.0),
        ("GET", "/iserver/account/trades", 1, 5.0),
        ("GET", "/iserver/account/pnl/partitioned", 1, 5.0),
        ("GET", "/iserver/marketdata/snapshot", 10, 1.0),
        ("GET", "/iserver/scanner/params", 1, 900.0),
        ("POST", "/iserver/scanner/run", 1, 1.0),
        ("POST", "/pa/performance", 1, 900.0),
        ("POST", "/pa/summary", 1, 900.0),
        ("POST", "/pa/transactions", 1, 900.0),
        ("POST", "/pa/allperiods", 1, 900.0),
        ("GET", "/portfolio/accounts", 1, 5.0),
        ("GET", "/portfolio/subaccounts", 1, 5.0),
        ("GET", "/tickle", 1, 1.0),
        ("POST", "/tickle", 1, 1.0),
        ("GET", "/sso/validate", 1, 60.0),
        *((method, f"/fyi/{what}", 1, 1.0) for method, what in FYI),
    ],
)
def test_ibkrs_limits_are_those_of_its_table(method: str, path: str, calls: int, seconds: float) -> None:
    """A copy of the table in the GUIDE."""
    rate_limit = endpoint_of(method, path).rate_limit

    assert rate_limit is not None
    assert (rate_limit.calls, rate_limit.period_s) == (calls, seconds)


def test_no_two_rows_have_the_same_path() -> None:
    """The second row would never be used."""
    shapes = [(endpoint.method, re.sub(r"\{\w+\}", "{}", endpoint.path)) for endpoint in CATALOGUE]

    assert len(set(shapes)) == len(shapes)


def test_no_login_or_logout_is_in_the_catalogue() -> None:
    """These prefixes are never bridged. The one row below them is a read of the keeper."""
    forbidden = [endpoint for endpoint in CATALOGUE if endpoint.segments[0] in NEVER_BRIDGED]

    assert [(endpoint.method, endpoint.segments, endpoint.effect) for endpoint in forbidden] == [
        ("GET", VALIDATE, Effect.READ)
    ]


@pytest.mark.parametrize("endpoint", [endpoint for endpoint in CATALOGUE if endpoint.operation], ids=label_of)
def test_every_order_operation_trades(endpoint: Endpoint) -> None:
    """An operation that counted as a read would pass every rule; only a preview is a read."""
    assert endpoint.effect is (Effect.READ if endpoint.operation is OrderOperation.PREVIEW else Effect.TRADE)


@pytest.mark.parametrize(
    "endpoint", [endpoint for endpoint in CATALOGUE if endpoint.effect is Effect.CHANGE], ids=label_of
)
def test_a_change_without_trading_invalidates_accounts(endpoint: Endpoint) -> None:
    """Watchlists, alerts, the selected account; with another account the orders are others too."""
    assert endpoint.invalidates == (CacheTag.ORDERS, CacheTag.ACCOUNT, CacheTag.MARKET)
    assert not endpoint.is_repeatable
    assert endpoint.operation is None


@pytest.mark.parametrize("endpoint", CATALOGUE, ids=label_of)
def test_paths_below_iserver_need_the_brokerage_session(endpoint: Endpoint) -> None:
    """Except the calls that check or open it. All others need the login only, and work while it is reopened."""
    needed = endpoint.segments[0] in ("iserver", "md") and "auth" not in endpoint.path

    assert endpoint.layer is (Layer.BROKERAGE if needed else Layer.LOGIN)


@pytest.mark.parametrize(
    ("method", "path", "effect", "order"),
    [
        ("POST", "iserver/account/DU1/orders", Effect.TRADE, OrderOperation.PLACE),
        ("POST", "iserver/account/DU1/order", Effect.TRADE, OrderOperation.PLACE),
        ("POST", "iserver/account/orders/group", Effect.TRADE, OrderOperation.PLACE),
        ("POST", "iserver/account/DU1/orders/whatif", Effect.READ, OrderOperation.PREVIEW),
        ("POST", "iserver/account/DU1/order/whatif", Effect.READ, OrderOperation.PREVIEW),
        ("POST", "iserver/account/orders/whatif", Effect.TRADE, OrderOperation.PLACE),
        ("POST", "iserver/account/DU1/order/77", Effect.TRADE, OrderOperation.MODIFY),
        ("DELETE", "iserver/account/DU1/order/77", Effect.TRADE, OrderOperation.CANCEL),
        ("DELETE", "iserver/account/DU1/order/whatif", Effect.TRADE, OrderOperation.CANCEL),
        ("DELETE", "iserver/account/DU1/orders/whatif", Effect.TRADE, None),
        ("PUT", "iserver/account/DU1/orders/whatif", Effect.TRADE, None),
        ("POST", "iserver/reply/abc", Effect.TRADE, OrderOperation.REPLY),
        ("POST", "iserver/notification", Effect.TRADE, OrderOperation.ANSWER),
        ("POST", "ccp/order", Effect.TRADE, OrderOperation.PLACE),
        ("PUT", "ccp/order", Effect.TRADE, OrderOperation.MODIFY),
        ("DELETE", "ccp/order", Effect.TRADE, OrderOperation.CANCEL),
        ("POST", "iserver/questions/suppress", Effect.TRADE, None),
        ("POST", "iserver/questions/suppress/reset", Effect.TRADE, None),
        ("POST", "iserver/account/allocation/group", Effect.TRADE, None),
        ("POST", "iserver/account/allocation/presets", Effect.TRADE, None),
        ("POST", "iserver/account/allocation/group/delete", Effect.TRADE, None),
        ("POST", "fa/model/save", Effect.TRADE, None),
        ("POST", "fa/fa-preset/save", Effect.TRADE, None),
        ("POST", "iserver/account", Effect.CHANGE, None),
        ("POST", "iserver/dynaccount", Effect.CHANGE, None),
        ("POST", "iserver/account/DU1/alert", Effect.CHANGE, None),
        ("DELETE", "iserver/account/DU1/alert/7", Effect.CHANGE, None),
        ("POST", "iserver/watchlist", Effect.CHANGE, None),
        ("DELETE", "iserver/watchlist", Effect.CHANGE, None),
        ("POST", "fyi/settings/x", Effect.CHANGE, None),
        ("PUT", "fyi/notifications/x", Effect.CHANGE, None),
        ("GET", "sso/validate", Effect.READ, None),
        ("GET", "iserver/account/orders", Effect.READ, None),
        ("GET", "md/regsnapshot", Effect.COSTS_MONEY, None),
        ("POST", "iserver/auth/ssodh/init", Effect.SESSION, None),
        ("GET", "iserver/reauthenticate", Effect.SESSION, None),
        ("POST", "iserver/Account/DU1/Orders/WhatIf", Effect.TRADE, None),
        ("HEAD", "iserver/accounts", Effect.TRADE, None),
        ("GET", "iserver/account/DU1/orders", Effect.TRADE, None),
        ("GET", "iserver/account/DU1/order/77", Effect.TRADE, None),
        ("GET", "iserver/Reply/abc", Effect.TRADE, None),
        ("GET", "iserver/questions/suppress/reset", Effect.TRADE, None),
        ("GET", "iserver/account/allocation/group/delete", Effect.TRADE, None),
        ("GET", "fa/model/save", Effect.TRADE, None),
        ("GET", "ccp/order", Effect.TRADE, None),
        ("GET", "iserver/account/DU1/alert/activate", Effect.TRADE, None),
        ("GET", "fyi/deliveryoptions/device", Effect.TRADE, None),
        ("GET", "iserver/auth/ssodh/init", Effect.TRADE, None),
        ("GET", "pa/performance", Effect.READ, None),
        ("GET", "iserver/account/DU1/orders/whatif", Effect.TRADE, None),
        ("GET", "iserver/account/DU1/order/whatif", Effect.TRADE, None),
        ("GET", "iserver/Account/DU1/Orders/WhatIf", Effect.TRADE, None),
        ("GET", "iserver/scanner/run", Effect.READ, None),
    ],
)
def test_effect_and_operation_of_a_call(method: str, path: str, effect: Effect, order: OrderOperation | None) -> None:
    """An error in these columns could cost money."""
    endpoint = match(method, tuple(path.split("/")))

    assert (endpoint.effect, endpoint.operation) == (effect, order)


@given(st.sampled_from(["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "BREW"]), SEGMENTS)
def test_an_unknown_path_gets_a_cautious_row(method: str, segments: list[str]) -> None:
    """Every path has a row. An unknown one reads only with GET, unless the path trades by another method; its row has
    no text of the caller.
    """
    endpoint = match(method, tuple(segments))
    others = [match(other, tuple(segments)) for other in ("POST", "PUT", "DELETE")]
    listed = [row for row in others if row in CATALOGUE]
    only_reads = method == "GET" and all(row.effect is Effect.READ and row.operation is None for row in listed)

    assert endpoint in CATALOGUE or (endpoint.effect is Effect.READ) == only_reads
    assert endpoint in CATALOGUE or re.fullmatch(r"/(\?|iserver|portfolio|marketdata|[a-z0-9]+)/\*", endpoint.path)


def test_the_row_of_an_unknown_path_has_known_prefixes_only() -> None:
    """The path of a caller may contain account numbers and keys."""
    assert match("GET", ("DU1234567", "x")).path == "/?/*"
    assert match("GET", ("iserver", "DU1234567")).path == "/iserver/*"


@pytest.mark.parametrize(
    ("method", "path", "account"),
    [
        ("POST", "iserver/account/U1/orders", "U1"),
        ("DELETE", "iserver/account/U1/order/5", "U1"),
        ("GET", "portfolio/U1/positions/0", "U1"),
        ("POST", "iserver/account/orders/group", None),
        ("POST", "iserver/reply/U1", None),
    ],
)
def test_an_account_in_the_path_is_found(method: str, path: str, account: str | None) -> None:
    """The order rules check the account in the path."""
    segments = tuple(path.split("/"))

    assert account_from_path(match(method, segments), segments) == account


@pytest.mark.parametrize(
    ("path", "segments"),
    [
        ("/iserver/accounts", ("iserver", "accounts")),
        ("/iserver/accounts/", ("iserver", "accounts")),
        ("/iserver/%61ccounts", ("iserver", "accounts")),
        ("/a%20b/c+d", ("a b", "c+d")),
        ("/", ("",)),
    ],
)
def test_a_path_is_decoded_segment_by_segment(path: str, segments: tuple[str, ...]) -> None:
    """The order rules read the same segments as IBKR."""
    assert decode_segments(path) == segments


@pytest.mark.parametrize(
    ("path", "row"),
    [
        ("/portfolio/accounts", "/portfolio/accounts"),
        ("/v1/api/portfolio/accounts/", "/portfolio/accounts"),
        ("/marketdata/snapshot", "/iserver/marketdata/snapshot"),
        ("/v1/api/tickle", "/tickle"),
        ("/iserver/secdef/info?conid=1/2&x=%3F", "/iserver/secdef/info"),
        ("/", "/?/*"),
    ],
)
def test_a_path_of_a_caller_has_its_row(path: str, row: str) -> None:
    """In every form that callers use."""
    assert endpoint_of("GET", path).path == row


def test_only_listed_get_reads_are_repeatable() -> None:
    """Nothing that trades, concerns the session, costs money, ends quotes or is unknown."""
    rows = [endpoint for endpoint in CATALOGUE if endpoint.is_repeatable]

    assert {(endpoint.method, endpoint.effect) for endpoint in rows} == {("GET", Effect.READ)}
    assert not [endpoint.path for endpoint in rows if "unsubscribe" in endpoint.path]
    assert not endpoint_of("GET", "/iserver/whatever/it/is").is_repeatable
    assert len(rows) > 30


def test_the_bridges_own_calls_have_the_gateways_prefix() -> None:
    """Without the prefix the Gateway forwards nothing."""
    assert api_path(AUTH_STATUS) == f"{API_PREFIX}/iserver/auth/status"


def test_no_other_module_has_a_path_of_ibkr() -> None:
    """Every module takes its paths from the catalogue."""
    package = Path(ibkr_bridge.__file__).parent
    files = [file for file in package.rglob("*.py") if "sim" not in file.parts and file.name != "catalogue.py"]
    path_pattern = re.compile(r"""["']/?(?:v1/api/)?(?:iserver|portfolio|trsrv|sso)/""")

    assert not [f"{file.name}: {path}" for file in files for path in path_pattern.findall(file.read_text("utf-8"))]


@pytest.mark.parametrize(
    ("method", "path", "stale", "not_stale"),
    [
        ("POST", "/iserver/account/DU1/orders", "/iserver/account/trades", "/pa/performance"),
        ("DELETE", "/iserver/account/DU1/order/7", "/portfolio/DU1/ledger", "/portfolio/accounts"),
        ("POST", "/iserver/reply/x", "/iserver/account/orders", "/iserver/watchlists"),
        ("POST", "/iserver/account", "/portfolio/accounts", "/pa/performance"),
        ("DELETE", "/iserver/watchlist", "/iserver/watchlists", "/iserver/scanner/params"),
        ("POST", "/portfolio/DU1/positions/invalidate", "/portfolio/DU1/positions/0", "/pa/summary"),
        ("POST", "/whatever/it/is", "/portfolio/DU1/meta", "/pa/allperiods"),
    ],
)
def test_which_responses_a_call_invalidates(method: str, path: str, stale: str, not_stale: str) -> None:
    """An order changes orders and money; responses that IBKR gives every 15 minutes stay valid."""
    endpoint = endpoint_of(method, path)

    def tag_of(path: str) -> CacheTag:
        return endpoint_of("POST" if path.startswith("/pa/") else "GET", path).cache_tag

    assert tag_of(stale) in endpoint.invalidates
    assert tag_of(not_stale) not in endpoint.invalidates


def test_reads_invalidate_nothing() -> None:
    """All other rows invalidate something."""
    assert not [endpoint.path for endpoint in CATALOGUE if endpoint.is_read and endpoint.invalidates]
    assert not [endpoint.path for endpoint in CATALOGUE if not endpoint.is_read and not endpoint.invalidates]
