"""What IBKR wants to be asked first, asked once in a session."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ibkr_bridge.calls.messages import Call, Response
from ibkr_bridge.errors import GatewayTimeout
from ibkr_bridge.ibkr.catalogue import endpoint_of
from ibkr_bridge.ibkr.endpoint import Prerequisite
from ibkr_bridge.quirks import prerequisites as module
from ibkr_bridge.quirks.prerequisites import FETCHERS, REQUIRED_FOR, SATISFIED_BY, Prerequisites
from tests.body_stream import FakeBodyStream
from tests.quirks.scripted import Scripted, good

LEDGER = Call("GET", "/v1/api/portfolio/DU1/ledger")
LEDGER_ROW = endpoint_of("GET", LEDGER.target)
ACCOUNTS = Call("GET", "/v1/api/portfolio/accounts")
ACCOUNTS_ROW = endpoint_of("GET", ACCOUNTS.target)
PORTFOLIO = "/portfolio/accounts"


def definitions(*rows: tuple[int, str, str]) -> Response:
    """IBKR's definitions of contracts."""
    each = (f'{{"conid":{conid},"assetClass":"{kind}","ticker":"{symbol}"}}' for conid, kind, symbol in rows)
    return good(f'{{"secdef":[{",".join(each)}]}}')


async def test_it_is_asked_once_in_a_session() -> None:
    """And anew in another one."""
    made, gateway = Prerequisites(), Scripted({PORTFOLIO: [good("[]")]})

    await made.ensure(LEDGER_ROW, LEDGER, gateway.send)
    await made.ensure(LEDGER_ROW, LEDGER, gateway.send)
    assert gateway.asked == [PORTFOLIO]
    made.reset_session()
    await made.ensure(LEDGER_ROW, LEDGER, gateway.send)

    assert gateway.asked == [PORTFOLIO] * 2


async def test_what_was_not_answered_well_is_asked_again() -> None:
    """A failure is no reason not to go on: IBKR's own answer to the call tells what is wrong."""
    made, gateway = Prerequisites(), Scripted({PORTFOLIO: [replace(good("[]"), status=500), good("[]")]})

    for _ in range(3):
        await made.ensure(LEDGER_ROW, LEDGER, gateway.send)

    assert gateway.asked == [PORTFOLIO] * 2


async def test_what_could_not_be_asked_is_raised() -> None:
    """A read waits for it; a change decides otherwise."""
    with pytest.raises(GatewayTimeout):
        await Prerequisites().ensure(LEDGER_ROW, LEDGER, Scripted({PORTFOLIO: [GatewayTimeout("silence")]}).send)


@pytest.mark.parametrize(
    ("response", "asked"),
    [
        (good("[]"), []),
        (replace(good("[]"), status=500), [PORTFOLIO]),
        (replace(good("["), body_stream=FakeBodyStream()), [PORTFOLIO]),
    ],
)
async def test_what_others_asked_counts(response: Response, asked: list[str]) -> None:
    """The keeper's own calls, or another caller's; only if they were answered, and whole."""
    made, gateway = Prerequisites(), Scripted({PORTFOLIO: [good("[]")]})

    made.observer()(ACCOUNTS_ROW, ACCOUNTS, response)
    await made.ensure(LEDGER_ROW, LEDGER, gateway.send)

    assert gateway.asked == asked


async def test_a_late_response_counts_for_the_session_it_was_asked_in() -> None:
    """It says nothing of the next one."""
    made, gateway = Prerequisites(), Scripted({PORTFOLIO: [good("[]")]})
    observe = made.observer()

    made.reset_session()
    observe(ACCOUNTS_ROW, ACCOUNTS, good("[]"))
    await made.ensure(LEDGER_ROW, LEDGER, gateway.send)

    assert gateway.asked == [PORTFOLIO]


def test_a_call_is_the_first_until_it_is_unmarked() -> None:
    """By its whole target: another query is another call."""
    made = Prerequisites()

    assert [made.is_first_request(LEDGER), made.is_first_request(LEDGER)] == [True, False]
    assert made.is_first_request(ACCOUNTS)
    made.unmark(LEDGER)

    assert made.is_first_request(LEDGER)


async def test_a_contract_is_searched_for_by_the_symbol_of_its_definition() -> None:
    """IBKR's search takes no contract id."""
    made = Prerequisites()
    gateway = Scripted({"/trsrv/secdef": [definitions((8, "STK", "A B"))], "/iserver/secdef/search": [good("[]")]})

    await made.fetch(Prerequisite.SEARCH, gateway.send, ["8"])

    assert gateway.asked == ["/trsrv/secdef?conids=8", "/iserver/secdef/search?symbol=A%20B"]


@pytest.mark.parametrize(
    "secdef", [good("{}"), good("<html>"), replace(good("{}"), status=500), good('{"secdef":[7]}')]
)
async def test_a_contract_without_a_definition_is_not_searched_for(secdef: Response) -> None:
    """It is asked for again the next time."""
    made, gateway = Prerequisites(), Scripted({"/trsrv/secdef": [secdef]})

    await made.fetch(Prerequisite.SEARCH, gateway.send, ["8"])
    await made.fetch(Prerequisite.SEARCH, gateway.send, ["8"])

    assert gateway.asked == ["/trsrv/secdef?conids=8"] * 2


async def test_only_derivatives_have_their_underlying_searched_for() -> None:
    """A share has quotes without it; each contract is looked at once."""
    made = Prerequisites()
    gateway = Scripted(
        {
            "/trsrv/secdef": [definitions((8, "STK", "AAA"), (9, "OPT", "BBB"))],
            "/iserver/secdef/search": [good("[]")],
        }
    )

    await made.ensure_underlyings(["8@SMART", "9", "x"], gateway.send)
    await made.ensure_underlyings(["8", "9"], gateway.send)

    assert gateway.asked == ["/trsrv/secdef?conids=8,9", "/iserver/secdef/search?symbol=BBB"]


async def test_a_quote_is_asked_for_every_contract_of_an_order() -> None:
    """In one call, with bid, ask and last."""
    made, gateway = Prerequisites(), Scripted({"/iserver/marketdata/snapshot": [good("[]")]})

    await made.fetch(Prerequisite.QUOTE, gateway.send, ["8", "9"])

    assert gateway.asked == ["/iserver/marketdata/snapshot?conids=8,9&fields=31,84,86"]


def test_what_is_remembered_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """A caller could ask for all numbers there are."""
    monkeypatch.setattr(module, "MAX_REMEMBERED", 10)
    made = Prerequisites()

    for number in range(100):
        made.is_first_request(Call("GET", f"/v1/api/x/{number}"))

    assert len(made._met) <= 12


def test_every_prerequisite_that_is_asked_for_is_fetched_and_satisfied() -> None:
    """A table that lacks one would raise in the middle of an order."""
    assert set(FETCHERS) == set(REQUIRED_FOR) == set(SATISFIED_BY)
