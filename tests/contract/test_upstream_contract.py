"""What every upstream promises (`calls/upstream_port.py`), run against each kind of upstream."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from ibkr_bridge.calls.messages import Call, Response, discard
from ibkr_bridge.errors import GatewayError, GatewayProtocolError, GatewayTimeout, TradingPaused
from ibkr_bridge.ibkr.catalogue import CATALOGUE
from ibkr_bridge.ibkr.endpoint import Composition, Prerequisite
from tests.contract.upstreams import BEGINNING, REST, SCENES, Act, Scene
from tests.harness import with_timeout

SHORT = 0.5  # seconds of a silence that is meant; a busy machine connects by TLS meanwhile
READ = Call("GET", "/v1/api/read")
CHANGE = Call("POST", "/v1/api/change", body=b"{}", is_change=True)


@pytest.fixture(params=sorted(SCENES))
async def scene(request: pytest.FixtureRequest) -> AsyncIterator[Scene]:
    """Each kind of upstream in turn."""
    async with SCENES[request.param]() as open_scene:
        yield open_scene


class RecordedCallbacks:
    """The callbacks of one call; they record their order."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.steps: list[str] = []
        self.late_responses: list[Response] = []
        self._changed = asyncio.Event()

    def record(self, step: str) -> None:
        """Record a step."""
        self.steps.append(step)
        self._changed.set()

    def check(self) -> None:
        """A precondition that holds."""
        self.record("check")

    async def write(self) -> None:
        """The callback that is awaited before the first byte."""
        self.record("write")

    def on_late_response(self, response: Response) -> None:
        """Record a late response."""
        self.late_responses.append(response)
        self.record("late")

    async def send(self, call: Call = READ, timeout_s: float | None = None) -> Response:
        """Send a call with all callbacks."""
        return await self.scene.upstream.send(
            call,
            timeout_s=timeout_s,
            preconditions=(self.check,),
            before_first_byte=self.write,
            on_sent=lambda: self.record("sent"),
            on_released=lambda: self.record("released"),
            on_given_up=lambda: self.record("given up"),
            on_late_response=self.on_late_response,
        )

    async def wait_for_step(self, step: str) -> None:
        """Wait until a step was recorded."""
        async with asyncio.timeout(10.0):
            while step not in self.steps:
                self._changed.clear()
                await self._changed.wait()

    @property
    def released_count(self) -> int:
        """How often the upstream has reported that it no longer works on the call."""
        return self.steps.count("released")


@pytest.fixture
def callbacks(scene: Scene) -> RecordedCallbacks:
    """The recorded callbacks of a call."""
    return RecordedCallbacks(scene)


async def run_pending() -> None:
    """Let all pending callbacks of the loop run."""
    for _ in range(20):
        await asyncio.sleep(0)


# -- before the first byte


@pytest.mark.parametrize("call", [READ, CHANGE], ids=["read", "change"])
async def test_everything_is_checked_before_the_entry_and_once_more_after_it(
    callbacks: RecordedCallbacks, call: Call
) -> None:
    """Writing to the disk takes time, in which a check can become false."""
    response = await callbacks.send(call)

    assert (response.status, response.body) == (200, b"{}")
    assert callbacks.steps == ["check", "write", "check", "sent", "released"]


async def test_without_an_entry_everything_is_checked_once_and_in_order(scene: Scene) -> None:
    """The outermost stage appends first, and its refusal is the one that is raised."""
    steps: list[str] = []

    await scene.upstream.send(READ, preconditions=(lambda: steps.append("first"), lambda: steps.append("second")))

    assert steps == ["first", "second"]


@pytest.mark.parametrize("call", [READ, CHANGE], ids=["read", "change"])
@pytest.mark.parametrize("refusing_check", [1, 2])
async def test_the_first_check_that_refuses_stops_the_call(
    scene: Scene, callbacks: RecordedCallbacks, call: Call, refusing_check: int
) -> None:
    """Nothing is sent, and later checks are not called."""
    check_count = 0

    def refuse() -> None:
        nonlocal check_count
        check_count += 1
        if check_count == refusing_check:
            raise TradingPaused("paused")

    with pytest.raises(TradingPaused):
        await scene.upstream.send(
            call,
            preconditions=(refuse, callbacks.check),
            before_first_byte=callbacks.write,
            on_sent=lambda: callbacks.record("sent"),
            on_released=lambda: callbacks.record("released"),
        )
    await scene.wait_until_settled()

    assert callbacks.steps == (["released"] if refusing_check == 1 else ["check", "write", "released"])
    assert scene.arrived_targets == []


