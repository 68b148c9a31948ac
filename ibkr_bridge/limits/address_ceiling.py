"""What all profiles send to IBKR together from one address of this machine.

IBKR's limits count usernames, but its penalty box counts addresses: one greedy user would shut out all others behind
the same address. So the profiles share one ceiling, fair between them and orders first. A 429 to any of them slows all
at once; a second one to another profile within a minute, or the box itself, closes the box of each.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import NoReturn

from ibkr_bridge.calls.messages import noop
from ibkr_bridge.clock import Clock
from ibkr_bridge.ibkr.endpoint import Endpoint, Priority, RateLimit
from ibkr_bridge.limits.admission import AdmissionController
from ibkr_bridge.limits.admission_queue import UNLIMITED_SLOTS, Limits
from ibkr_bridge.limits.penalty_box import PenaltyBox

CEILING = RateLimit(50, 1.0, "ours")
"""IBKR names no limit for an address. Its limit for one username is 10 or 50 calls a second, as its pages contradict
each other: what one username may send at most, an address may send without drawing attention.
"""
SLOW_CEILING = RateLimit(5, 1.0, "ours")  # after a 429, for a minute
SLOW_S = 60.0


def _limits(total: RateLimit) -> Limits:
    """Reads leave a fifth to orders, so that no order waits for reads to leave their window."""
    reads = RateLimit(max(1, total.calls * 4 // 5), total.period_s, "ours")
    shares = {Priority.SESSION: total, Priority.ORDERS: total, Priority.READS: reads}
    return Limits(UNLIMITED_SLOTS, 0, total, shares, lambda _: None, max_queued=512)


class AddressCeiling:
    """The ceiling of one address.

    Args:
        clock: the time.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._normal = AdmissionController(_limits(CEILING), clock)
        self._slow = AdmissionController(_limits(SLOW_CEILING), clock)
        self._slow_until = float("-inf")
        self._refused: tuple[str, float] | None = None  # the profile that got the last 429, and when
        self._boxes: dict[str, PenaltyBox] = {}

    def __repr__(self) -> str:
        return f"<AddressCeiling of {len(self._boxes)} profiles{', slow' if self.is_slow else ''}>"

    @property
    def is_slow(self) -> bool:
        """Whether IBKR has refused a call of this address within the last minute."""
        return self._clock.now() < self._slow_until

    @property
    def is_shared(self) -> bool:
        """Whether more than one profile sends from here; one alone is held by its own limits."""
        return len(self._boxes) > 1

    @property
    def admission(self) -> AdmissionController:
        """What admits calls now."""
        return self._slow if self.is_slow else self._normal

    def join(self, profile: str, penalty_box: PenaltyBox) -> None:
        """A profile sends from this address; what IBKR refuses to the others is refused to it too."""
        left_s = max((box.box_left_s for box in self._boxes.values()), default=0.0)
        self._boxes[profile] = penalty_box
        penalty_box.on_refused = lambda: self._on_refused(profile)
        penalty_box.on_entered = lambda: self._close_all(profile)
        if left_s > penalty_box.box_left_s:
            penalty_box.enter(left_s)

    def leave(self, profile: str) -> None:
        """A profile is gone."""
        self._boxes.pop(profile, None)

    def count(self, endpoint: Endpoint) -> Callable[[], None]:
        """Count a call of a keeper, which does not wait. Returns the function to call when it was answered."""
        return self.admission.admit_out_of_band(endpoint) or noop

    def _on_refused(self, profile: str) -> None:
        now, earlier = self._clock.now(), self._refused
        self._refused, self._slow_until = (profile, now), now + SLOW_S
        if earlier is not None and earlier[0] != profile and now - earlier[1] < SLOW_S:
            self._boxes[profile].enter()

    def _close_all(self, profile: str) -> None:
        left_s = self._boxes[profile].box_left_s
        for box in self._boxes.values():
            if box.box_left_s < left_s - 1.0:  # they tell each other: a box that is closed as long is left alone
                box.enter(left_s)

    async def run_loop(self) -> NoReturn:
        """Admit calls as time passes, until cancelled."""
        async with asyncio.TaskGroup() as group:
            for each in (self._normal, self._slow):
                group.create_task(each.run_loop(), name="address ceiling")
        raise AssertionError("these loops do not end")


class AddressCeilings:
    """The ceilings of all addresses from which this bridge reaches IBKR.

    Args:
        clock: the time.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._by_address: dict[str, AddressCeiling] = {}
        self._new: list[AddressCeiling] = []
        self._changed = asyncio.Event()

    def __repr__(self) -> str:
        return f"<AddressCeilings of {len(self._by_address)} addresses>"

    def of(self, address: str) -> AddressCeiling:
        """The ceiling of an address, in whatever form it is named."""
        if address not in self._by_address:
            self._by_address[address] = AddressCeiling(self._clock)
            self._new.append(self._by_address[address])
            self._changed.set()
        return self._by_address[address]

    async def run_loop(self) -> NoReturn:
        """Run the loops of all ceilings, also of those that come later, until cancelled."""
        async with asyncio.TaskGroup() as group:
            while True:
                self._changed.clear()
                while self._new:
                    group.create_task(self._new.pop().run_loop(), name="address ceiling")
                await self._changed.wait()
