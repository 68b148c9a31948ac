"""The stage in which calls of several profiles share the address from which they leave."""

from __future__ import annotations

import pytest

from ibkr_bridge.errors import Busy, RateLimited
from ibkr_bridge.events import Bus
from ibkr_bridge.limits.address_ceiling import CEILING, AddressCeiling
from ibkr_bridge.limits.address_gate import AddressGate
from ibkr_bridge.limits.penalty_box import PenaltyBox
from ibkr_bridge.upstream.gateway.traits import GATEWAY_TRAITS
from tests.calls.stage_setup import OK, FakeUpstream, context_for
from tests.clocks import ManualClock

READ = "/iserver/accounts"


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


def shared_ceiling(clock: ManualClock, *names: str) -> AddressCeiling:
    """The ceiling of an address from which these profiles send."""
    ceiling = AddressCeiling(clock)
    for name in names:
        ceiling.join(name, PenaltyBox(None, Bus(), clock.utc, GATEWAY_TRAITS))
    return ceiling


async def test_one_profile_alone_is_not_held(clock: ManualClock) -> None:
    """Its own limits are lower than the ceiling."""
    gate = AddressGate(shared_ceiling(clock, "main"), "main")

    for _ in range(CEILING.calls * 2):
        assert await gate(context_for("GET", READ), FakeUpstream()) is OK


async def test_two_profiles_together_send_no_more_than_the_ceiling(clock: ManualClock) -> None:
    """Whoever comes next gets an honest wait."""
    ceiling = shared_ceiling(clock, "anna", "ben")
    gates = [AddressGate(ceiling, name) for name in ("anna", "ben")]
    reads = CEILING.calls * 4 // 5
    for number in range(reads):
        assert await gates[number % 2](context_for("GET", READ), FakeUpstream()) is OK

    with pytest.raises(RateLimited) as caught:
        await gates[0](context_for("GET", READ), FakeUpstream())
    assert caught.value.retry_after == pytest.approx(1.0, abs=0.2)
    assert await gates[1](context_for("POST", "/iserver/account/DU1/orders", b"{}"), FakeUpstream()) is OK
    clock.advance(1.1)
    assert await gates[0](context_for("GET", READ), FakeUpstream()) is OK


async def test_a_call_that_was_not_sent_is_not_counted(clock: ManualClock) -> None:
    """IBKR has not seen it."""
    ceiling = shared_ceiling(clock, "anna", "ben")
    gate = AddressGate(ceiling, "anna")
    for _ in range(CEILING.calls * 2):
        with pytest.raises(Busy):
            await gate(context_for("GET", READ), FakeUpstream(Busy("stopped")))

    assert ceiling.admission.budget_used == 0