@pytest.mark.parametrize("call", [READ, CHANGE], ids=["read", "change"])
async def test_an_entry_that_cannot_be_written_stops_the_call(
    scene: Scene, callbacks: RecordedCallbacks, call: Call
) -> None:
    """No order is sent without an entry in the journal."""

    async def fail() -> None:
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="the disk is full"):
        await scene.upstream.send(
            call,
            before_first_byte=fail,
            on_sent=lambda: callbacks.record("sent"),
            on_released=lambda: callbacks.record("released"),
        )
    await scene.wait_until_settled()

    assert (callbacks.steps, scene.arrived_targets) == (["released"], [])


async def test_a_call_that_is_cancelled_while_its_entry_is_written_is_never_sent(
    scene: Scene, callbacks: RecordedCallbacks
) -> None:
    """Its slot is free, and it is not a ghost call."""
    writing = asyncio.Event()

    async def write_for_ever() -> None:
        writing.set()
        await asyncio.get_running_loop().create_future()

    task = asyncio.create_task(
        scene.upstream.send(
            CHANGE,
            before_first_byte=write_for_ever,
            on_sent=lambda: callbacks.record("sent"),
            on_released=lambda: callbacks.record("released"),
        )
    )
    await with_timeout(writing.wait())
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task
    await scene.wait_until_settled()
    assert (callbacks.steps, scene.arrived_targets, scene.upstream.abandoned) == (["released"], [], 0)


# -- the first byte


async def test_nothing_happens_between_the_last_check_and_on_sent(scene: Scene) -> None:
    """A turn of the loop between them would be time in which the check can become false."""
    turned: list[bool] = []
    seen: list[list[bool]] = []

    def check() -> None:
        asyncio.get_running_loop().call_soon(turned.append, True)

    await scene.upstream.send(CHANGE, preconditions=(check,), on_sent=lambda: seen.append(list(turned)))

    assert seen == [[]]


async def test_a_call_that_is_cancelled_in_on_sent_has_been_sent(scene: Scene, callbacks: RecordedCallbacks) -> None:
    """Nothing is awaited between `on_sent` and the first byte, so a recorded sending is a real one."""
    scene.plan = [Act.HOLD]

    def cancel() -> None:
        task.cancel()

    task = asyncio.create_task(
        scene.upstream.send(CHANGE, on_sent=cancel, on_released=lambda: callbacks.record("released"))
    )

    with pytest.raises(asyncio.CancelledError):
        await task
    await scene.wait_for_calls(1)

    assert (scene.arrived_targets, callbacks.released_count) == ([CHANGE.target], 1)


# -- the end of a call


async def test_a_call_is_released_once_when_its_response_is_complete(
    scene: Scene, callbacks: RecordedCallbacks
) -> None:
    """The slot is free as soon as the far side has finished, and not before."""
    scene.plan = [Act.HOLD]
    task = asyncio.create_task(callbacks.send())
    await scene.wait_for_calls(1)
    assert callbacks.released_count == 0

    scene.release.set()
    await with_timeout(task)
    await run_pending()

    assert (callbacks.released_count, callbacks.late_responses, scene.upstream.abandoned) == (1, [], 0)
    assert "given up" not in callbacks.steps


@pytest.mark.parametrize("call", [READ, CHANGE], ids=["read", "change"])
async def test_a_call_that_times_out_is_a_ghost_until_its_late_response(
    scene: Scene, callbacks: RecordedCallbacks, call: Call
) -> None:
    """The far side still works on it, so its slot is taken. The late response is the best evidence of its result."""
    scene.plan = [Act.HOLD]

    with pytest.raises(GatewayTimeout):
        await callbacks.send(call, SHORT)
    assert (callbacks.released_count, scene.upstream.abandoned, scene.arrived_targets) == (0, 1, [call.target])
    assert callbacks.steps[-1] == "given up"
    scene.release.set()
    await callbacks.wait_for_step("released")
    await run_pending()

    assert [response.body for response in callbacks.late_responses] == [b"{}"]
    assert (callbacks.released_count, scene.upstream.abandoned, scene.arrived_targets) == (1, 0, [call.target])


