"""The traits of the Client Portal Gateway."""

from __future__ import annotations

from ibkr_bridge.ibkr.endpoint import Priority
from ibkr_bridge.limits.admission_queue import Limits
from ibkr_bridge.upstream.gateway.traits import GATEWAY_TRAITS


def test_one_of_the_gateways_five_slots_stays_free() -> None:
    """IBeam and the Gateway's own tickle use it. One of our four slots is reserved for orders."""
    assert (GATEWAY_TRAITS.slots, GATEWAY_TRAITS.slots_for_orders) == (4, 1)


def test_reads_and_orders_each_leave_part_of_the_total_rate() -> None:
    """No number of orders can stop the reads, and no order waits until the reads leave the window."""
    total = GATEWAY_TRAITS.total

    assert total is not None
    assert (total.calls, total.period_s) == (8, 1.0)
    assert all(0 < limit.calls < total.calls for limit in GATEWAY_TRAITS.by_priority.values())
    assert set(GATEWAY_TRAITS.by_priority) == set(Priority)


def test_the_limits_of_a_profile_follow_from_the_traits() -> None:
    """`Limits.of` copies each of them."""
    limits = Limits.of(GATEWAY_TRAITS)

    assert (limits.slots, limits.slots_for_orders, limits.total, limits.by_priority) == (
        GATEWAY_TRAITS.slots,
        GATEWAY_TRAITS.slots_for_orders,
        GATEWAY_TRAITS.total,
        GATEWAY_TRAITS.by_priority,
    )
