"""The stage in which a call waits for a permit, and holds it until the upstream no longer works on the call."""

from __future__ import annotations

import asyncio

import pytest

from ibkr_bridge.calls.context import CallContext
from ibkr_bridge.calls.messages import Response
from ibkr_bridge.errors import Busy, GatewayProtocolError, RateLimited
from ibkr_bridge.events import Bus
from ibkr_bridge.ibkr.endpoint import Endpoint, Priority, RateLimit
from ibkr_bridge.limits.admission import AdmissionController
from ibkr_bridge.limits.admission_gate import AdmissionGate
from ibkr_bridge.limits.admission_queue import Limits
from ibkr_bridge.limits.persistent_windows import PersistentWindows
from ibkr_bridge.upstream.gateway.traits import GATEWAY_TRAITS
from tests.calls.stage_setup import OK, FakeUpstream, context_for
from tests.clocks import ManualClock
from tests.harness import with_timeout

READ, ORDER = "/iserver/accounts", "/iserver/account/DU1/orders"


class Gate(AdmissionGate):
    """The stage with its limits and a clock that the test moves."""

    def __init__(self, slots: int = 2, total: RateLimit | None = None) -> None:
        self.clock = ManualClock()
        limits = Limits(slots, 1, total, {}, lambda endpoint: endpoint.rate_limit)
        self.admission = AdmissionController(limits, self.clock)
        self.recorded: list[Endpoint] = []
        super().__init__(self.admission, Windows(self.recorded, self.clock))


class Windows(PersistentWindows):
    """Lists the endpoints that are recorded."""

    def __init__(self, recorded: list[Endpoint], clock: ManualClock) -> None:
        super().__init__(None, Bus(), clock.utc, GATEWAY_TRAITS)
        self._recorded = recorded

    def record(self, endpoint: Endpoint) -> None:
        """See `PersistentWindows.record`."""
        self._recorded.append(endpoint)


class HoldingStages:
    """The stages behind the gate, which hold each call until the test sets `may_end`."""

    def __init__(self) -> None:
        self.inside = 0
        self.may_end = asyncio.Event()

    async def __call__(self, context: CallContext) -> Response:
        """See `Proceed`."""
        self.inside += 1
        await self.may_end.wait()
        for release in context.on_released:
            release(context)
        return OK


async def run_ready_tasks() -> None:
    """Let every task that is ready run."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_a_call_holds_a_slot_until_it_is_released() -> None:
    """The slot stays taken after its caller has left, since the Gateway still works on the call."""
    gate, upstream = Gate(), HoldingStages()
    task = asyncio.create_task(gate(context_for("GET", READ), upstream))
    await run_ready_tasks()
    assert gate.admission.slots_taken == 1

    upstream.may_end.set()
    await with_timeout(task)

    assert gate.admission.slots_taken == 0


async def test_a_call_that_was_not_sent_is_not_counted() -> None:
    """IBKR has not counted it, so the window has room at once."""
    gate = Gate(total=RateLimit(1, 1.0, "ours"))

    with pytest.raises(Busy):
        await gate(context_for("GET", READ), FakeUpstream(Busy("stopped")))

    assert await gate(context_for("GET", READ), FakeUpstream()) is OK


async def test_a_sent_call_is_counted_for_the_period_of_its_window() -> None:
    """The error tells a caller with a shorter `max_wait_s` how long it would wait."""
    gate = Gate(total=RateLimit(1, 10.0, "ours"))
    await gate(context_for("GET", READ), FakeUpstream())

    with pytest.raises(RateLimited) as caught:
        await gate(context_for("GET", READ), FakeUpstream())

    assert caught.value.retry_after == pytest.approx(10.0, abs=0.2)
    gate.clock.advance(10.1)
    assert await gate(context_for("GET", READ), FakeUpstream()) is OK


async def test_an_order_takes_the_slot_that_is_reserved_for_orders() -> None:
    """Closing a position must not wait for quotes."""
    gate, upstream = Gate(), HoldingStages()
    reads = [asyncio.create_task(gate(context_for("GET", READ, max_wait_s=5.0), upstream)) for _ in range(2)]
    await run_ready_tasks()
    assert upstream.inside == 1

    order = asyncio.create_task(gate(context_for("POST", ORDER, b"{}"), upstream))
    await run_ready_tasks()

    assert (upstream.inside, gate.admission.waiting()[Priority.READS]) == (2, 1)
    upstream.may_end.set()
    await with_timeout(asyncio.gather(order, *reads))


async def test_a_call_that_gets_no_slot_in_time_is_busy() -> None:
    """It never reached the next stage, and it no longer waits."""
    gate, upstream = Gate(), HoldingStages()
    first = asyncio.create_task(gate(context_for("GET", READ), upstream))
    await run_ready_tasks()
    second = asyncio.create_task(gate(context_for("GET", READ, max_wait_s=1.0), upstream))
    await gate.clock.wait_for_sleepers(1)

    gate.clock.advance(2.0)

    with pytest.raises(Busy):
        await with_timeout(second)
    assert (upstream.inside, gate.admission.waiting()[Priority.READS]) == (1, 0)
    upstream.may_end.set()
    await with_timeout(first)


@pytest.mark.parametrize(("max_calls", "is_sent"), [(2, True), (1, False)])
async def test_a_retry_needs_room_in_the_windows_again(max_calls: int, is_sent: bool) -> None:
    """IBKR counts both sendings."""
    gate, context = Gate(total=RateLimit(max_calls, 10.0, "ours")), context_for("GET", READ)
    sent = 0

    async def send_twice(part: CallContext) -> Response:
        nonlocal sent
        try:
            for _ in range(2):
                for check in part.preconditions:
                    check(part)
                part.is_sent, sent = True, sent + 1
                for notify in part.on_sent:
                    notify(part)
        finally:
            for release in part.on_released:
                release(part)
        return OK

    if is_sent:
        await gate(context, send_twice)
    else:
        with pytest.raises(GatewayProtocolError, match="no second call"):
            await gate(context, send_twice)

    assert sent == (2 if is_sent else 1)


async def test_a_call_is_recorded_when_it_is_sent_and_when_it_ends() -> None:
    """IBKR counts a long call until it ends. A call that was not sent is not recorded."""
    gate = Gate()

    await gate(context_for("GET", READ), FakeUpstream())
    with pytest.raises(Busy):
        await gate(context_for("GET", "/portfolio/accounts"), FakeUpstream(Busy("stopped")))

    assert [endpoint.path for endpoint in gate.recorded] == [READ, READ]


async def test_a_shared_call_gets_the_estimated_wait() -> None:
    """A caller that joins it later may not want to wait so long."""
    gate, estimates = Gate(total=RateLimit(1, 10.0, "ours")), list[float]()

    class Shared:
        def on_estimate(self, seconds: float) -> None:
            estimates.append(seconds)

    await gate(context_for("GET", READ), FakeUpstream())
    task = asyncio.create_task(gate(context_for("GET", READ, max_wait_s=20.0, shared_call=Shared()), FakeUpstream()))
    await run_ready_tasks()
    task.cancel()

    assert estimates == [pytest.approx(10.0, abs=0.2)]