async def test_a_late_response_is_reported_before_the_slot_is_free(scene: Scene, callbacks: RecordedCallbacks) -> None:
    """The next call in the slot must already know the result of the order before it."""
    scene.plan = [Act.HOLD]
    with pytest.raises(GatewayTimeout):
        await callbacks.send(CHANGE, SHORT)

    scene.release.set()
    await callbacks.wait_for_step("released")

    assert callbacks.steps[-2:] == ["late", "released"]


async def test_a_call_that_is_cancelled_on_its_way_is_released_once(scene: Scene, callbacks: RecordedCallbacks) -> None:
    """Its caller has left; its response is dropped."""
    scene.plan = [Act.HOLD]
    task = asyncio.create_task(callbacks.send())
    await scene.wait_for_calls(1)

    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    scene.release.set()
    await run_pending()

    assert (callbacks.released_count, callbacks.late_responses, scene.upstream.abandoned) == (1, [], 0)


async def test_a_large_body_is_released_when_it_was_read_and_closed(scene: Scene, callbacks: RecordedCallbacks) -> None:
    """Until then the far side works on it."""
    scene.plan = [Act.LARGE]
    response = await with_timeout(callbacks.send())
    assert response.body_stream is not None
    assert callbacks.released_count == 0
    scene.release.set()

    read = [chunk async for chunk in response.body_stream.chunks()]
    response.body_stream.close()
    response.body_stream.close()
    await callbacks.wait_for_step("released")

    assert response.body + b"".join(read) == BEGINNING + REST
    assert (callbacks.released_count, scene.upstream.abandoned) == (1, 0)


async def test_a_large_body_that_is_not_read_holds_its_slot_until_it_has_arrived(
    scene: Scene, callbacks: RecordedCallbacks
) -> None:
    """The bridge has closed it, but the far side goes on sending."""
    scene.plan = [Act.LARGE]
    response = await with_timeout(callbacks.send())

    discard(response)
    discard(response)
    await run_pending()
    assert (callbacks.released_count, scene.upstream.abandoned) == (0, 1)
    scene.release.set()
    await callbacks.wait_for_step("released")
    await run_pending()

    assert (callbacks.released_count, scene.upstream.abandoned) == (1, 0)


# -- sending twice


async def test_a_change_whose_connection_breaks_off_is_sent_once(scene: Scene, callbacks: RecordedCallbacks) -> None:
    """It may have been carried out, so a repetition could be a second order."""
    scene.plan = [Act.BREAK_OFF, Act.ANSWER]

    with pytest.raises(GatewayProtocolError):
        await callbacks.send(CHANGE)

    assert (scene.arrived_targets, callbacks.released_count) == ([CHANGE.target], 1)


async def test_a_read_whose_connection_breaks_off_is_sent_again(scene: Scene, callbacks: RecordedCallbacks) -> None:
    """An idle connection can be closed at that moment. The second sending is checked like the first."""
    scene.plan = [Act.BREAK_OFF, Act.ANSWER]

    response = await callbacks.send()

    assert (response.body, scene.arrived_targets, callbacks.released_count) == (b"{}", [READ.target] * 2, 1)
    assert callbacks.steps.count("check") == 4
    assert callbacks.steps.count("sent") == 2


async def test_a_read_is_sent_no_more_than_twice(scene: Scene, callbacks: RecordedCallbacks) -> None:
    """A far side may always break off."""
    scene.plan = [Act.BREAK_OFF]

    with pytest.raises(GatewayProtocolError):
        await callbacks.send()

    assert (scene.arrived_targets, callbacks.released_count) == ([READ.target] * 2, 1)


async def test_a_second_sending_that_a_check_refuses_is_not_sent(scene: Scene, callbacks: RecordedCallbacks) -> None:
    """IBKR's limits may have no room for it; the caller gets the refusal."""
    scene.plan, checks = [Act.BREAK_OFF, Act.ANSWER], 0

    def allow_once() -> None:
        nonlocal checks
        checks += 1
        if checks > 1:
            raise TradingPaused("paused")

    with pytest.raises(TradingPaused):
        await scene.upstream.send(READ, preconditions=(allow_once,), on_released=lambda: callbacks.record("released"))

    assert (scene.arrived_targets, callbacks.released_count) == ([READ.target], 1)


