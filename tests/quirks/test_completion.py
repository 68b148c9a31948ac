"""The stage that completes reads: prerequisites, second requests and snapshots that fill; the test moves the clock."""

from __future__ import annotations

import asyncio

import pytest

from ibkr_bridge.calls.context import CallContext
from ibkr_bridge.calls.messages import Call, Response
from ibkr_bridge.errors import GatewayTimeout, RateLimited
from ibkr_bridge.ibkr.catalogue import endpoint_of
from ibkr_bridge.quirks.completion import CompleteReads
from ibkr_bridge.quirks.snapshot_completion import FILL_TIMEOUT_S, GIVEN_UP_TTL_S, MISSING_HEADER
from ibkr_bridge.upstream.gateway.traits import GATEWAY_TRAITS
from tests.body_stream import FakeBodyStream
from tests.clocks import ManualClock
from tests.harness import with_timeout
from tests.quirks.scripted import ScriptedFetch, context_of, ok

SNAPSHOT, SEARCH, SECDEF = "/iserver/marketdata/snapshot", "/iserver/secdef/search", "/trsrv/secdef"
ACCOUNTS, PORTFOLIO, SUMMARY = "/iserver/accounts", "/portfolio/accounts", "/iserver/account/DU1/summary"
QUOTES = Call("GET", f"/v1/api{SNAPSHOT}?conids=1,2&fields=31,84")
EMPTY, PARTIAL = ok('[{"conid":1},{"conid":2}]'), ok('[{"conid":1,"31":"7","84":"8"},{"conid":2,"31":"9"}]')
FULL = ok('[{"conid":1,"31":"7","84":"8"},{"conid":2,"31":"9","84":"10"}]')
ACCOUNTS_REQUIRED = Response(500, {}, b'{"error":"Please query /accounts first"}')
STOCKS = ok('{"secdef":[{"conid":1,"assetClass":"STK","ticker":"A"},{"conid":2,"assetClass":"STK","ticker":"B"}]}')


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def completion(clock: ManualClock) -> CompleteReads:
    """The stage in a session in which the accounts were fetched, as the keeper does."""
    completion = CompleteReads(clock, GATEWAY_TRAITS)
    completion.observer()(endpoint_of("GET", ACCOUNTS), Call("GET", ACCOUNTS), ok("{}"))
    return completion


async def fill(
    completion: CompleteReads, gateway: ScriptedFetch, clock: ManualClock, call: Call = QUOTES
) -> tuple[Response, float]:
    """Fetch a snapshot. Returns it and the seconds that it took."""
    started_at, task = clock.now(), asyncio.create_task(gateway.complete(completion, call))
    while not task.done():
        alarm = asyncio.create_task(clock.wait_for_sleepers(1))
        await with_timeout(asyncio.wait({task, alarm}, return_when=asyncio.FIRST_COMPLETED))
        alarm.cancel()
        if not task.done():
            clock.advance(clock.next_alarm)
    return await task, clock.now() - started_at


async def test_a_snapshot_is_fetched_until_it_is_filled(completion: CompleteReads, clock: ManualClock) -> None:
    """The response is IBKR's, byte for byte, without a header for missing fields."""
    gateway = ScriptedFetch({SNAPSHOT: [EMPTY, PARTIAL, FULL, EMPTY]})

    response, took_s = await fill(completion, gateway, clock)

    assert (response.body, dict(response.bridge_headers)) == (FULL.body, {})
    assert (len(gateway.targets), took_s < 1.0) == (3, True)


async def test_missing_fields_are_named_and_not_waited_for_again(completion: CompleteReads, clock: ManualClock) -> None:
    """After a minute they are waited for again, since IBKR may have them by then."""
    gateway = ScriptedFetch({SNAPSHOT: [EMPTY, PARTIAL]})

    first, took_s = await fill(completion, gateway, clock)
    second, second_took_s = await fill(completion, gateway, clock)
    clock.advance(GIVEN_UP_TTL_S)
    third, third_took_s = await fill(completion, gateway, clock)

    assert first.bridge_headers == second.bridge_headers == third.bridge_headers == {MISSING_HEADER: "2:84"}
    assert (FILL_TIMEOUT_S - 0.5 <= took_s <= FILL_TIMEOUT_S, second_took_s, third_took_s > 3) == (True, 0.0, True)


