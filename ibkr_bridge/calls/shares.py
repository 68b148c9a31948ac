"""How a resource that all callers share is divided: one rule for reads, previews, market data and streams. Pure.

Read-only keys and tokens have a reduced share: together they take three quarters at most. So a public page or a
stolen token cannot take all quotes, streams or reads from the app that trades.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TypeVar

REDUCED_SHARE = 0.75
H = TypeVar("H")  # a holder: a connection, a subscriber


def reduced_capacity(capacity: int) -> int:
    """How many of the units callers with a reduced share take together at most."""
    return int(capacity * REDUCED_SHARE)


def has_room(capacity: int, holders: Collection[bool], *, has_reduced_share: bool) -> bool:
    """Whether one more unit may be taken.

    Args:
        capacity: how many units there are.
        holders: of each unit that is taken, whether its holder has a reduced share.
        has_reduced_share: whether the caller has.
    """
    if len(holders) >= capacity:
        return False
    return not has_reduced_share or sum(holders) < reduced_capacity(capacity)


def largest_above(sizes: Mapping[H, int], budget: int) -> list[H]:
    """The holders of the most bytes, as few as necessary so that the others are within the budget."""
    above, selected = sum(sizes.values()) - budget, list[H]()
    for holder in sorted(sizes, key=lambda each: sizes[each], reverse=True):
        if above <= 0:
            break
        selected.append(holder)
        above -= sizes[holder]
    return selected
