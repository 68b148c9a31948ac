"""Prerequisites: calls that IBKR wants before others, fetched once in a session."""

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
from tests.quirks.scripted import ScriptedFetch, ok

LEDGER = Call("GET", "/v1/api/portfolio/DU1/ledger")
LEDGER_ENDPOINT = endpoint_of("GET", LEDGER.target)
ACCOUNTS = Call("GET", "/v1/api/portfolio/accounts")
ACCOUNTS_ENDPOINT = endpoint_of("GET", ACCOUNTS.target)
PORTFOLIO = "/portfolio/accounts"


def definitions(*rows: tuple[int, str, str]) -> Response:
    """IBKR's definitions of contracts, each a row of contract id, asset class and symbol."""
    definition_texts = (
        f'{{"conid":{conid},"assetClass":"{kind}","ticker":"{symbol}"}}' for conid, kind, symbol in rows
    )
    return ok(f'{{"secdef":[{",".join(definition_texts)}]}}')


async def test_a_prerequisite_is_fetched_once_in_a_session() -> None:
    """In the next session it is fetched again."""
    prerequisites, gateway = Prerequisites(), ScriptedFetch({PORTFOLIO: [ok("[]")]})

    await prerequisites.ensure(LEDGER_ENDPOINT, LEDGER, gateway.send)
    await prerequisites.ensure(LEDGER_ENDPOINT, LEDGER, gateway.send)
    assert gateway.targets == [PORTFOLIO]
    prerequisites.reset_session()
    await prerequisites.ensure(LEDGER_ENDPOINT, LEDGER, gateway.send)

    assert gateway.targets == [PORTFOLIO] * 2


async def test_a_failed_prerequisite_is_fetched_again() -> None:
    """A failure does not stop the call: IBKR's response to the call says what is wrong."""
    prerequisites, gateway = Prerequisites(), ScriptedFetch({PORTFOLIO: [replace(ok("[]"), status=500), ok("[]")]})

    for _ in range(3):
        await prerequisites.ensure(LEDGER_ENDPOINT, LEDGER, gateway.send)

    assert gateway.targets == [PORTFOLIO] * 2


async def test_an_error_while_fetching_a_prerequisite_is_raised() -> None:
    """A read passes it on; a change is sent all the same."""
    with pytest.raises(GatewayTimeout):
        await Prerequisites().ensure(
            LEDGER_ENDPOINT, LEDGER, ScriptedFetch({PORTFOLIO: [GatewayTimeout("silence")]}).send
        )


@pytest.mark.parametrize(
    ("response", "targets"),
    [
        (ok("[]"), []),
        (replace(ok("[]"), status=500), [PORTFOLIO]),
        (replace(ok("["), body_stream=FakeBodyStream()), [PORTFOLIO]),
    ],
)
async def test_responses_to_other_calls_count(response: Response, targets: list[str]) -> None:
    """Calls of the keeper or of other callers count if their responses were successful and complete."""
    prerequisites, gateway = Prerequisites(), ScriptedFetch({PORTFOLIO: [ok("[]")]})

    prerequisites.observer()(ACCOUNTS_ENDPOINT, ACCOUNTS, response)
    await prerequisites.ensure(LEDGER_ENDPOINT, LEDGER, gateway.send)

    assert gateway.targets == targets


async def test_a_late_response_counts_for_the_session_of_its_call() -> None:
    """It says nothing about the next session."""
    prerequisites, gateway = Prerequisites(), ScriptedFetch({PORTFOLIO: [ok("[]")]})
    observe = prerequisites.observer()

    prerequisites.reset_session()
    observe(ACCOUNTS_ENDPOINT, ACCOUNTS, ok("[]"))
    await prerequisites.ensure(LEDGER_ENDPOINT, LEDGER, gateway.send)

    assert gateway.targets == [PORTFOLIO]


def test_a_call_is_the_first_request_once_until_it_is_unmarked() -> None:
    """The whole target counts: another query makes another call."""
    prerequisites = Prerequisites()

    assert [prerequisites.is_first_request(LEDGER), prerequisites.is_first_request(LEDGER)] == [True, False]
    assert prerequisites.is_first_request(ACCOUNTS)
    prerequisites.unmark(LEDGER)

    assert prerequisites.is_first_request(LEDGER)


async def test_a_contract_is_searched_for_by_the_symbol_of_its_definition() -> None:
    """IBKR's search does not accept a contract id."""
    prerequisites = Prerequisites()
    gateway = ScriptedFetch({"/trsrv/secdef": [definitions((8, "STK", "A B"))], "/iserver/secdef/search": [ok("[]")]})

    await prerequisites.fetch(Prerequisite.SEARCH, gateway.send, ["8"])

    assert gateway.targets == ["/trsrv/secdef?conids=8", "/iserver/secdef/search?symbol=A%20B"]


@pytest.mark.parametrize("secdef", [ok("{}"), ok("<html>"), replace(ok("{}"), status=500), ok('{"secdef":[7]}')])
async def test_a_contract_without_a_definition_is_not_searched_for(secdef: Response) -> None:
    """Its definition is fetched again the next time."""
    prerequisites, gateway = Prerequisites(), ScriptedFetch({"/trsrv/secdef": [secdef]})

    await prerequisites.fetch(Prerequisite.SEARCH, gateway.send, ["8"])
    await prerequisites.fetch(Prerequisite.SEARCH, gateway.send, ["8"])

    assert gateway.targets == ["/trsrv/secdef?conids=8"] * 2


async def test_only_the_underlyings_of_derivatives_are_searched_for() -> None:
    """A share has quotes without a search. The definition of each contract is fetched once."""
    prerequisites = Prerequisites()
    gateway = ScriptedFetch(
        {
            "/trsrv/secdef": [definitions((8, "STK", "AAA"), (9, "OPT", "BBB"))],
            "/iserver/secdef/search": [ok("[]")],
        }
    )

    await prerequisites.ensure_underlyings(["8@SMART", "9", "x"], gateway.send)
    await prerequisites.ensure_underlyings(["8", "9"], gateway.send)

    assert gateway.targets == ["/trsrv/secdef?conids=8,9", "/iserver/secdef/search?symbol=BBB"]


async def test_quotes_are_fetched_for_every_contract_of_an_order() -> None:
    """In one call, with bid, ask and last price."""
    prerequisites, gateway = Prerequisites(), ScriptedFetch({"/iserver/marketdata/snapshot": [ok("[]")]})

    await prerequisites.fetch(Prerequisite.QUOTE, gateway.send, ["8", "9"])

    assert gateway.targets == ["/iserver/marketdata/snapshot?conids=8,9&fields=31,84,86"]


def test_the_number_of_remembered_calls_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A caller could request any number of contracts."""
    monkeypatch.setattr(module, "MAX_REMEMBERED", 10)
    prerequisites = Prerequisites()

    for number in range(100):
        prerequisites.is_first_request(Call("GET", f"/v1/api/x/{number}"))

    assert len(prerequisites._met) <= 12


def test_the_tables_of_prerequisites_have_the_same_keys() -> None:
    """A missing key would raise in the middle of an order."""
    assert set(FETCHERS) == set(REQUIRED_FOR) == set(SATISFIED_BY)
