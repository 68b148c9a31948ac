"""What IBKR wants to be asked first, twice, or until it is filled; on a clock moved by hand."""

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
from tests.harness import within
from tests.quirks.scripted import Scripted, context_of, good

SNAPSHOT, SEARCH, SECDEF = "/iserver/marketdata/snapshot", "/iserver/secdef/search", "/trsrv/secdef"
ACCOUNTS, PORTFOLIO, SUMMARY = "/iserver/accounts", "/portfolio/accounts", "/iserver/account/DU1/summary"
QUOTES = Call("GET", f"/v1/api{SNAPSHOT}?conids=1,2&fields=31,84")
EMPTY, HALF = good('[{"conid":1},{"conid":2}]'), good('[{"conid":1,"31":"7","84":"8"},{"conid":2,"31":"9"}]')
FULL = good('[{"conid":1,"31":"7","84":"8"},{"conid":2,"31":"9","84":"10"}]')
FIRST = Response(500, {}, b'{"error":"Please query /accounts first"}')
STOCKS = good('{"secdef":[{"conid":1,"assetClass":"STK","ticker":"A"},{"conid":2,"assetClass":"STK","ticker":"B"}]}')


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def completion(clock: ManualClock) -> CompleteReads:
    """A session in which the accounts have been asked for, as the keeper does."""
    completion = CompleteReads(clock, GATEWAY_TRAITS)
    completion.observer()(endpoint_of("GET", ACCOUNTS), Call("GET", ACCOUNTS), good("{}"))
    return completion


async def filled(
    completion: CompleteReads, gateway: Scripted, clock: ManualClock, call: Call = QUOTES
) -> tuple[Response, float]:
    """A snapshot, and how many seconds it took."""
    began, task = clock.now(), asyncio.create_task(gateway.complete(completion, call))
    while not task.done():
        waking = asyncio.create_task(clock.asleep(1))
        await within(asyncio.wait({task, waking}, return_when=asyncio.FIRST_COMPLETED))
        waking.cancel()
        if not task.done():
            clock.advance(clock.next_alarm)
    return await task, clock.now() - began


async def test_a_snapshot_is_asked_again_until_it_is_filled(completion: CompleteReads, clock: ManualClock) -> None:
    """Its answer is IBKR's, byte for byte, and has no note."""
    gateway = Scripted({SNAPSHOT: [EMPTY, HALF, FULL, EMPTY]})

    response, took = await filled(completion, gateway, clock)

    assert (response.body, dict(response.bridge_headers)) == (FULL.body, {})
    assert (len(gateway.asked), took < 1.0) == (3, True)


async def test_what_never_comes_is_named_and_not_waited_for_again(
    completion: CompleteReads, clock: ManualClock
) -> None:
    """For a minute; then it may have come."""
    gateway = Scripted({SNAPSHOT: [EMPTY, HALF]})

    first, took = await filled(completion, gateway, clock)
    second, at_once = await filled(completion, gateway, clock)
    clock.advance(GIVEN_UP_TTL_S)
    third, again = await filled(completion, gateway, clock)

    assert first.bridge_headers == second.bridge_headers == third.bridge_headers == {MISSING_HEADER: "2:84"}
    assert (FILL_TIMEOUT_S - 0.5 <= took <= FILL_TIMEOUT_S, at_once, again > 3) == (True, 0.0, True)


async def test_another_field_is_waited_for(completion: CompleteReads, clock: ManualClock) -> None:
    """That one did not come says nothing of it."""
    gateway = Scripted({SNAPSHOT: [EMPTY, HALF]})
    await filled(completion, gateway, clock)

    _, took = await filled(completion, gateway, clock, Call("GET", f"/v1/api{SNAPSHOT}?conids=1,2&fields=31,86"))

    assert took > 3