async def test_the_second_sending_of_a_read_can_be_late_too(scene: Scene, callbacks: RecordedCallbacks) -> None:
    """`on_late_response` is called for either sending."""
    scene.plan = [Act.BREAK_OFF, Act.HOLD]

    with pytest.raises(GatewayTimeout):
        await callbacks.send(READ, 2 * SHORT)
    scene.release.set()
    await callbacks.wait_for_step("released")

    assert ([response.body for response in callbacks.late_responses], callbacks.released_count) == ([b"{}"], 1)


# -- traits, streams, close


async def test_traits_leave_room_for_reads_and_orders(scene: Scene) -> None:
    """Slots reserved for orders must not be all slots, and no share is larger than the total."""
    traits = scene.upstream.traits

    assert traits.name
    assert traits.slots is None or 0 <= traits.slots_for_orders < traits.slots
    limits = [limit for limit in (traits.total, *traits.by_priority.values()) if limit is not None]
    assert all(limit.calls > 0 and limit.period_s > 0 and limit.source for limit in limits)
    assert traits.total is None or all(
        limit.calls / limit.period_s <= traits.total.calls / traits.total.period_s
        for limit in traits.by_priority.values()
    )
    assert traits.abandoned_for_s > 0
    assert traits.penalty_s > 0
    assert traits.prerequisites <= frozenset(Prerequisite)
    assert traits.compositions <= frozenset(Composition)


async def test_missing_endpoints_are_in_the_catalogue_and_have_a_reason(scene: Scene) -> None:
    """A misspelled path would hide nothing."""
    traits = scene.upstream.traits
    paths = {endpoint.path for endpoint in CATALOGUE}

    assert set(traits.missing) <= paths
    assert all(traits.missing.values())
    assert {endpoint.path for endpoint in CATALOGUE if not traits.has(endpoint)} == set(traits.missing)
    assert all(traits.limit(endpoint) is endpoint.rate_limit for endpoint in CATALOGUE)


async def test_a_stream_returns_messages_and_then_its_end(scene: Scene) -> None:
    """The end is None, whichever side ended it: the feed then opens another stream."""
    async with scene.upstream.open_stream() as socket:
        first = await with_timeout(socket.receive())
        await socket.send("tic")
        scene.release.set()
        last = await with_timeout(socket.receive())

    assert (first, last) == (b"hello", None)


async def test_a_refused_stream_raises_a_gateway_error(scene: Scene) -> None:
    """The feed handles these errors and tries again."""
    scene.plan = [Act.REFUSE]

    with pytest.raises(GatewayError):
        async with scene.upstream.open_stream():
            pass


async def test_closing_twice_does_no_harm_and_nothing_is_sent_after_it(
    scene: Scene, callbacks: RecordedCallbacks
) -> None:
    """The bridge can end in several ways, some of them at the same time."""
    await scene.upstream.close()
    await scene.upstream.close()

    with pytest.raises(GatewayError):
        await callbacks.send()

    assert (scene.arrived_targets, callbacks.steps) == ([], ["released"])


async def test_closing_releases_ghost_calls(scene: Scene, callbacks: RecordedCallbacks) -> None:
    """No task waits for them any more, and the count of slots ends at zero."""
    scene.plan = [Act.HOLD]
    with pytest.raises(GatewayTimeout):
        await callbacks.send(CHANGE, SHORT)

    await scene.upstream.close()
    await run_pending()

    assert (callbacks.released_count, callbacks.late_responses, scene.upstream.abandoned) == (1, [], 0)


async def test_closing_ends_a_call_on_its_way(scene: Scene, callbacks: RecordedCallbacks) -> None:
    """Its caller gets an error, and it is not sent again."""
    scene.plan = [Act.HOLD]
    task = asyncio.create_task(callbacks.send())
    await scene.wait_for_calls(1)

    await scene.upstream.close()

    with pytest.raises(GatewayError):
        await with_timeout(task)
    assert (scene.arrived_targets, callbacks.released_count) == ([READ.target], 1)
