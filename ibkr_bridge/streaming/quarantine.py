"""Finds the topic that ends the feed, so that one subscription does not interrupt all others again and again.

The Gateway ends the whole websocket over one message that is too long, such as a chart of a thousand candles. A topic
that was requested just before, and was not answered, is suspected: from then on it is requested alone, after all
others. A topic that ends the feed three times is not requested for ten minutes.
"""

from __future__ import annotations

from collections.abc import Iterable

from ibkr_bridge.streaming.subscriber import Subscriber
from ibkr_bridge.streaming.subscription import Subscription

SUSPECT_WINDOW_S = 3.0  # seconds in which a message that is too long arrives
MAX_SUSPICION = 3  # times


def suspect_recent(topics: Iterable[Subscription], now: float) -> list[Subscription]:
    """Suspect the topics that were requested just before the feed was cut, and return them."""
    suspects = [
        each
        for each in topics
        if each.requested_args is not None and not each.is_answered and now - each.requested_at <= SUSPECT_WINDOW_S
    ]
    for each in suspects:
        each.suspicion += 1
    return suspects


class CutCounter:
    """Counts how often the requests of each key ended the feed. A key with a reduced share that does so three times may
    open no chart for a while, whichever contract it asks for: else one page could interrupt the stream of all others
    without end.
    """

    def __init__(self) -> None:
        self._cuts: dict[str, list[float]] = {}

    def record(self, suspects: Iterable[Subscription], now: float) -> None:
        """The feed was cut just after these topics had been requested."""
        labels = {each.key_label for topic in suspects for each in topic.subscribers if each.has_reduced_share}
        for label in labels:
            self._cuts[label] = [*self._cuts.get(label, ())[-MAX_SUSPICION:], now]

    def is_barred(self, subscriber: Subscriber, now: float, period_s: float) -> bool:
        """Whether the requests of its key have ended the feed too often within the period."""
        recent = [at for at in self._cuts.get(subscriber.key_label, ()) if now - at < period_s]
        return subscriber.has_reduced_share and len(recent) >= MAX_SUSPICION


def next_to_retry(topics: Iterable[Subscription], now: float) -> Subscription | None:
    """The suspected topic that may be requested now; None while another is on trial. A topic that did no harm is
    cleared.
    """
    suspects = [each for each in topics if each.suspicion]
    on_trial = False
    for each in suspects:
        if each.requested_args is not None and (each.is_answered or now - each.requested_at > SUSPECT_WINDOW_S):
            each.suspicion = 0
        on_trial |= each.requested_args is not None and each.suspicion > 0
    waiting = (
        each
        for each in suspects
        if 0 < each.suspicion < MAX_SUSPICION and each.requested_args is None and each.subscribers
    )
    return None if on_trial else next(waiting, None)


def quarantined(topics: Iterable[Subscription]) -> list[Subscription]:
    """The topics that ended the feed each time."""
    return [each for each in topics if each.suspicion >= MAX_SUSPICION]
