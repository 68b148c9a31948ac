"""The contracts: how IBKR names them, and who finds them."""

from __future__ import annotations

from decimal import Decimal

import pytest

from ibkr_bridge.sim.market.instruments import (
    INSTRUMENTS,
    SMALL_COMPANIES,
    derivatives_of,
    find_by_symbol,
    find_instrument,
)

AAPL, ES, OPTION = 265598, 495512563, 703281945


def test_an_option_is_described_as_ibkr_describes_it() -> None:
    """The form is that of IBKR's own example of a position."""
    option = find_instrument(OPTION)

    assert option is not None
    assert option.description == "AAPL   DEC2027 200 C [AAPL  271217C00200000 100]"
    assert option.full_name == "AAPL Dec17'27 200 Call"
    assert (option.shown_multiplier, option.underlying_conid) == (Decimal(100), AAPL)


@pytest.mark.parametrize(
    ("conid", "description", "multiplier"),
    [(AAPL, "AAPL", 0), (ES, "ES     DEC2027", 50), (598720116, "US-T", 0)],
)
def test_only_derivatives_show_a_month_and_a_multiplier(conid: int, description: str, multiplier: int) -> None:
    """IBKR shows 0 for a stock."""
    instrument = find_instrument(conid)

    assert instrument is not None
    assert (instrument.description, instrument.shown_multiplier) == (description, Decimal(multiplier))


def test_a_search_finds_an_underlying_and_not_its_options() -> None:
    """IBKR lists options only by strike and month."""
    assert [each.conid for each in find_by_symbol("aapl ")] == [AAPL]
    assert [each.conid for each in find_by_symbol("apple")] == [AAPL]
    assert [each.conid for each in derivatives_of(AAPL)] == [OPTION]
    assert find_by_symbol("") == []


def test_every_contract_id_is_there_once() -> None:
    """Those of small companies are apart from all others."""
    conids = [each.conid for each in INSTRUMENTS]

    assert len(set(conids)) == len(conids)
    assert not set(conids) & set(SMALL_COMPANIES)
    assert find_instrument(SMALL_COMPANIES[-1]) is not None
    assert find_instrument(1) is None