async def test_another_session_begins_anew(completion: CompleteReads, clock: ManualClock) -> None:
    """It may have what this one had not."""
    gateway = Scripted({SNAPSHOT: [EMPTY, HALF], ACCOUNTS: [good("{}")]})
    await filled(completion, gateway, clock)

    completion.reset_session()
    _, took = await filled(completion, gateway, clock)

    assert took > 3
    assert gateway.asked.count(ACCOUNTS) == 1


@pytest.mark.parametrize(
    "then", [RateLimited("no"), GatewayTimeout("no"), good('{"error":"no"}'), Response(500, {}, b"[]")]
)
async def test_where_it_cannot_be_asked_again_the_thin_answer_has_to_do(
    completion: CompleteReads, clock: ManualClock, then: Response | Exception
) -> None:
    """With its note."""
    gateway = Scripted({SNAPSHOT: [HALF, then]})

    response, _ = await filled(completion, gateway, clock)

    assert (response.body, response.bridge_headers) == (HALF.body, {MISSING_HEADER: "2:84"})
    assert len(gateway.asked) == 2


async def test_derivatives_without_quotes_are_searched_for(completion: CompleteReads, clock: ManualClock) -> None:
    """Once in a session; shares are not."""
    told = good(
        '{"secdef":[{"conid":1,"assetClass":"OPT","ticker":"AAPL"},{"conid":2,"assetClass":"STK","ticker":"B"}]}'
    )
    found = good('[{"conid":"7","symbol":"AAPL"}]')
    gateway = Scripted({SNAPSHOT: [EMPTY, EMPTY, FULL, EMPTY, EMPTY, FULL], SECDEF: [told], SEARCH: [found]})

    first, _ = await filled(completion, gateway, clock)
    await filled(completion, gateway, clock)

    assert first.body == FULL.body
    assert [path for path in gateway.asked if SNAPSHOT not in path] == [f"{SECDEF}?conids=1,2", f"{SEARCH}?symbol=AAPL"]


async def test_strikes_are_asked_for_after_a_search_for_their_symbol(completion: CompleteReads) -> None:
    """Once in a session, whoever made it."""
    strikes = "/iserver/secdef/strikes"
    found = good('[{"conid":"1"},{"conid":"2"}]')
    gateway = Scripted({strikes: [good('{"call":[1]}')], SECDEF: [STOCKS], SEARCH: [found]})

    def call(conid: int) -> Call:
        return Call("GET", f"/v1/api{strikes}?conid={conid}&sectype=OPT&month=SEP26")

    for _ in range(2):
        await gateway.complete(completion, (call(1)))
    completion.observer()(endpoint_of("GET", SEARCH), Call("GET", SEARCH), found)
    await gateway.complete(completion, (call(2)))

    assert gateway.asked[:3] == [f"{SECDEF}?conids=1", f"{SEARCH}?symbol=A", f"{SEARCH}?symbol=B"]
    assert len([path for path in gateway.asked if strikes in path]) == 3
    assert len(gateway.asked) == 6


async def test_the_accounts_are_asked_for_again_where_ibkr_has_forgotten_them(completion: CompleteReads) -> None:
    """And the call once more, once."""
    gateway = Scripted({SUMMARY: [FIRST, good('{"a":1}')], ACCOUNTS: [good("{}")]})
    hopeless = Scripted({SUMMARY: [FIRST], ACCOUNTS: [good("{}")]})

    response = await gateway.complete(completion, (Call("GET", f"/v1/api{SUMMARY}")))
    refused = await hopeless.complete(completion, (Call("GET", f"/v1/api{SUMMARY}")))

    assert (response.body, gateway.asked) == (b'{"a":1}', [SUMMARY, ACCOUNTS, SUMMARY])
    assert (refused.status, hopeless.asked) == (500, [SUMMARY, ACCOUNTS, SUMMARY])