async def test_another_field_is_waited_for_after_one_was_given_up(
    completion: CompleteReads, clock: ManualClock
) -> None:
    """A missing field says nothing about other fields."""
    gateway = ScriptedFetch({SNAPSHOT: [EMPTY, PARTIAL]})
    await fill(completion, gateway, clock)

    _, took_s = await fill(completion, gateway, clock, Call("GET", f"/v1/api{SNAPSHOT}?conids=1,2&fields=31,86"))

    assert took_s > 3


async def test_a_new_session_waits_for_missing_fields_again(completion: CompleteReads, clock: ManualClock) -> None:
    """The new session may have what the former one lacked."""
    gateway = ScriptedFetch({SNAPSHOT: [EMPTY, PARTIAL], ACCOUNTS: [ok("{}")]})
    await fill(completion, gateway, clock)

    completion.reset_session()
    _, took_s = await fill(completion, gateway, clock)

    assert took_s > 3
    assert gateway.targets.count(ACCOUNTS) == 1


@pytest.mark.parametrize(
    "refetched", [RateLimited("no"), GatewayTimeout("no"), ok('{"error":"no"}'), Response(500, {}, b"[]")]
)
async def test_a_partial_snapshot_is_returned_if_the_refetch_fails(
    completion: CompleteReads, clock: ManualClock, refetched: Response | Exception
) -> None:
    """Its header names the missing fields."""
    gateway = ScriptedFetch({SNAPSHOT: [PARTIAL, refetched]})

    response, _ = await fill(completion, gateway, clock)

    assert (response.body, response.bridge_headers) == (PARTIAL.body, {MISSING_HEADER: "2:84"})
    assert len(gateway.targets) == 2


async def test_the_underlying_of_a_derivative_without_quotes_is_searched_for(
    completion: CompleteReads, clock: ManualClock
) -> None:
    """Once in a session. Shares need no search."""
    definitions = ok(
        '{"secdef":[{"conid":1,"assetClass":"OPT","ticker":"AAPL"},{"conid":2,"assetClass":"STK","ticker":"B"}]}'
    )
    search_results = ok('[{"conid":"7","symbol":"AAPL"}]')
    gateway = ScriptedFetch(
        {SNAPSHOT: [EMPTY, EMPTY, FULL, EMPTY, EMPTY, FULL], SECDEF: [definitions], SEARCH: [search_results]}
    )

    first, _ = await fill(completion, gateway, clock)
    await fill(completion, gateway, clock)

    assert first.body == FULL.body
    assert [path for path in gateway.targets if SNAPSHOT not in path] == [
        f"{SECDEF}?conids=1,2",
        f"{SEARCH}?symbol=AAPL",
    ]


async def test_strikes_are_fetched_after_a_search_for_their_symbol(completion: CompleteReads) -> None:
    """Once in a session, no matter which call made the search."""
    strikes = "/iserver/secdef/strikes"
    search_results = ok('[{"conid":"1"},{"conid":"2"}]')
    gateway = ScriptedFetch({strikes: [ok('{"call":[1]}')], SECDEF: [STOCKS], SEARCH: [search_results]})

    def call(conid: int) -> Call:
        return Call("GET", f"/v1/api{strikes}?conid={conid}&sectype=OPT&month=SEP26")

    for _ in range(2):
        await gateway.complete(completion, (call(1)))
    completion.observer()(endpoint_of("GET", SEARCH), Call("GET", SEARCH), search_results)
    await gateway.complete(completion, (call(2)))

    assert gateway.targets[:3] == [f"{SECDEF}?conids=1", f"{SEARCH}?symbol=A", f"{SEARCH}?symbol=B"]
    assert len([path for path in gateway.targets if strikes in path]) == 3
    assert len(gateway.targets) == 6


async def test_the_accounts_are_fetched_again_if_ibkr_requires_them(completion: CompleteReads) -> None:
    """Then the call is sent once more, but only once."""
    gateway = ScriptedFetch({SUMMARY: [ACCOUNTS_REQUIRED, ok('{"a":1}')], ACCOUNTS: [ok("{}")]})
    refusing_gateway = ScriptedFetch({SUMMARY: [ACCOUNTS_REQUIRED], ACCOUNTS: [ok("{}")]})

    response = await gateway.complete(completion, Call("GET", f"/v1/api{SUMMARY}"))
    refused = await refusing_gateway.complete(completion, Call("GET", f"/v1/api{SUMMARY}"))

    assert (response.body, gateway.targets) == (b'{"a":1}', [SUMMARY, ACCOUNTS, SUMMARY])
    assert (refused.status, refusing_gateway.targets) == (500, [SUMMARY, ACCOUNTS, SUMMARY])


