"""The stage that refuses what IBKR would refuse, and learns from each 429."""

from __future__ import annotations

import pytest

from ibkr_bridge.calls.messages import Response
from ibkr_bridge.errors import InPenaltyBox, RateLimited, TemporarilyUnavailable
from ibkr_bridge.events import Bus
from ibkr_bridge.limits.penalty_box import PenaltyBox
from ibkr_bridge.limits.penalty_gate import PenaltyGate
from ibkr_bridge.upstream.gateway.traits import GATEWAY_TRAITS
from tests.body_stream import FakeBodyStream
from tests.calls.stage_setup import OK, FakeUpstream, context_for
from tests.clocks import ManualClock

READ, OTHER, CANCEL = "/iserver/accounts", "/iserver/watchlists", "/iserver/account/DU1/order/7"


class Gate(PenaltyGate):
    """The stage with its penalty box and a clock that the test moves."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.box = PenaltyBox(None, Bus(), self.clock.utc, GATEWAY_TRAITS)
        super().__init__(self.box)

    async def receive_429(self, path: str, response: Response) -> TemporarilyUnavailable:
        """Send a call that IBKR answers with 429. Returns the error for its caller."""
        with pytest.raises((RateLimited, InPenaltyBox)) as caught:
            await self(context_for("GET", path), FakeUpstream(response))
        return caught.value


async def test_a_call_passes_while_its_endpoint_is_open() -> None:
    """Every status but 429 is passed on to the caller."""
    assert await Gate()(context_for("GET", READ), FakeUpstream()) is OK
    assert (await Gate()(context_for("GET", READ), FakeUpstream(Response(503, {}, b"")))).status == 503


@pytest.mark.parametrize(
    ("retry_after", "seconds"),
    [
        ("7", 7.0),
        ("", 15.0),
        ("soon", 15.0),
        ("-7", 15.0),
        ("\u0667", 15.0),
    ],
)
async def test_a_429_closes_its_endpoint_for_the_retry_after(retry_after: str, seconds: float) -> None:
    """A Retry-After that is not a number of seconds is replaced by a default."""
    gate, body_stream = Gate(), FakeBodyStream()

    error = await gate.receive_429(READ, Response(429, {"Retry-After": retry_after}, b"", body_stream))

    assert (error.retry_after, body_stream.close_count) == (seconds, 1)
    upstream = FakeUpstream()
    with pytest.raises(RateLimited):
        await gate(context_for("GET", READ), upstream)
    assert upstream.contexts == []
    gate.clock.advance(seconds)
    assert await gate(context_for("GET", READ), upstream) is OK


async def test_a_429_on_a_second_endpoint_enters_the_penalty_box() -> None:
    """From then on all calls but cancels are refused."""
    gate = Gate()
    await gate.receive_429(READ, Response(429, {}, b""))

    error = await gate.receive_429(OTHER, Response(429, {}, b""))

    assert (type(error), error.retry_after) == (InPenaltyBox, GATEWAY_TRAITS.penalty_s)
    with pytest.raises(InPenaltyBox):
        await gate(context_for("GET", "/portfolio/accounts"), FakeUpstream())
    assert await gate(context_for("DELETE", CANCEL), FakeUpstream()) is OK


async def test_entering_the_penalty_box_stops_a_call_that_waits() -> None:
    """IBKR makes the penalty longer for each call that it gets meanwhile."""
    gate, upstream = Gate(), FakeUpstream()
    upstream.while_connecting = gate.box.enter

    with pytest.raises(InPenaltyBox):
        await gate(context_for("GET", READ), upstream)

    assert (len(upstream.contexts), upstream.sent) == (1, 0)


async def test_a_retry_after_of_any_length_does_no_harm() -> None:
    """The digits are cut, and the time has a maximum."""
    error = await Gate().receive_429(READ, Response(429, {"Retry-After": "9" * 5000}, b""))

    assert error.retry_after == 3600.0
