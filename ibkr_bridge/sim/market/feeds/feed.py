"""What all feeds have in common: first message, later messages, interval, end.

A feed computes messages and knows no socket. `stream.py` calls it at its interval and sends the messages.
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
    """IBKR refuses a request with a message. It ignores most requests that it does not accept."""

    def __init__(self, message: Message) -> None:
        super().__init__(message)
        self.message = message


@dataclass
class FeedContext:
    """What the feeds of all sockets have in common."""

    world: World
    quote_interval_s: float
    """Time between two updates of one quote."""
    feeds: Callable[[], Iterable[Feed]]
    """Returns the open feeds of all sockets."""
    rate: float | None = None
    """Messages a second over all quotes together, instead of the interval; prices then change with each message."""
    quote_count: int = 0
    """The number of open quotes."""
    chart_numbers: Iterator[int] = field(default_factory=lambda: itertools.count(20_478))
    """The server ids of charts, by which they are ended."""


class Feed:
    """One feed of one client; all times are moments of the simulator's clock."""

    INTERVAL_S: ClassVar[float] = 1.0
    """Default of `interval_s`."""

    def __init__(self, context: FeedContext, request: FeedRequest) -> None:
        self.context = context
        self.world = context.world
        self.request = request

    @property
    def key(self) -> str:
        """A new feed replaces the feed with the same key on the same socket."""
        return self.request.name

    @property
    def interval_s(self) -> float:
        """Time until the next call of `next_messages`."""
        return self.INTERVAL_S

    @property
    def slack_s(self) -> float:
        """Calls of `next_messages` that are late by up to this time are made up for; later ones are skipped."""
        return 0.0

    def first_messages(self, now: float) -> Iterable[Message]:
        """The messages that are sent at once."""
        raise NotImplementedError

    def next_messages(self, now: float) -> Iterable[Message]:
        """The messages of one interval."""
        raise NotImplementedError

    def messages_after_call(self) -> Iterable[Message]:
        """The messages that are sent between two intervals, after a call over HTTP was carried out."""
        return ()

    def is_over(self, now: float) -> bool:
        """Whether the feed has ended without a message."""
        return False

    def is_ended_by(self, target: str) -> bool:
        """Whether a client's request to end `target` ends this feed."""
        return target == self.request.target

    def message(self, members: Mapping[str, Any]) -> Message:
        """Return a message of this feed with these members."""
        return {"topic": self.request.name, **members}


def changed_members(new: Mapping[str, Any], old: Mapping[str, Any]) -> dict[str, Any]:
    """The members of `new` that `old` does not have or has with another value."""
    return {key: value for key, value in new.items() if key not in old or old[key] != value}
