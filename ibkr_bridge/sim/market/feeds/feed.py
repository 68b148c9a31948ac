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

    def __init__(self, message: Message) -> None:
        super().__init__(message)
        self.message = message


@dataclass
class FeedContext:
    """What the feeds of all sockets share."""

    world: World
    quote_interval_s: float
    """Seconds between two updates of one quote."""
    feeds: Callable[[], Iterable[Feed]]
    """All that are open, on whatever socket."""
    rate: float | None = None
    """Messages a second over all quotes together, instead; prices then jump, so that each message brings another."""
    quote_count: int = 0
    """How many quotes are open."""
    chart_numbers: Iterator[int] = field(default_factory=lambda: itertools.count(20_478))
    """The numbers by which charts are ended."""


class Feed:
    """One thing a client wants told; all times are moments of the simulator's clock."""

    INTERVAL_S: ClassVar[float] = 1.0
    """Seconds between two looks."""

    def __init__(self, context: FeedContext, request: FeedRequest) -> None:
        self.context = context
        self.world = context.world
        self.request = request

    @property
    def key(self) -> str:
        """What it replaces on the same socket: whatever has the same key."""
        return self.request.name

    @property
    def interval_s(self) -> float:
        """Seconds until the next look."""
        return self.INTERVAL_S

    @property
    def slack_s(self) -> float:
        """Seconds by which looks may be late and are still made up for."""
        return 0.0

    def first_messages(self, now: float) -> Iterable[Message]:
        """What is told at once."""
        raise NotImplementedError

    def next_messages(self, now: float) -> Iterable[Message]:
        """What a look shows."""
        raise NotImplementedError

    def messages_after_call(self) -> Iterable[Message]:
        """What is told outside of the looks, after calls over HTTP have been carried out."""
        return ()

    def is_over(self, now: float) -> bool:
        """Whether it has ended, without a word."""
        return False

    def is_ended_by(self, target: str) -> bool:
        """Whether this is what a client means who wants it ended."""
        return target == self.request.target

    def message(self, members: Mapping[str, Any]) -> Message:
        """A message of this feed."""
        return {"topic": self.request.name, **members}


def changed_members(new: Mapping[str, Any], old: Mapping[str, Any]) -> dict[str, Any]:
    """What is new, or another than it was."""
    return {key: value for key, value in new.items() if key not in old or old[key] != value}