async def test_what_changes_something_is_asked_once_whatever_comes(completion: CompleteReads) -> None:
    """Its accounts are seen to before, where they can be."""
    cancel = "/iserver/account/DU1/order/7"
    gateway = Scripted({cancel: [FIRST], ACCOUNTS: [RateLimited("no")]})
    completion.reset_session()

    response = await gateway.complete(completion, (Call("DELETE", f"/v1/api{cancel}", is_change=True)))

    assert (response, gateway.asked) == (FIRST, [ACCOUNTS, cancel])


async def test_the_portfolio_is_asked_for_after_its_accounts(completion: CompleteReads) -> None:
    """Without them it would be empty, without a word."""
    ledger = "/portfolio/DU1/ledger"
    gateway = Scripted({ledger: [good('{"USD":{}}')], PORTFOLIO: [good("[]")]})

    for _ in range(2):
        await gateway.complete(completion, (Call("GET", f"/v1/api{ledger}")))

    assert gateway.asked == [PORTFOLIO, ledger, ledger]


async def test_the_history_farm_is_opened_first(completion: CompleteReads) -> None:
    """Once."""
    history, farm = "/hmds/history", "/hmds/auth/init"
    gateway = Scripted({history: [good("{}")], farm: [good('{"authenticated":true}')]})

    for _ in range(2):
        await gateway.complete(completion, (Call("GET", f"/v1/api{history}?conid=1")))

    assert gateway.asked == [farm, f"{history}?conid=1", f"{history}?conid=1"]


async def test_a_preview_has_its_quotes_first(completion: CompleteReads) -> None:
    """Also where they were asked for by somebody else."""
    preview = "/iserver/account/DU1/orders/whatif"
    gateway = Scripted({preview: [good("{}")], SNAPSHOT: [FULL]})

    async def previewed(*conids: int) -> None:
        body = '{"orders":[' + ",".join(f'{{"conid":{conid}}}' for conid in conids) + "]}"
        await gateway.complete(completion, (Call("POST", f"/v1/api{preview}", body=body.encode())))

    await previewed(1, 2)
    await previewed(2)
    completion.observer()(endpoint_of("GET", SNAPSHOT), Call("GET", f"{SNAPSHOT}?conids=3@NYSE"), good("[]"))
    await previewed(3)

    assert gateway.asked == [f"{SNAPSHOT}?conids=1,2&fields=31,84,86", preview, preview, preview]


async def test_an_answer_counts_for_the_session_it_was_asked_in(completion: CompleteReads) -> None:
    """One that comes late says nothing of the next."""
    late = completion.observer()
    completion.reset_session()
    gateway = Scripted({SUMMARY: [good("{}")], ACCOUNTS: [good("{}")]})

    late(endpoint_of("GET", ACCOUNTS), Call("GET", ACCOUNTS), good("{}"))
    await gateway.complete(completion, (Call("GET", f"/v1/api{SUMMARY}")))

    assert gateway.asked == [ACCOUNTS, SUMMARY]


async def test_what_was_refused_meets_no_need(completion: CompleteReads) -> None:
    """It will be asked again."""
    completion.reset_session()
    completion.observer()(endpoint_of("GET", ACCOUNTS), Call("GET", ACCOUNTS), Response(500, {}, b""))
    gateway = Scripted({SUMMARY: [good("{}")], ACCOUNTS: [good("{}")]})

    await gateway.complete(completion, (Call("GET", f"/v1/api{SUMMARY}")))

    assert gateway.asked == [ACCOUNTS, SUMMARY]


def large(status: int, body: str) -> tuple[Response, FakeBodyStream]:
    """An answer of which only the beginning is here."""
    body_stream = FakeBodyStream()
    return Response(status, {}, body.encode(), body_stream), body_stream


