"""Which topic ends the socket: found out, so that one reader's wish does not keep everybody in the dark.

The Gateway ends the whole socket over one message that is too long, such as a chart of a thousand candles. What was
asked for just before, and was not answered, is under suspicion: from then on it is asked for alone, after everything
else. What ends the socket three times is not asked for any more.
"""

from __future__ import annotations

from collections.abc import Iterable

from ibkr_bridge.streaming.subscription import Subscription

SUSPECT_WINDOW_S = 3.0  # seconds within which an answer that is too long has come
MAX_SUSPICION = 3  # times


def suspect_recent(topics: Iterable[Subscription], now: float) -> None:
    """The socket was cut."""
    for each in topics:
        if each.requested_args is not None and not each.is_answered and now - each.requested_at <= SUSPECT_WINDOW_S:
            each.suspicion += 1


def next_to_retry(topics: Iterable[Subscription], now: float) -> Subscription | None:
    """The one that may be asked for now, while no other is on trial; one that is through without harm is free again."""
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
    """Those that ended the socket each time."""
    return [each for each in topics if each.suspicion >= MAX_SUSPICION]