async def test_a_change_is_sent_once(completion: CompleteReads) -> None:
    """The accounts are fetched before it, if that is possible."""
    cancel = "/iserver/account/DU1/order/7"
    gateway = ScriptedFetch({cancel: [ACCOUNTS_REQUIRED], ACCOUNTS: [RateLimited("no")]})
    completion.reset_session()

    response = await gateway.complete(completion, (Call("DELETE", f"/v1/api{cancel}", is_change=True)))

    assert (response, gateway.targets) == (ACCOUNTS_REQUIRED, [ACCOUNTS, cancel])


async def test_the_portfolio_is_fetched_after_its_accounts(completion: CompleteReads) -> None:
    """Without them IBKR would answer with an empty portfolio and no error."""
    ledger = "/portfolio/DU1/ledger"
    gateway = ScriptedFetch({ledger: [ok('{"USD":{}}')], PORTFOLIO: [ok("[]")]})

    for _ in range(2):
        await gateway.complete(completion, (Call("GET", f"/v1/api{ledger}")))

    assert gateway.targets == [PORTFOLIO, ledger, ledger]


async def test_the_history_farm_is_opened_before_the_first_history(completion: CompleteReads) -> None:
    """Once in a session."""
    history, farm = "/hmds/history", "/hmds/auth/init"
    gateway = ScriptedFetch({history: [ok("{}")], farm: [ok('{"authenticated":true}')]})

    for _ in range(2):
        await gateway.complete(completion, (Call("GET", f"/v1/api{history}?conid=1")))

    assert gateway.targets == [farm, f"{history}?conid=1", f"{history}?conid=1"]


async def test_quotes_are_fetched_before_a_preview(completion: CompleteReads) -> None:
    """Quotes that another call fetched count as well."""
    preview = "/iserver/account/DU1/orders/whatif"
    gateway = ScriptedFetch({preview: [ok("{}")], SNAPSHOT: [FULL]})

    async def preview_order(*conids: int) -> None:
        body = '{"orders":[' + ",".join(f'{{"conid":{conid}}}' for conid in conids) + "]}"
        await gateway.complete(completion, (Call("POST", f"/v1/api{preview}", body=body.encode())))

    await preview_order(1, 2)
    await preview_order(2)
    completion.observer()(endpoint_of("GET", SNAPSHOT), Call("GET", f"{SNAPSHOT}?conids=3@NYSE"), ok("[]"))
    await preview_order(3)

    assert gateway.targets == [f"{SNAPSHOT}?conids=1,2&fields=31,84,86", preview, preview, preview]


async def test_a_response_counts_for_the_session_of_its_call(completion: CompleteReads) -> None:
    """A late response says nothing about the next session."""
    observe = completion.observer()
    completion.reset_session()
    gateway = ScriptedFetch({SUMMARY: [ok("{}")], ACCOUNTS: [ok("{}")]})

    observe(endpoint_of("GET", ACCOUNTS), Call("GET", ACCOUNTS), ok("{}"))
    await gateway.complete(completion, Call("GET", f"/v1/api{SUMMARY}"))

    assert gateway.targets == [ACCOUNTS, SUMMARY]


async def test_a_refused_prerequisite_is_not_satisfied(completion: CompleteReads) -> None:
    """It is fetched again."""
    completion.reset_session()
    completion.observer()(endpoint_of("GET", ACCOUNTS), Call("GET", ACCOUNTS), Response(500, {}, b""))
    gateway = ScriptedFetch({SUMMARY: [ok("{}")], ACCOUNTS: [ok("{}")]})

    await gateway.complete(completion, Call("GET", f"/v1/api{SUMMARY}"))

    assert gateway.targets == [ACCOUNTS, SUMMARY]


def large(status: int, body: str) -> tuple[Response, FakeBodyStream]:
    """A response whose body has not arrived completely, and the stream of the rest."""
    body_stream = FakeBodyStream()
    return Response(status, {}, body.encode(), body_stream), body_stream


