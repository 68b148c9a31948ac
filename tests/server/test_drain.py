"""The end of the bridge: it waits for the requests that are in flight."""

from __future__ import annotations

import asyncio

import pytest

from ibkr_bridge.server.drain import Drain

LONG_S = 30.0  # no test waits so long unless something is broken
SHORT_S = 0.01  # for waits that are meant to time out


async def test_an_idle_bridge_finishes_at_once() -> None:
    """So a restart takes no time."""
    assert await Drain().wait_finished(LONG_S, LONG_S) == 0


def test_requests_in_flight_are_counted() -> None:
    """The log line about the end has their number."""
    drain = Drain()

    with drain.request_counter, drain.request_counter, drain.order_counter:
        assert (drain.in_flight, drain.orders_in_flight) == (2, 1)
        assert repr(drain) == "<Drain off, 2 inside, 1 orders>"

    assert (drain.in_flight, drain.orders_in_flight) == (0, 0)


def test_a_request_that_fails_is_no_longer_counted() -> None:
    """A bug must not delay the end by half a minute."""
    drain = Drain()

    with pytest.raises(ValueError, match="a bug"), drain.request_counter, drain.order_counter:
        raise ValueError("a bug")

    assert (drain.in_flight, drain.orders_in_flight) == (0, 0)


def test_draining_may_begin_twice() -> None:
    """Two signals may come."""
    drain = Drain()
    before = drain.is_draining

    drain.begin()
    drain.begin()

    assert (before, drain.is_draining) == (False, True)


async def test_the_end_waits_for_requests_in_flight() -> None:
    """A request that was accepted is answered."""
    drain = Drain()
    with drain.request_counter:
        with drain.request_counter:
            finish = asyncio.create_task(drain.wait_finished(LONG_S, LONG_S))
            await asyncio.sleep(0)
        await asyncio.sleep(0)

        assert not finish.done()

    assert await finish == 0


async def test_a_request_that_takes_too_long_is_not_waited_for_but_counted() -> None:
    """A caller that never reads must not keep the bridge from ending."""
    drain = Drain()

    with drain.request_counter:
        assert await drain.wait_finished(SHORT_S, 2 * SHORT_S) == 1


async def test_an_order_is_waited_for_longer_than_a_read() -> None:
    """Its outcome matters more."""
    drain = Drain()
    with drain.request_counter:
        with drain.order_counter:
            finish = asyncio.create_task(drain.wait_finished(SHORT_S, LONG_S))
            await asyncio.wait([finish], timeout=5 * SHORT_S)

            assert not finish.done()

        assert await finish == 1


async def test_an_order_without_a_response_does_not_delay_the_end_without_limit() -> None:
    """Otherwise systemd would kill the process, and the other requests with it."""
    drain = Drain()

    with drain.request_counter, drain.order_counter:
        assert await drain.wait_finished(SHORT_S, 2 * SHORT_S) == 1
