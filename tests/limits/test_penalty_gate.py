"""The stage that refuses what IBKR would refuse, and learns from each 429."""

from __future__ import annotations

import pytest

from ibkr_bridge.calls.messages import Response
from ibkr_bridge.errors import InPenaltyBox, RateLimited, TemporarilyUnavailable
from ibkr_bridge.events import Bus
from ibkr_bridge.limits.penalty_box import DEFAULT_CLOSED_S, PenaltyBox
from ibkr_bridge.limits.penalty_gate import PenaltyGate
from ibkr_bridge.upstream.gateway.traits import GATEWAY_TRAITS
from tests.body_stream import FakeBodyStream
from tests.calls.road import OK, Road, context_for
from tests.clocks import ManualClock

READ, OTHER, CANCEL = "/iserver/accounts", "/iserver/watchlists", "/iserver/account/DU1/order/7"


class Gate(PenaltyGate):
    """The stage, its box, and time."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.box = PenaltyBox(None, Bus(), self.clock.utc, GATEWAY_TRAITS)
        super().__init__(self.box)

    async def refused(self, path: str, response: Response) -> TemporarilyUnavailable:
        """What a caller is told of a 429."""
        with pytest.raises((RateLimited, InPenaltyBox)) as caught:
            await self(context_for("GET", path), Road(response))
        return caught.value


async def test_a_call_passes_where_nothing_is_closed() -> None:
    """Any status but 429 is the caller's."""
    assert await Gate()(context_for("GET", READ), Road()) is OK
    assert (await Gate()(context_for("GET", READ), Road(Response(503, {}, b"")))).status == 503


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ("7", 7.0),
        ("", DEFAULT_CLOSED_S),
        ("soon", DEFAULT_CLOSED_S),
        ("-7", DEFAULT_CLOSED_S),
        ("\u0667", DEFAULT_CLOSED_S),
    ],
)
async def test_a_429_closes_its_endpoint_for_the_time_that_ibkr_says(said: str, seconds: float) -> None:
    """Or for a time of ours where it says none in seconds."""
    gate, rest = Gate(), FakeBodyStream()

    error = await gate.refused(READ, Response(429, {"Retry-After": said}, b"", rest))

    assert (error.retry_after, rest.close_count) == (seconds, 1)
    road = Road()
    with pytest.raises(RateLimited):
        await gate(context_for("GET", READ), road)
    assert road.came == []
    gate.clock.advance(seconds)
    assert await gate(context_for("GET", READ), road) is OK


async def test_a_second_endpoint_that_is_refused_shows_the_penalty_box() -> None:
    """From then on everything is refused but cancels."""
    gate = Gate()
    await gate.refused(READ, Response(429, {}, b""))

    error = await gate.refused(OTHER, Response(429, {}, b""))

    assert (type(error), error.retry_after) == (InPenaltyBox, GATEWAY_TRAITS.penalty_s)
    with pytest.raises(InPenaltyBox):
        await gate(context_for("GET", "/portfolio/accounts"), Road())
    assert await gate(context_for("DELETE", CANCEL), Road()) is OK


async def test_a_box_that_is_entered_while_a_call_waits_stops_it() -> None:
    """What is asked in the box makes it longer."""
    gate, road = Gate(), Road()
    road.while_connecting = gate.box.enter

    with pytest.raises(InPenaltyBox):
        await gate(context_for("GET", READ), road)

    assert (len(road.came), road.sent) == (1, 0)


async def test_a_retry_after_of_any_length_does_no_harm() -> None:
    """Its digits are cut, and its time has a bound."""
    error = await Gate().refused(READ, Response(429, {"Retry-After": "9" * 5000}, b""))

    assert error.retry_after == 3600.0
