"""Reads through the cache: the stream of a large body belongs to one of the callers that share the read."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest

from ibkr_bridge.cache.cached_reads import CachedReads, ReadOptions, ReadResult, cache_key
from ibkr_bridge.cache.response_cache import ENTRY_OVERHEAD_BYTES
from ibkr_bridge.cache.singleflight import Fetch, SharedCall
from ibkr_bridge.calls.context import CallContext
from ibkr_bridge.calls.messages import Call, Response
from ibkr_bridge.ibkr.catalogue import match
from tests.body_stream import FakeBodyStream
from tests.calls.stage_setup import FakeUpstream, context_for
from tests.clocks import ManualClock
from tests.harness import with_timeout

META, CALL = match("GET", ("portfolio", "DU1", "meta")), Call("GET", "/v1/api/portfolio/DU1/meta")
OPTIONS = ReadOptions(5.0, None, lambda: True)


class Gateway:
    """Responds when `may_respond` is set, each time with a new body stream."""

    def __init__(self) -> None:
        self.may_respond = asyncio.Event()
        self.body_streams: list[FakeBodyStream] = []
        self.fetch_count = 0

    async def fetch(self, shared_call: SharedCall) -> Response:
        """See `Fetch`."""
        self.fetch_count += 1
        shared_call.mark_sent()
        await self.may_respond.wait()
        self.body_streams.append(FakeBodyStream())
        return Response(200, {}, b"[", self.body_streams[-1])


async def start_read(reads: CachedReads, gateway: Gateway) -> asyncio.Task[ReadResult]:
    """Start a read, and return when it waits for the Gateway."""
    task = asyncio.create_task(reads.read(META, CALL, OPTIONS, gateway.fetch))
    await asyncio.sleep(0)
    return task


async def test_the_first_caller_gets_the_body_stream_and_the_second_fetches_again() -> None:
    """A stream can be read only once."""
    reads, gateway = CachedReads(ManualClock()), Gateway()
    first, second = await start_read(reads, gateway), await start_read(reads, gateway)

    gateway.may_respond.set()
    streams_of_callers = [(await task).response.body_stream for task in (first, second)]

    assert streams_of_callers == gateway.body_streams
    assert [body_stream.close_count for body_stream in gateway.body_streams] == [0, 0]


@pytest.mark.parametrize("is_joined", [False, True])
async def test_the_body_stream_of_a_cancelled_caller_is_closed(is_joined: bool) -> None:
    """A caller that joined the read gets a stream of its own."""
    reads, gateway = CachedReads(ManualClock()), Gateway()
    first = await start_read(reads, gateway)
    second = await start_read(reads, gateway) if is_joined else None

    first.cancel()
    with suppress(asyncio.CancelledError):
        await first
    gateway.may_respond.set()
    result = await second if second else None
    for _ in range(5):
        await asyncio.sleep(0)

    assert gateway.body_streams[0].close_count == 1
    assert result is None or result.response.body_stream is gateway.body_streams[1]
    assert [body_stream.close_count for body_stream in gateway.body_streams[1:]] == [0] * is_joined


SEARCH = Call("POST", "/v1/api/iserver/secdef/search", (("Content-Type", "application/json"),), b'{"symbol":"AAPL"}')


@pytest.mark.parametrize(
    "other",
    [
        replace(SEARCH, body=b'{"symbol":"TSLA"}'),
        replace(SEARCH, body=b""),
        replace(SEARCH, target=f"{SEARCH.target}?name=true"),
        replace(SEARCH, method="PUT"),
        replace(SEARCH, headers=(("Content-Type", "text/plain"),)),
    ],
    ids=["body", "no body", "target", "method", "content type"],
)
async def test_reads_that_differ_do_not_share_a_response(other: Call) -> None:
    """A search for one symbol must not be answered with the contracts of another: its conid would be traded."""
    reads, endpoint = CachedReads(ManualClock()), match("POST", ("iserver", "secdef", "search"))
    fetched: list[Call] = []

    def fetch(call: Call) -> Fetch:
        async def send(shared_call: SharedCall) -> Response:
            shared_call.mark_sent()
            fetched.append(call)
            return Response(200, {}, call.body)

        return send

    first = await reads.read(endpoint, SEARCH, OPTIONS, fetch(SEARCH))
    second = await reads.read(endpoint, other, OPTIONS, fetch(other))
    again = await reads.read(endpoint, replace(SEARCH), OPTIONS, fetch(SEARCH))

    assert fetched == [SEARCH, other]
    assert (first.response.body, second.response.body, again.response.body) == (SEARCH.body, other.body, SEARCH.body)
    assert (first.source, second.source, again.source) == ("gateway", "gateway", "cache")


async def test_reads_that_differ_in_their_body_do_not_share_a_call() -> None:
    """Also while both are on their way."""
    reads, endpoint, gateway = CachedReads(ManualClock()), match("POST", ("iserver", "secdef", "search")), Gateway()
    calls = (SEARCH, replace(SEARCH, body=b'{"symbol":"TSLA"}'))
    tasks = [asyncio.create_task(reads.read(endpoint, call, OPTIONS, gateway.fetch)) for call in calls]
    await asyncio.sleep(0)

    gateway.may_respond.set()
    results = [await with_timeout(task) for task in tasks]

    assert [result.source for result in results] == ["gateway", "gateway"]
    assert len(gateway.body_streams) == 2


def test_headers_that_change_no_response_share_one() -> None:
    """Each client sends its own; only the type of a body says how it is read."""
    accept = (("Accept", "*/*"), *SEARCH.headers)

    assert cache_key(replace(SEARCH, headers=accept)) == cache_key(SEARCH)
    assert cache_key(replace(CALL, headers=accept)) == cache_key(CALL)


async def test_a_change_drops_what_it_makes_stale_when_it_leaves_when_it_is_answered_and_when_it_is_over() -> None:
    """A read that was sent before the change must not be cached after it. A change that was not sent drops nothing."""
    reads, context = CachedReads(ManualClock()), context_for("POST", "/iserver/account/DU1/orders", b"{}")
    dropped: list[str] = []
    moment = ["before"]
    reads.invalidate = lambda *tags: dropped.append(moment[0])  # type: ignore[method-assign]

    async def proceed(sent: CallContext) -> Response:
        moment[0], sent.is_sent = "sent", True
        for hook in sent.on_sent:
            hook(sent)
        moment[0] = "answered"
        return Response(200, {}, b"{}")

    await reads(context, proceed)
    moment[0] = "released"
    for hook in context.on_released:
        hook(context)

    assert dropped == ["sent", "answered", "released"]


async def test_a_change_that_was_not_sent_drops_nothing() -> None:
    """IBKR never saw it."""
    reads, context = CachedReads(ManualClock()), context_for("POST", "/iserver/account/DU1/orders", b"{}")
    dropped: list[object] = []
    reads.invalidate = lambda *tags: dropped.append(tags)  # type: ignore[method-assign]

    await reads(context, _send_nothing)
    for hook in context.on_released:
        hook(context)

    assert dropped == []


async def _send_nothing(_: CallContext) -> Response:
    return Response(503, {}, b"")


def accounts_read(**attributes: Any) -> CallContext:
    """A caller's read of the accounts, which are cached for five seconds."""
    return context_for("GET", "/portfolio/accounts", **attributes)


