"""What all feeds have in common: what is told at first, what later, how often, and when it is over.

A feed decides what is to be said and knows no socket; `stream.py` asks it in time and says it.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from ibkr_bridge.sim.market.feeds.protocol import FeedRequest
from ibkr_bridge.sim.market.world import World

Message = Mapping[str, Any]


class RefusedError(Exception):
    """IBKR does not begin this, and says so; most of what it does not begin it passes over in silence."""

    def __init__(self, said: Message) -> None:
        super().__init__(said)
        self.said = said


@dataclass
class Floor:
    """What the feeds of all sockets share."""

    world: World
    quotes_every: float
    """Seconds between two updates of one quote."""
    feeds: Callable[[], Iterable[Feed]]
    """All that are open, on whatever socket."""
    rate: float | None = None
    """Messages a second over all quotes together, instead; prices then jump, so that each message brings another."""
    quotes: int = 0
    """How many quotes are open."""
    charts: Iterator[int] = field(default_factory=lambda: itertools.count(20_478))
    """The numbers by which charts are ended."""


class Feed:
    """One thing a client wants told; all times are moments of the simulator's clock."""

    EVERY: ClassVar[float] = 1.0
    """Seconds between two looks."""

    def __init__(self, floor: Floor, asked: FeedRequest) -> None:
        self.floor = floor
        self.world = floor.world
        self.asked = asked

    @property
    def key(self) -> str:
        """What it replaces on the same socket: whatever has the same key."""
        return self.asked.name

    @property
    def every(self) -> float:
        """Seconds until the next look."""
        return self.EVERY

    @property
    def slack(self) -> float:
        """Seconds by which looks may be late and are still made up for."""
        return 0.0

    def first(self, now: float) -> Iterable[Message]:
        """What is told at once."""
        raise NotImplementedError

    def later(self, now: float) -> Iterable[Message]:
        """What a look shows."""
        raise NotImplementedError

    def stirred(self) -> Iterable[Message]:
        """What is told outside of the looks, after calls over HTTP have been carried out."""
        return ()

    def is_over(self, now: float) -> bool:
        """Whether it has ended, without a word."""
        return False

    def goes_by(self, target: str) -> bool:
        """Whether this is what a client means who wants it ended."""
        return target == self.asked.target

    def says(self, what: Mapping[str, Any]) -> Message:
        """A message of this feed."""
        return {"topic": self.asked.name, **what}


def changed(new: Mapping[str, Any], old: Mapping[str, Any]) -> dict[str, Any]:
    """What is new, or another than it was."""
    return {key: value for key, value in new.items() if key not in old or old[key] != value}
