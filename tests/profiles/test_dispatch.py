"""The last stage: it sends the call if all preconditions still hold."""

from __future__ import annotations

import asyncio
import gzip
import time
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from ibkr_bridge.calls.context import CallContext, CallerGone, FirstByteHook
from ibkr_bridge.calls.messages import Response
from ibkr_bridge.errors import Busy, GatewayProtocolError, GatewayTimeout, OrderUnknown, SessionUnavailable
from ibkr_bridge.profiles.dispatch import Dispatch
from ibkr_bridge.session.unavailable import RETRY_AFTER_S
from tests.calls.stage_setup import context_for
from tests.contract.upstreams import Act, Scene, memory_scene
from tests.harness import with_timeout
from tests.session.statuses import KnownStatus

READ, ORDER = ("GET", "/portfolio/accounts"), ("POST", "/iserver/account/DU1/orders")


class DispatchSetup:
    """A dispatch in front of an upstream in memory."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.status = KnownStatus()
        self.observed: list[Response] = []
        self.send = Dispatch(scene.upstream, self.status, [lambda context, response: self.observed.append(response)])


@pytest.fixture
async def setup() -> AsyncIterator[DispatchSetup]:
    """A dispatch in front of an upstream that answers."""
    async with memory_scene() as scene:
        yield DispatchSetup(scene)


def quick(context: CallContext) -> CallContext:
    """The same call with a short deadline."""
    context.endpoint = replace(context.endpoint, timeout_s=0.01)
    return context


async def test_observers_see_the_unchanged_response(setup: DispatchSetup) -> None:
    """The observers see the response before the outer stages do. The time at the upstream is counted."""
    context = context_for(*READ)

    response = await setup.send(context)

    assert setup.observed == [response]
    assert (context.is_sent, context.timing.upstream_s > 0.0, setup.status.has_check_request) == (True, True, False)


async def test_the_callbacks_of_a_call_run_in_order(setup: DispatchSetup) -> None:
    """The callbacks run in the order in which the stages appended them."""
    context, steps = context_for(*READ), list[str]()
    context.preconditions.append(lambda _: steps.append("check"))
    context.on_sent += [lambda _: steps.append("sent"), lambda _: steps.append("sent too")]
    context.on_released.append(lambda _: steps.append("released"))

    await setup.send(context)

    assert steps == ["check", "sent", "sent too", "released"]


@pytest.mark.parametrize("call", [READ, ORDER], ids=["read", "order"])
async def test_nothing_is_sent_for_a_caller_that_disconnected(setup: DispatchSetup, call: tuple[str, str]) -> None:
    """The caller is checked first, since no other error could reach it."""
    context = context_for(*call, b"{}", is_connected=lambda: False)

    with pytest.raises(CallerGone):
        await setup.send(context)

    assert (setup.scene.arrived_targets, context.is_sent) == ([], False)


@pytest.mark.parametrize(("left_s", "is_sent"), [(60.0, True), (-1.0, False)])
async def test_an_order_is_not_sent_after_its_deadline(setup: DispatchSetup, left_s: float, is_sent: bool) -> None:
    """After the deadline the price of the order may be wrong."""
    context = context_for(*ORDER, b"{}", deadline=time.monotonic() + left_s)

    if is_sent:
        await setup.send(context)
    else:
        with pytest.raises(Busy, match="before its deadline") as caught:
            await setup.send(context)
        assert caught.value.retry_after == 1.0

    assert bool(setup.scene.arrived_targets) is is_sent


async def test_the_entry_is_written_before_the_first_byte(setup: DispatchSetup) -> None:
    """The journal needs to know whether the order can have been sent."""
    seen: list[tuple[int, bool]] = []

    async def write() -> None:
        seen.append((len(setup.scene.arrived_targets), hook.has_left))

    hook = FirstByteHook(write)
    await setup.send(context_for(*ORDER, b"{}", before_first_byte=hook))

    assert (seen, hook.has_left) == ([(0, False)], True)


@pytest.mark.parametrize("act", [Act.HOLD, Act.BREAK_OFF])
async def test_a_change_that_was_sent_without_a_response_is_unknown(setup: DispatchSetup, act: Act) -> None:
    """The change may have happened. A `Retry-After` would invite a second order."""
    setup.scene.plan = [act]

    with pytest.raises(OrderUnknown) as caught:
        await setup.send(quick(context_for(*ORDER, b"{}")))

    assert (caught.value.retry_after, setup.status.has_check_request) == (None, True)


async def test_a_change_that_was_not_sent_is_not_unknown(setup: DispatchSetup) -> None:
    """Nothing happened, so the error must not say `order_unknown`."""
    await setup.scene.upstream.close()

    with pytest.raises(Exception, match="closed") as caught:
        await setup.send(context_for(*ORDER, b"{}"))

    assert not isinstance(caught.value, OrderUnknown)


@pytest.mark.parametrize(("act", "error"), [(Act.HOLD, GatewayTimeout), (Act.BREAK_OFF, GatewayProtocolError)])
async def test_a_read_that_fails_may_be_sent_again(setup: DispatchSetup, act: Act, error: type[Exception]) -> None:
    """The failure also makes the keeper check the session."""
    setup.scene.plan = [act]
    context = context_for(*READ)

    with pytest.raises(error) as caught:
        await setup.send(quick(context) if act is Act.HOLD else context)

    assert getattr(caught.value, "retry_after", None) == RETRY_AFTER_S
    assert (setup.status.has_check_request, setup.observed) == (True, [])


async def test_a_call_that_is_given_up_is_reported_before_it_is_released(setup: DispatchSetup) -> None:
    """Admission then knows that a ghost call may hold the slot."""
    setup.scene.plan = [Act.HOLD]
    context, steps = quick(context_for(*READ)), list[str]()
    context.on_given_up.append(lambda _: steps.append("given up"))
    context.on_released.append(lambda _: steps.append("released"))

    with pytest.raises(GatewayTimeout):
        await setup.send(context)
    at_deadline = list(steps)
    setup.scene.release.set()
    while len(steps) < 2:
        await asyncio.sleep(0)

    assert (at_deadline, steps) == (["given up"], ["given up", "released"])


async def test_a_late_response_reaches_its_callback(setup: DispatchSetup) -> None:
    """A late response is the best evidence of what became of an order."""
    setup.scene.plan, late = [Act.HOLD], asyncio.get_running_loop().create_future()

    with pytest.raises(OrderUnknown):
        await setup.send(quick(context_for(*ORDER, b"{}", on_late_response=late.set_result)))
    setup.scene.release.set()

    assert (await with_timeout(late)).body == b"{}"


async def test_a_large_body_is_complete_only_if_the_call_needs_it(setup: DispatchSetup) -> None:
    """Other calls get a large body as a stream."""
    setup.scene.plan = [Act.LARGE]
    streamed = await setup.send(context_for(*READ))
    setup.scene.release.set()

    whole = await setup.send(context_for(*READ, needs_complete_body=True))

    assert streamed.body_stream is not None
    assert (whole.body_stream, len(whole.body)) == (None, 600_000)
    assert setup.observed == [streamed, whole]


async def test_a_body_that_a_stage_needs_is_unpacked() -> None:
    """A stage parses this body, so it must not be compressed."""

    class CompressingUpstream:
        async def send(self, *_: object, **__: object) -> Response:
            return Response(200, {"Content-Encoding": "gzip"}, gzip.compress(b"[]"))

    send = Dispatch(CompressingUpstream(), KnownStatus(), ())  # type: ignore[arg-type]  # as much of one as is used

    assert (await send(context_for(*READ, needs_complete_body=True))).body == b"[]"
    assert (await send(context_for(*READ))).headers == {"Content-Encoding": "gzip"}


async def test_the_first_byte_waits_until_the_entry_is_written(setup: DispatchSetup) -> None:
    """The call waits as long as the disk takes."""
    steps: list[str] = []

    async def write() -> None:
        for _ in range(20):
            await asyncio.sleep(0)
            assert (setup.scene.arrived_targets, context.is_sent) == ([], False)
        steps.append("written")

    context = context_for(*ORDER, b"{}", before_first_byte=FirstByteHook(write))
    context.on_sent.append(lambda _: steps.append("sent"))

    await setup.send(context)

    assert steps == ["written", "sent"]


@pytest.mark.parametrize("fails_at", [1, 2])
async def test_a_check_that_fails_before_or_after_the_entry_stops_the_order(
    setup: DispatchSetup, fails_at: int
) -> None:
    """The session may end while the entry is written. Then the entry exists, but no byte was sent."""
    written: list[None] = []
    checks: list[None] = []

    async def write() -> None:
        written.append(None)

    def check_session(_: CallContext) -> None:
        checks.append(None)
        if len(checks) == fails_at:
            raise SessionUnavailable("signed out")

    hook = FirstByteHook(write)
    context = context_for(*ORDER, b"{}", before_first_byte=hook)
    context.preconditions.append(check_session)
    with pytest.raises(SessionUnavailable):
        await setup.send(context)

    assert (setup.scene.arrived_targets, hook.has_left, context.is_sent) == ([], False, False)
    assert (len(written), len(checks)) == (fails_at - 1, fails_at)


async def test_an_order_whose_caller_disconnects_during_the_write_is_not_sent(setup: DispatchSetup) -> None:
    """No caller would get the response to the order."""
    is_connected = [True]

    async def write() -> None:
        is_connected[0] = False

    context = context_for(*ORDER, b"{}", before_first_byte=FirstByteHook(write), is_connected=lambda: is_connected[0])

    with pytest.raises(CallerGone):
        await setup.send(context)

    assert (setup.scene.arrived_targets, context.is_sent) == ([], False)


async def test_an_order_whose_deadline_passes_while_the_entry_is_written_is_not_sent(setup: DispatchSetup) -> None:
    """With a slow disk the price may be wrong when the entry is written."""

    async def write() -> None:
        context.deadline = time.monotonic() - 0.001

    context = context_for(*ORDER, b"{}", before_first_byte=FirstByteHook(write), deadline=time.monotonic() + 60.0)

    with pytest.raises(Busy):
        await setup.send(context)

    assert setup.scene.arrived_targets == []