ACCOUNTS = Response(200, {"Content-Type": "application/json"}, b'[{"id":"DU1"}]')


async def test_a_read_is_sent_for_all_callers_and_then_answered_from_the_cache() -> None:
    """The call waits and is wanted as long as any caller wants; its times count for the one that began it."""
    clock = ManualClock()
    reads, first, second = CachedReads(clock), accounts_read(wait_s=7.0), accounts_read()
    sent: list[CallContext] = []
    wishes: list[tuple[bool, float | None, bool]] = []

    async def proceed(own: CallContext) -> Response:
        assert isinstance(own.shared_call, SharedCall)
        for hook in own.on_sent:
            hook(own)
        sent.append(own)
        wishes.append((own.is_connected(), own.wait_s, own.shared_call.is_sent))
        own.timing.waited_s, own.timing.upstream_s = 1.0, 2.0
        clock.advance(3.0)
        return ACCOUNTS

    responses = [await reads(first, proceed), await reads(second, proceed)]

    assert responses == [ACCOUNTS] * 2
    assert (first.source, first.age_s, second.source, second.age_s) == ("gateway", None, "cache", 3.0)
    assert [own.needs_complete_body for own in sent] == [True]
    assert wishes == [(True, 7.0, True)]
    assert (first.timing.waited_s, first.timing.upstream_s, second.timing.waited_s) == (1.0, 2.0, 0.0)


async def test_the_status_counts_the_reads_that_needed_no_call() -> None:
    """Each read is looked up; some are answered from the cache, some by the call of another caller."""
    reads, upstream = CachedReads(ManualClock()), FakeUpstream(ACCOUNTS)
    unused = reads.status()
    await asyncio.gather(*(reads(accounts_read(), upstream) for _ in range(2)))
    await reads(accounts_read(), upstream)

    assert (unused.hit_rate, unused.entries) == (None, 0)
    status = reads.status()
    assert (status.lookups, status.hits, status.shared, status.hit_rate) == (3, 1, 1, 0.667)
    assert (status.entries, status.bytes, upstream.sent) == (1, len(ACCOUNTS.body) + ENTRY_OVERHEAD_BYTES, 1)


