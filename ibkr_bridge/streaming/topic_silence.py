"""Is a topic still waiting for its first answer, for too long? Pure: the time is passed in.

IBKR gives no reason when it does not answer a request on its websocket, and without this rule silence would look like
"nothing happened". Only the first answer has a deadline: afterwards hours may pass in which truly nothing happens. A
new websocket starts over. Orders and trades have a second source, whose rows count as long as they are recent.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from ibkr_bridge.streaming.protocol import TopicKind

ANSWER_TIMEOUT_S = 10.0  # seconds; IBKR answers within one, also with an empty list and outside the trading hours
SLOW_ANSWER_TIMEOUT_S: Mapping[TopicKind, float] = {
    TopicKind.HISTORY: 30.0,  # IBKR first connects to its history farm
}
REPEAT_INTERVAL_S = 30.0  # seconds between two requests for a silent topic: IBKR loses some, and keeps none for later
READ_INTERVAL_S = 10.0  # seconds between two reads: IBKR allows one in 5 s, and callers want their share of them
READ_MAX_AGE_S = 3 * READ_INTERVAL_S  # one read may fail, or wait for its turn behind those of callers


@dataclass
class TopicSilence:
    """What is known of one topic's first answer on the present websocket."""

    kind: TopicKind
    requested_at: float | None = None
    """When it was requested first, in seconds of the clock; None if it was not, or IBKR has answered."""
    is_answered: bool = False
    read_started_at: float | None = None
    """When the second source was read last, in seconds of the clock."""
    read_at: float | None = None
    """When it last had an answer."""
    has_failed: bool = False
    """Whether the last read of the second source had no answer."""
    stale_since: datetime | None = None
    """Since when the subscribers know that the topic is stale."""
    is_reported: bool = False
    """Whether its silence stands in the log."""

    def on_request(self, now: float) -> None:
        """It was sent to IBKR; the deadline counts from the first time."""
        if not self.is_answered and self.requested_at is None:
            self.requested_at = now

    def on_answer(self) -> None:
        """IBKR has answered, or refused, which is an answer as well."""
        self.requested_at, self.is_answered = None, True

    def on_read(self, now: float, *, has_answer: bool) -> None:
        """A read of the second source has ended."""
        self.has_failed = not has_answer
        if has_answer:
            self.read_at = now

    def is_overdue(self, now: float) -> bool:
        """Whether IBKR should have answered by now."""
        timeout_s = SLOW_ANSWER_TIMEOUT_S.get(self.kind, ANSWER_TIMEOUT_S)
        return self.requested_at is not None and now - self.requested_at >= timeout_s

    def is_repeat_due(self, now: float, sent_at: float) -> bool:
        """Whether to send the request once more. That of a chart is not: each takes one of IBKR's five places."""
        return self.kind is not TopicKind.HISTORY and self.is_overdue(now) and now - sent_at >= REPEAT_INTERVAL_S

    def is_read_due(self, now: float) -> bool:
        """Whether the second source should be read."""
        return self.is_overdue(now) and (self.read_started_at is None or now - self.read_started_at >= READ_INTERVAL_S)

    def is_stale(self, now: float, *, has_second_source: bool) -> bool:
        """Whether nobody knows what the topic should show."""
        if not self.is_overdue(now) or self.requested_at is None:
            return False
        if not has_second_source or (self.has_failed and self.read_at is None):
            return True
        return now - max(self.requested_at, self.read_at or self.requested_at) >= READ_MAX_AGE_S
