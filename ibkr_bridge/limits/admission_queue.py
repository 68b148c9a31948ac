"""The waiting room before the Gateway: who goes next, and how long it takes. Pure; time is told to it.

Three things have to be free at once: a place inside the Gateway, a place in the windows for everything and for calls of
this importance, and one in the window of the call's own row. Among those who could go the more important go first,
callers of a key in their order, and keys in turns. Windows of importance keep a little of the budget for the others: no
order waits for reads to become old, and no number of orders starves the reads.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import IntEnum

from ibkr_bridge.errors import Busy
from ibkr_bridge.ibkr.endpoint import Endpoint, Pace
from ibkr_bridge.limits.sliding_window import Plan, Window

TRY_AGAIN = 1.0  # seconds
LEARNS = 0.3  # how much the latest call tells of how long calls take


class Importance(IntEnum):
    """Who goes first."""

    SESSION = 0  # what IBKR wants to be asked before anything else
    ORDERS = 1
    READS = 2


EVERYTHING = Pace(8, 1.0, "GUIDE")
SHARES = {
    Importance.SESSION: Pace(6, 1.0, "ours"),
    Importance.ORDERS: Pace(7, 1.0, "ours"),
    Importance.READS: Pace(6, 1.0, "ours"),
}


@dataclass(frozen=True)
class Limits:
    """How much we ask of the Gateway and of IBKR.

    IBKR allows ten calls a second in all, of which the Gateway, IBeam and the keeper spend the rest. The Gateway works
    on five calls at a time; the fifth is theirs.
    """

    places: int = 4
    for_orders: int = 1
    """Places no read may take."""
    everything: Pace | None = EVERYTHING
    shares: Mapping[Importance, Pace] = field(default_factory=lambda: SHARES)
    rows: bool = True
    """Whether the limits of single rows hold; a bench may measure without."""
    queue: int = 128
    """Calls of one importance that may wait; behind so many nobody is served within a reasonable time."""


@dataclass(eq=False)
class Guest:
    """One call that waits, or is inside."""

    row: Endpoint
    importance: Importance
    key: str
    is_there: Callable[[], bool] = lambda: True
    """Whether its caller still waits."""
    entered: int = 0
    """How often it stands in its windows: once, and once more if it had to be sent again."""
    began: float = 0.0
    """When it was let in."""
    windows: tuple[Window, ...] | None = None
    """The limits it stands in, once they have been looked up."""


class Room:
    """One Gateway's waiting room."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._taken = 0
        self._queues: dict[Importance, dict[str, deque[Guest]]] = {each: {} for each in Importance}
        self._everything = Window(limits.everything) if limits.everything else None
        self._shares = {each: Window(pace) for each, pace in limits.shares.items()}
        self._rows: dict[str, Window] = {}
        self._stay = 0.1  # seconds a call is inside, as the latest ones show it

    def __repr__(self) -> str:
        return f"<Room {self._taken}/{self._limits.places} taken, {sum(self.waiting().values())} waiting>"

    @property
    def taken(self) -> int:
        """Calls of ours inside the Gateway, ghosts included."""
        return self._taken

    def waiting(self) -> Counter[Importance]:
        """How many wait, by importance."""
        return Counter({each: self._length(each) for each in Importance})

    def used(self, now: float) -> int:
        """How much of the budget for everything is spent."""
        return self._everything.used(now) if self._everything else 0

    def arrive(self, guest: Guest) -> None:
        """Somebody waits from now on.

        Raises:
            Busy: too many of this importance wait already.
        """
        if self._length(guest.importance) >= self._limits.queue:
            self._send_home(guest.importance)
        if self._length(guest.importance) >= self._limits.queue:  # each its own: reads must not keep a cancel out
            raise Busy("too many calls are waiting for the Gateway already", retry_after=TRY_AGAIN)
        self._queues[guest.importance].setdefault(guest.key, deque()).append(guest)

    def enter_at_once(self, guest: Guest, now: float) -> bool:
        """Let somebody in who comes to an empty room, where everything is free; says whether it was."""
        if any(self._queues.values()) or self._taken >= self._places(guest.importance):
            return False
        if not self._windows_have_room(guest, now):
            return False
        self._let_in(guest, now)
        return True

    def forget(self, guest: Guest) -> bool:
        """Somebody waits no longer; says whether they did."""
        queue = self._queues[guest.importance].get(guest.key)
        if queue is None or guest not in queue:
            return False
        queue.remove(guest)
        self._tidy(guest)
        return True

    def next(self, now: float) -> Guest | None:
        """Whose turn it is; they are inside from now on. Ask again until nobody is."""
        if self._everything and not self._everything.has_room(now):
            return None
        for guest in self._in_order(now):
            self.forget(guest)
            self._to_the_end(guest)
            self._let_in(guest, now)
            return guest
        return None

    def again(self, guest: Guest, now: float) -> bool:
        """Somebody inside wants to send once more; says whether the windows allow it, and counts it if so."""
        if not self._windows_have_room(guest, now):
            return False
        self._enter(guest)
        return True

    def leave(self, guest: Guest, now: float, *, sent: bool) -> None:
        """The Gateway no longer works on a call."""
        self._taken -= 1
        if sent:
            self._stay += LEARNS * (now - guest.began - self._stay)
        self.answered(guest, now, sent=sent)

    def beside(self, row: Endpoint, now: float) -> Guest | None:
        """A call that takes no place and waits for none; it is counted all the same. None where its row is full."""
        guest = Guest(row, Importance.SESSION, "")
        if not self._row_has_room(guest, now):
            return None
        self._enter(guest)
        return guest

    def occupy(self, row: Endpoint, until: float) -> None:
        """A place of a row's own limit is taken until then."""
        window = self._row(row)
        if window is not None:
            window.occupy(until)

    def answered(self, guest: Guest, now: float, *, sent: bool = True) -> None:
        """A call stops counting, after the windows' time where it was sent."""
        for window in self._windows(guest):
            for _ in range(guest.entered):
                window.leave(now, sent=sent)

    def next_change(self, now: float) -> float | None:
        """When time alone may let somebody in; None where nobody waits, or only an answer helps."""
        times = [self._opens(guest, now) for guest in self._everybody()]
        return min((at for at in times if at is not None and at > now), default=None)

    def wait(self, guest: Guest, now: float) -> float:
        """Seconds until somebody's turn, if answers take as long as lately and nobody more important comes."""
        plans: dict[Window, Plan] = {}
        start = now
        for each in (*self._ahead(guest), guest):
            windows = self._windows(each)
            plans.update({window: window.plan(now, self._stay) for window in windows if window not in plans})
            start = max((plans[window].first for window in windows), default=now)
            for window in windows:
                plans[window].take(start)
        return start - now

    # -- within

    def _length(self, importance: Importance) -> int:
        return sum(map(len, self._queues[importance].values()))

    def _send_home(self, importance: Importance) -> None:
        """Forget those who wait for somebody who has gone."""
        for guest in [each for queue in self._queues[importance].values() for each in queue if not each.is_there()]:
            self.forget(guest)

    def _everybody(self) -> Iterator[Guest]:
        for keys in self._queues.values():
            for queue in keys.values():
                yield from queue

    def _in_order(self, now: float) -> Iterator[Guest]:
        """Those who could go now, the first one first."""
        for importance, keys in self._queues.items():
            share = self._shares.get(importance)
            if self._taken >= self._places(importance) or (share and not share.has_room(now)):
                continue
            for queue in list(keys.values()):
                yield from (guest for guest in list(queue) if self._row_has_room(guest, now) and guest.is_there())

    def _places(self, importance: Importance) -> int:
        return self._limits.places - (0 if importance is Importance.ORDERS else self._limits.for_orders)

    def _windows_have_room(self, guest: Guest, now: float) -> bool:
        return all(window.has_room(now) for window in self._windows(guest))

    def _row_has_room(self, guest: Guest, now: float) -> bool:
        window = self._row(guest.row)
        return window is None or window.has_room(now)

    def _row(self, row: Endpoint) -> Window | None:
        if row.pace is None or not self._limits.rows:
            return None
        return self._rows.setdefault(row.path, Window(row.pace))  # GET and POST of one path are one limit

    def _windows(self, guest: Guest) -> tuple[Window, ...]:
        if guest.windows is None:
            windows = (self._everything, self._shares.get(guest.importance), self._row(guest.row))
            guest.windows = tuple(window for window in windows if window is not None)
        return guest.windows

    def _let_in(self, guest: Guest, now: float) -> None:
        self._taken += 1
        guest.began = now
        self._enter(guest)

    def _enter(self, guest: Guest) -> None:
        guest.entered += 1
        for window in self._windows(guest):
            window.enter()

    def _opens(self, guest: Guest, now: float) -> float | None:
        times = [window.room_at(now) for window in self._windows(guest)]
        return None if None in times else max((at for at in times if at is not None), default=now)

    def _tidy(self, guest: Guest) -> None:
        keys = self._queues[guest.importance]
        if not keys[guest.key]:
            del keys[guest.key]

    def _to_the_end(self, guest: Guest) -> None:
        keys = self._queues[guest.importance]
        if guest.key in keys:
            keys[guest.key] = keys.pop(guest.key)

    def _ahead(self, guest: Guest) -> Iterator[Guest]:
        """Who goes before somebody: the more important, and of each key as many as of their own, in turns."""
        for importance in Importance:
            if importance < guest.importance:
                yield from (other for queue in self._queues[importance].values() for other in queue)
        keys = self._queues[guest.importance]
        own = list(keys.get(guest.key, ()))
        before = own.index(guest) if guest in own else len(own)
        yield from own[:before]
        for key, queue in keys.items():
            if key != guest.key:
                yield from list(queue)[: before + 1]