async def test_what_is_left_of_large_answers_is_let_go(completion: CompleteReads, clock: ManualClock) -> None:
    """Else each would hold a place at the Gateway for ever."""
    refused, one = large(500, '{"error":"Please query /accounts first"}')
    accounts, two = large(200, "{}")
    gateway = Scripted({SUMMARY: [refused, good("{}")], ACCOUNTS: [accounts]})
    await gateway.complete(completion, (Call("GET", f"/v1/api{SUMMARY}")))
    look, three = large(200, "[")
    await filled(completion, Scripted({SNAPSHOT: [HALF, look]}), clock)
    farm, four = large(200, "{}")
    gateway = Scripted({"/hmds/history": [good("{}")], "/hmds/auth/init": [farm]})
    await gateway.complete(completion, (Call("GET", "/v1/api/hmds/history?conid=1")))
    told, five = large(200, "{")
    gateway = Scripted({"/iserver/secdef/strikes": [good("{}")], SECDEF: [told]})
    await gateway.complete(completion, (Call("GET", "/v1/api/iserver/secdef/strikes?conid=1")))

    assert [body_stream.close_count for body_stream in (one, two, three, four, five)] == [1] * 5


async def test_what_failed_is_asked_again_before_the_next_call(completion: CompleteReads) -> None:
    """Once it was answered well it is not."""
    strikes = "/iserver/secdef/strikes"
    gateway = Scripted({strikes: [good("{}")], SECDEF: [STOCKS], SEARCH: [Response(503, {}, b""), good("[]")]})
    call = Call("GET", f"/v1/api{strikes}?conid=1")

    for _ in range(4):
        await gateway.complete(completion, call)

    assert len([path for path in gateway.asked if SEARCH in path]) == 4  # both symbols, and both again


async def test_a_share_without_quotes_was_not_searched_for(completion: CompleteReads, clock: ManualClock) -> None:
    """Its chain still needs that."""
    strikes = "/iserver/secdef/strikes"
    gateway = Scripted({SNAPSHOT: [EMPTY], SECDEF: [STOCKS], SEARCH: [good("[]")], strikes: [good("{}")]})
    await filled(completion, gateway, clock)
    before = [path for path in gateway.asked if SEARCH in path]

    await gateway.complete(completion, (Call("GET", f"/v1/api{strikes}?conid=1")))

    assert (before, f"{SEARCH}?symbol=A" in gateway.asked) == ([], True)


async def test_a_symbol_with_a_space_is_searched_for_too(completion: CompleteReads) -> None:
    """As it stands in a query."""
    strikes = "/iserver/secdef/strikes"
    told = good('{"secdef":[{"conid":1,"assetClass":"STK","ticker":"BRK B"}]}')
    gateway = Scripted({strikes: [good("{}")], SECDEF: [told], SEARCH: [good("[]")]})

    await gateway.complete(completion, (Call("GET", f"/v1/api{strikes}?conid=1")))

    assert f"{SEARCH}?symbol=BRK%20B" in gateway.asked


async def test_a_thin_answer_that_has_to_do_is_not_the_last_word(completion: CompleteReads) -> None:
    """It is marked, and the next call counts as the first."""
    algos = "/iserver/contract/1/algos"
    gateway = Scripted({algos: [good('{"algos":[]}'), RateLimited("no"), good('{"algos":[]}'), good('{"algos":[1]}')]})
    call = Call("GET", f"/v1/api{algos}")

    thin, whole = [await gateway.complete(completion, call) for _ in range(2)]

    assert (thin.is_provisional, whole.is_provisional, whole.body) == (True, False, b'{"algos":[1]}')


async def test_a_cancel_does_not_wait_for_what_ibkr_wants_first(completion: CompleteReads) -> None:
    """Half a second at most."""
    cancel = Call("DELETE", "/v1/api/iserver/account/DU1/order/7", is_change=True)
    gateway = Scripted({"/iserver/account/DU1/order/7": [good("{}")]})
    completion.reset_session()

    async def hang(_: Call) -> Response:
        await asyncio.Event().wait()
        raise AssertionError

    async def proceed(_: CallContext) -> Response:
        return await gateway.send(cancel)

    assert (await within(completion(context_of(hang, cancel), proceed), 3)).status == 200