async def test_the_body_streams_of_large_responses_are_closed(completion: CompleteReads, clock: ManualClock) -> None:
    """Otherwise each would hold a slot in the Gateway for ever."""
    refused, refused_stream = large(500, '{"error":"Please query /accounts first"}')
    accounts, accounts_stream = large(200, "{}")
    gateway = ScriptedFetch({SUMMARY: [refused, ok("{}")], ACCOUNTS: [accounts]})
    await gateway.complete(completion, Call("GET", f"/v1/api{SUMMARY}"))
    snapshot, snapshot_stream = large(200, "[")
    await fill(completion, ScriptedFetch({SNAPSHOT: [PARTIAL, snapshot]}), clock)
    farm, farm_stream = large(200, "{}")
    gateway = ScriptedFetch({"/hmds/history": [ok("{}")], "/hmds/auth/init": [farm]})
    await gateway.complete(completion, (Call("GET", "/v1/api/hmds/history?conid=1")))
    definitions, definitions_stream = large(200, "{")
    gateway = ScriptedFetch({"/iserver/secdef/strikes": [ok("{}")], SECDEF: [definitions]})
    await gateway.complete(completion, (Call("GET", "/v1/api/iserver/secdef/strikes?conid=1")))

    streams = (refused_stream, accounts_stream, snapshot_stream, farm_stream, definitions_stream)
    assert [body_stream.close_count for body_stream in streams] == [1] * 5


async def test_a_failed_prerequisite_is_fetched_again_before_the_next_call(completion: CompleteReads) -> None:
    """After a successful response it is not fetched again."""
    strikes = "/iserver/secdef/strikes"
    gateway = ScriptedFetch({strikes: [ok("{}")], SECDEF: [STOCKS], SEARCH: [Response(503, {}, b""), ok("[]")]})
    call = Call("GET", f"/v1/api{strikes}?conid=1")

    for _ in range(4):
        await gateway.complete(completion, call)

    assert len([path for path in gateway.targets if SEARCH in path]) == 4  # both symbols, each of them twice


async def test_missing_quotes_of_a_share_do_not_count_as_a_search(
    completion: CompleteReads, clock: ManualClock
) -> None:
    """The strikes of the share still need the search."""
    strikes = "/iserver/secdef/strikes"
    gateway = ScriptedFetch({SNAPSHOT: [EMPTY], SECDEF: [STOCKS], SEARCH: [ok("[]")], strikes: [ok("{}")]})
    await fill(completion, gateway, clock)
    before = [path for path in gateway.targets if SEARCH in path]

    await gateway.complete(completion, (Call("GET", f"/v1/api{strikes}?conid=1")))

    assert (before, f"{SEARCH}?symbol=A" in gateway.targets) == ([], True)


async def test_a_symbol_with_a_space_is_escaped_in_the_search(completion: CompleteReads) -> None:
    """It is written as a query requires."""
    strikes = "/iserver/secdef/strikes"
    definitions = ok('{"secdef":[{"conid":1,"assetClass":"STK","ticker":"BRK B"}]}')
    gateway = ScriptedFetch({strikes: [ok("{}")], SECDEF: [definitions], SEARCH: [ok("[]")]})

    await gateway.complete(completion, (Call("GET", f"/v1/api{strikes}?conid=1")))

    assert f"{SEARCH}?symbol=BRK%20B" in gateway.targets


async def test_a_partial_response_is_provisional(completion: CompleteReads) -> None:
    """It is marked, and the next call is treated as the first one."""
    algos = "/iserver/contract/1/algos"
    gateway = ScriptedFetch({algos: [ok('{"algos":[]}'), RateLimited("no"), ok('{"algos":[]}'), ok('{"algos":[1]}')]})
    call = Call("GET", f"/v1/api{algos}")

    partial, complete = [await gateway.complete(completion, call) for _ in range(2)]

    assert (partial.is_provisional, complete.is_provisional, complete.body) == (True, False, b'{"algos":[1]}')


async def test_a_cancel_does_not_wait_for_prerequisites(completion: CompleteReads) -> None:
    """It waits for half a second at most."""
    cancel = Call("DELETE", "/v1/api/iserver/account/DU1/order/7", is_change=True)
    gateway = ScriptedFetch({"/iserver/account/DU1/order/7": [ok("{}")]})
    completion.reset_session()

    async def hang(_: Call) -> Response:
        await asyncio.Event().wait()
        raise AssertionError

    async def proceed(_: CallContext) -> Response:
        return await gateway.send(cancel)

    assert (await with_timeout(completion(context_of(hang, cancel), proceed), 3)).status == 200
