"""Which topic ends the socket: found out, so that one reader's wish does not keep everybody in the dark.

The Gateway ends the whole socket over one message that is too long, such as a chart of a thousand candles. What was
asked for just before, and was not answered, is under suspicion: from then on it is asked for alone, after everything
else. What ends the socket three times is not asked for any more.
"""

from __future__ import annotations

from collections.abc import Iterable

from ibkr_bridge.streaming.subscription import Subscription

JUST_ASKED = 3.0  # seconds within which an answer that is too long has come
ENOUGH = 3  # times


def accuse(topics: Iterable[Subscription], now: float) -> None:
    """The socket was cut."""
    for each in topics:
        if each.asked is not None and not each.is_answered and now - each.asked_at <= JUST_ASKED:
            each.suspicion += 1


def next_to_try(topics: Iterable[Subscription], now: float) -> Subscription | None:
    """The one that may be asked for now, while no other is on trial; one that is through without harm is free again."""
    suspects = [each for each in topics if each.suspicion]
    on_trial = False
    for each in suspects:
        if each.asked is not None and (each.is_answered or now - each.asked_at > JUST_ASKED):
            each.suspicion = 0
        on_trial |= each.asked is not None and each.suspicion > 0
    waiting = (each for each in suspects if 0 < each.suspicion < ENOUGH and each.asked is None and each.readers)
    return None if on_trial else next(waiting, None)


def convicted(topics: Iterable[Subscription]) -> list[Subscription]:
    """Those that ended the socket each time."""
    return [each for each in topics if each.suspicion >= ENOUGH]