async def test_a_change_that_was_sent_makes_the_next_read_a_new_call() -> None:
    """The caller that sent the change must see its effect."""
    reads, upstream = CachedReads(ManualClock()), FakeUpstream(ACCOUNTS)
    await reads(accounts_read(), upstream)

    await reads(context_for("POST", "/iserver/account", b'{"acctId":"DU1"}'), FakeUpstream())
    after_change = accounts_read()
    await reads(after_change, upstream)

    assert (after_change.source, upstream.sent) == ("gateway", 2)


async def test_a_new_session_drops_the_accounts_and_keeps_the_contracts() -> None:
    """The next login may have other accounts; contracts are the same for all."""
    reads, upstream = CachedReads(ManualClock()), FakeUpstream(ACCOUNTS)
    paths = ("/portfolio/accounts", "/iserver/currency/pairs?currency=USD")
    for path in paths:
        await reads(context_for("GET", path), upstream)

    reads.reset_session()

    again = [context_for("GET", path) for path in paths]
    for context in again:
        await reads(context, upstream)
    assert [context.source for context in again] == ["gateway", "cache"]


@pytest.mark.parametrize("changes_meanwhile", [False, True])
async def test_the_response_of_a_call_that_did_not_pass_this_stage_is_cached(changes_meanwhile: bool) -> None:
    """Unless a change was sent in between."""
    clock = ManualClock()
    reads, context = CachedReads(clock), accounts_read()
    learn = reads.observer(context.endpoint, context.call)
    clock.advance(1.0)
    if changes_meanwhile:
        reads.reset_session()

    learn(ACCOUNTS)
    await reads(context, FakeUpstream(ACCOUNTS))

    expected = ("gateway", None) if changes_meanwhile else ("cache", 1.0)
    assert (context.source, context.age_s) == expected


@pytest.mark.parametrize(
    ("path", "is_overtaken", "call_count"),
    [
        ("/portfolio/accounts", True, 2),
        ("/portfolio/accounts", False, 1),
        ("/iserver/scanner/params", True, 1),  # IBKR takes long for it
    ],
)
async def test_a_call_that_hangs_is_not_joined(path: str, is_overtaken: bool, call_count: int) -> None:
    """A later call was answered promptly, so this one will probably never be."""
    asked: list[float] = []
    clock, gateway = ManualClock(), Gateway()

    def overtaken(sent_at: float) -> bool:
        asked.append(sent_at)
        return is_overtaken

    reads, context = CachedReads(clock, overtaken), context_for("GET", path)
    tasks = []
    for _ in range(2):
        tasks.append(asyncio.create_task(reads.read(context.endpoint, context.call, OPTIONS, gateway.fetch)))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    await reads.close()
    await asyncio.gather(*tasks, return_exceptions=True)

    assert gateway.fetch_count == call_count
    assert asked in ([], [clock.now()])


@pytest.mark.parametrize(
    ("first_is_reduced", "second_is_reduced", "call_count"),
    [(True, False, 2), (True, True, 1), (False, True, 1), (False, False, 1)],
)
async def test_the_full_key_does_not_wait_with_the_share_of_a_page(
    first_is_reduced: bool, second_is_reduced: bool, call_count: int
) -> None:
    """A call that waits for admission has the place of its first caller in the queue."""
    started = 0

    async def wait_for_admission(_: SharedCall) -> Response:
        nonlocal started
        started += 1
        await asyncio.Event().wait()
        raise AssertionError

    reads = CachedReads(ManualClock())
    tasks = []
    for is_reduced in (first_is_reduced, second_is_reduced):
        options = replace(OPTIONS, has_reduced_share=is_reduced)
        tasks.append(asyncio.create_task(reads.read(META, CALL, options, wait_for_admission)))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    await reads.close()
    await asyncio.gather(*tasks, return_exceptions=True)

    assert started == call_count


async def test_the_stream_is_closed_if_its_caller_is_cancelled_in_the_step_in_which_it_comes() -> None:
    """Nobody reads it, and it would hold a slot of the Gateway."""
    reads, gateway = CachedReads(ManualClock()), Gateway()
    caller = await start_read(reads, gateway)
    shared_call = reads.single_flight.find_joinable(cache_key(CALL), max_wait_s=5.0, unsent=False)
    assert shared_call is not None
    gateway.may_respond.set()
    while not shared_call.is_done:
        await asyncio.sleep(0)
    assert not caller.done()

    caller.cancel()
    with suppress(asyncio.CancelledError):
        await caller

    assert [body_stream.close_count for body_stream in gateway.body_streams] == [1]
