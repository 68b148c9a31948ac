"""Finds the topic that ends the feed, so that one subscription does not interrupt all others again and again.

The Gateway ends the whole websocket over one message that is too long, such as a chart of a thousand candles. A topic
that was requested just before, and was not answered, is suspected: from then on it is requested alone, after all
others. A topic that ends the feed three times is not requested for ten minutes.
"""

from __future__ import annotations

from collections.abc import Iterable

from ibkr_bridge.streaming.subscription import Subscription

SUSPECT_WINDOW_S = 3.0  # seconds in which a message that is too long arrives
MAX_SUSPICION = 3  # times


def suspect_recent(topics: Iterable[Subscription], now: float) -> None:
    """Suspect the topics that were requested just before the feed was cut."""
    for each in topics:
        if each.requested_args is not None and not each.is_answered and now - each.requested_at <= SUSPECT_WINDOW_S:
            each.suspicion += 1


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
