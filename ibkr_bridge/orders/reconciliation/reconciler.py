"""Searches IBKR's lists for orders whose response was lost, until the outcome is known.

Each check fetches the lists of orders and trades anew, within the rate limits and only while the session is ready. An
order that is found is settled at once. An order that is not there counts as not placed only after five minutes, as the
Gateway may still have it in its queue; even then a few more checks follow. Every list that callers fetch is searched
too.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import NoReturn

from ibkr_bridge.clock import Clock
from ibkr_bridge.errors import JournalUnavailable, OrderInProgress
from ibkr_bridge.ibkr.endpoint import OrderOperation
from ibkr_bridge.orders.journal.index import IDENTITY_TTL_S
from ibkr_bridge.orders.journal.order_record import OrderRecord
from ibkr_bridge.orders.journal.repository import OrderRepository
from ibkr_bridge.orders.journal.transitions import OrderEvent, OrderState
from ibkr_bridge.orders.reconciliation.ibkr_rows import MatchResult, OrderListing
from ibkr_bridge.orders.reconciliation.matching import has_similar, match
from ibkr_bridge.orders.reconciliation.modify_matching import is_visible_change, matches_finally
from ibkr_bridge.orders.reconciliation.possible_duplicates import may_be_same_order, may_concern_same_account
from ibkr_bridge.orders.reconciliation.schedule import ReconcileSchedule
from ibkr_bridge.orders.request import UNKNOWN_OPEN, OrderRequest

NOT_FOUND = "searched for, and found neither in IBKR's orders nor in its trades"
NO_COID = "it has no cOID to be found by, and similar orders exist: check IBKR's own list of orders"
CHANGE_NOT_VISIBLE = "IBKR's list does not show what it was to change: check the order itself"
IDLE_S = 3600.0  # seconds; any change wakes the loop
MIN_INTERVAL_S = 0.05  # seconds between two rounds at least
LATE_STATES = frozenset({OrderState.NOT_PLACED, OrderState.REJECTED})
"""States of a lost order that may still appear in a list later."""
COID_TAKEN_PHRASE = "already registered"  # IBKR's text for a cOID that it has already
FetchOrderLists = Callable[[str | None], Awaitable[OrderListing | None]]
"""Fetches the orders and trades of an account; None if that is not possible now."""


class Reconciler:
    """Searches for the lost orders of one profile.

    Args:
        search: when to check.
    """

    def __init__(self, repository: OrderRepository, clock: Clock, search: ReconcileSchedule) -> None:
        self._repository = repository
        self._clock = clock
        self._search = search
        self._started = clock.now()
        self._wake = asyncio.Event()
        self._moved = asyncio.Event()
        self._unsettled: dict[str, OrderRecord] = {}
        self._since: dict[str, float] = {}
        """By order: when it was sent, in monotonic time. A restart does not begin the five minutes anew."""
        self._searched_accounts: set[str | None] = set()
        """Accounts of which this run has seen IBKR's complete lists."""
        self._checks: dict[str, tuple[int, float]] = {}
        """By order: how many checks found nothing, and when the last of them was, in monotonic time."""
        self._retry_at: dict[str, float] = {}
        """By order: when lists that could not be fetched are tried again, in monotonic time."""
        self._unresolvable: set[str] = set()
        """Orders whose outcome no further check can show."""
        self.fetch_order_lists: FetchOrderLists = fetch_no_lists
        repository.subscribe(self._on_order_change)

    def __repr__(self) -> str:
        return f"<Reconciler of {len(self._repository.index.unknown_records())} unknown>"

    async def run_loop(self) -> NoReturn:
        """Check whenever it is due, until cancelled."""
        while True:
            self._wake.clear()
            self._evict_old()
            due = [record for record in self._unsettled.values() if self._due_in_s(record) <= 0]
            if due:
                await self._reconcile(due)
            pause = min(map(self._due_in_s, self._unsettled.values()), default=IDLE_S)
            await self._clock.wait(self._wake, max(pause, MIN_INTERVAL_S))

    def on_session_ready(self) -> None:
        """Lists can be fetched again: what could not be fetched before is due now."""
        self._retry_at.clear()
        self._wake.set()

    def observe(self, listing: OrderListing) -> None:
        """Search a list that a caller fetched; it is as good a proof as one of our own. It is not searched before all
        orders of earlier runs are known: an order in it may belong to a later one with the same cOID.
        """
        if not self._repository.knows_all_orders:
            return
        for record in list(self._unsettled.values()):
            match_result = match(record, listing) if self._repository.index.owns_names(record) else None
            if match_result is not None and match_result.is_done and record.operation is not OrderOperation.MODIFY:
                self._repository.append_eventually(record, OrderEvent.FOUND, match_result.facts)

    @property
    def has_unsettled(self) -> bool:
        """Whether there is an order whose outcome a list could show."""
        return bool(self._unsettled)

    async def wait_for_unsettled(self, order_request: OrderRequest) -> None:
        """Make a new order wait until those of an earlier run in its account are settled.

        Raises:
            OrderInProgress: they were not settled in time.
        """
        remaining_s = order_request.remaining_wait()
        deadline = self._clock.now() + remaining_s
        while blocking := self._blocking_record(order_request):
            remaining_s = deadline - self._clock.now()
            if remaining_s <= 0:
                raise OrderInProgress(
                    f"order {blocking.id} of the bridge's last run is being searched for",
                    hint=self._wait_hint(blocking),
                    retry_after=5.0,
                )
            self._moved.clear()
            await self._clock.wait(self._moved, remaining_s)

    def searched_until(self, record: OrderRecord) -> datetime | None:
        """When an unknown order counts as not placed unless it is found before; None for any other order."""
        if record.state is not OrderState.UNKNOWN or record.id in self._unresolvable:
            return None
        remaining_s = max(0.0, self._search.give_up_after_s - self._lost_for_s(record))
        return self._clock.utc() + timedelta(seconds=remaining_s)

    # -- internals

    def _wait_hint(self, record: OrderRecord) -> str:
        if record.account in self._searched_accounts:
            return "wait until it is settled, or send X-Bridge-Confirm: unknown-open if this is another order"
        return "wait, or send X-Bridge-Confirm: unknown-open a minute after the bridge's start"

    def _on_order_change(self, record: OrderRecord) -> None:
        """An order changed: begin or end the search for it."""
        self._moved.set()
        # A change or a cancel is not found late: another one may have done the same since.
        is_late = record.state in LATE_STATES and record.operation is OrderOperation.PLACE
        if record.lost_at and (record.state is OrderState.UNKNOWN or is_late):
            self._unsettled[record.id] = record
            self._since.setdefault(record.id, self._clock.now() - self._age_s(record))
            self._wake.set()
        else:
            self._remove(record)
        if record.state is OrderState.REJECTED and COID_TAKEN_PHRASE in (record.error or ""):
            self._reconcile_now(record)

    def _age_s(self, record: OrderRecord) -> float:
        """Seconds since it was sent; 0 if the wall clock has been set back since."""
        since_sent_s = self._repository.index.ages.seconds_since(record.sent_at or record.created, record.sent_mark)
        return max(0.0, since_sent_s)

    def _reconcile_now(self, record: OrderRecord) -> None:
        """IBKR has this cOID already: an earlier order that counted as not placed exists after all."""
        for earlier in self._repository.index.earlier_with_coid(record):
            if earlier.id in self._unsettled:
                self._checks.pop(earlier.id, None)
                self._since[earlier.id] = self._clock.now() - self._search.late_checks_s[0]
                self._wake.set()

    def _remove(self, record: OrderRecord) -> None:
        self._unsettled.pop(record.id, None)
        self._checks.pop(record.id, None)
        self._since.pop(record.id, None)
        self._retry_at.pop(record.id, None)
        self._unresolvable.discard(record.id)

    def _evict_old(self) -> None:
        """Drop orders that were settled a day ago: IBKR lists the orders of the day only."""
        for record in list(self._unsettled.values()):
            if record.state is not OrderState.UNKNOWN and self._lost_for_s(record) > IDENTITY_TTL_S:
                self._remove(record)

    def _lost_for_s(self, record: OrderRecord) -> float:
        """Seconds since it was sent."""
        return self._clock.now() - self._since[record.id]

    def _blocking_record(self, order_request: OrderRequest) -> OrderRecord | None:
        """An order of the run before that a new one must wait for."""
        unknown = (
            each
            for each in self._unsettled.values()
            if each.interrupted_by_restart and each.state is OrderState.UNKNOWN
        )
        return next((each for each in unknown if self._blocks(each, order_request)), None)

    def _blocks(self, record: OrderRecord, order_request: OrderRequest) -> bool:
        """Before IBKR's lists have been seen, every order of the account waits, for a minute at most if its caller
        confirms. After that only those that could be the same order.
        """
        if not may_concern_same_account(record, {order_request.account, *order_request.facts.accounts}):
            return False
        is_confirmed = UNKNOWN_OPEN in order_request.confirmations
        if record.account not in self._searched_accounts:
            return not (is_confirmed and self._clock.now() - self._started >= self._search.startup_block_s)
        is_placement = record.operation is OrderOperation.PLACE
        return is_placement and not is_confirmed and may_be_same_order(record, order_request.call.tickets.unambiguous)

    def _due_in_s(self, record: OrderRecord) -> float:
        """Seconds until the next check; `IDLE_S` if none is needed."""
        if record.id in self._retry_at:
            return self._retry_at[record.id] - self._clock.now()
        age = self._lost_for_s(record)
        looks, last = self._checks.get(record.id, (0, float("-inf")))
        since_last = self._clock.now() - last
        if record.state is OrderState.UNKNOWN and record.id not in self._unresolvable:
            return self._search.interval_s - since_last if looks else self._search.first_delay_s - age
        return min((at - age for at in self._search.late_checks_s if at > age - since_last), default=IDLE_S)

    async def _reconcile(self, due: list[OrderRecord]) -> None:
        for account in dict.fromkeys(record.account for record in due):
            began = self._clock.now()
            listing = await self.fetch_order_lists(account) if await self._all_orders_are_known() else None
            records = [record for record in due if record.account == account and record.id in self._unsettled]
            if listing is None:  # not a look: it showed nothing
                self._retry_at.update({record.id: self._clock.now() + self._search.retry_s for record in records})
                continue
            if listing.is_complete:
                self._searched_accounts.add(account)
                self._moved.set()
            for record in records:
                self._on_look(record, listing, began)

    async def _all_orders_are_known(self) -> bool:
        """Wait until the orders of earlier runs are read. Returns False if they cannot be."""
        try:
            await self._repository.wait_for_rows()
        except JournalUnavailable:
            return False
        return True

    def _on_look(self, record: OrderRecord, listing: OrderListing, began: float) -> None:
        looks, _ = self._checks.get(record.id, (0, 0.0))
        self._checks[record.id] = (looks + 1, self._clock.now())
        self._retry_at.pop(record.id, None)
        self._settle_if_certain(record, listing, began - self._since[record.id])

    def _settle_if_certain(self, record: OrderRecord, listing: OrderListing, age: float) -> None:
        """Settle what the lists show; `age` is in seconds from the sending to the check."""
        match_result = match(record, listing) if self._repository.index.owns_names(record) else None
        if match_result is not None:
            self._settle(record, match_result)
        elif record.state is OrderState.UNKNOWN and age >= self._search.give_up_after_s and listing.is_complete:
            self._settle_expired(record, listing)

    def _settle(self, record: OrderRecord, match_result: MatchResult) -> None:
        self._repository.append_eventually(
            record, OrderEvent.FOUND if match_result.is_done else OrderEvent.MISSED, match_result.facts
        )

    def _settle_expired(self, record: OrderRecord, listing: OrderListing) -> None:
        """Settle an order that can no longer be in the Gateway's queue."""
        if record.operation is OrderOperation.MODIFY and not is_visible_change(record):
            match_result = matches_finally(record, listing)
            return (
                self._mark_unresolvable(record, CHANGE_NOT_VISIBLE)
                if match_result is None
                else self._settle(record, match_result)
            )
        if record.operation is OrderOperation.PLACE and not record.coids and has_similar(record, listing):
            return self._mark_unresolvable(record, NO_COID)
        looks, _ = self._checks.get(record.id, (0, 0.0))
        counted = {"orders": len(listing.orders), "trades": len(listing.trades), "looks": looks}
        return self._settle(record, MatchResult(False, {"error": NOT_FOUND, **counted}))

    def _mark_unresolvable(self, record: OrderRecord, reason: str) -> None:
        record.error, record.interrupted_by_restart = reason, False  # it no longer blocks new orders
        self._unresolvable.add(record.id)


async def fetch_no_lists(_: str | None) -> OrderListing | None:
    """The lists, until the profile says how they are fetched."""
    return None
