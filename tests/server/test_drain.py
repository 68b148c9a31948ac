"""Ending without losing anybody."""

from __future__ import annotations

import asyncio

import pytest

from ibkr_bridge.server.drain import Drain

LONG = 30.0  # seconds nobody waits unless something is broken
AT_ONCE = 0.01  # seconds; for those whose time is meant to run out


async def test_nobody_inside_is_finished_at_once() -> None:
    """An idle bridge restarts in a moment."""
    assert await Drain().wait_finished(LONG, LONG) == 0


def test_who_is_inside_is_counted() -> None:
    """The log line of the end says how many there were."""
    drain = Drain()

    with drain.request_counter, drain.request_counter, drain.order_counter:
        assert (drain.in_flight, drain.orders_in_flight) == (2, 1)
        assert repr(drain) == "<Drain off, 2 inside, 1 orders>"

    assert (drain.in_flight, drain.orders_in_flight) == (0, 0)


def test_somebody_who_fails_has_left_as_well() -> None:
    """One bug must not hold the end up for half a minute."""
    drain = Drain()

    with pytest.raises(ValueError, match="a bug"), drain.request_counter, drain.order_counter:
        raise ValueError("a bug")

    assert (drain.in_flight, drain.orders_in_flight) == (0, 0)


def test_the_door_closes_once() -> None:
    """Beginning again does no harm: two signals may come."""
    drain = Drain()
    before = drain.is_draining

    drain.begin()
    drain.begin()

    assert (before, drain.is_draining) == (False, True)


async def test_the_end_waits_for_those_inside() -> None:
    """A request that was taken is answered."""
    drain = Drain()
    with drain.request_counter:
        with drain.request_counter:
            ending = asyncio.create_task(drain.wait_finished(LONG, LONG))
            await asyncio.sleep(0)
        await asyncio.sleep(0)

        assert not ending.done()

    assert await ending == 0


async def test_a_request_that_takes_too_long_is_left_behind_and_counted() -> None:
    """A caller that never reads must not keep the bridge from ending."""
    drain = Drain()

    with drain.request_counter:
        assert await drain.wait_finished(AT_ONCE, 2 * AT_ONCE) == 1


async def test_an_order_is_waited_for_longer_than_a_read() -> None:
    """Its outcome is worth the wait."""
    drain = Drain()
    with drain.request_counter:
        with drain.order_counter:
            ending = asyncio.create_task(drain.wait_finished(AT_ONCE, LONG))
            await asyncio.wait([ending], timeout=5 * AT_ONCE)

            assert not ending.done()

        assert await ending == 1


async def test_an_order_without_an_answer_does_not_hold_the_end_up_for_ever() -> None:
    """Systemd would kill us then, with everybody else's answers."""
    drain = Drain()

    with drain.request_counter, drain.order_counter:
        assert await drain.wait_finished(AT_ONCE, 2 * AT_ONCE) == 1
