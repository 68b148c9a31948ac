"""From what happened to the tables of `orders.md`. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from bench.orders_callers import End
from bench.orders_cost import LIMIT_MS, MEMORY, NOTHING, WITH, Cost, p50, p99
from bench.orders_story import Ending
from bench.report import table

SHOWN = 5  # broken promises of one sort that are named


def lines(ending: Ending) -> list[str]:
    """The story's part, ready to be printed or kept."""
    wrong = sum(ending.troubles.values())
    return [
        f"{ending.orders:,} orders with seed {ending.seed} in {ending.seconds / 60:.1f} minutes. {wrong:,} times\n"
        f"something went wrong, and {ending.kills:,} of those times the bridge was killed. {ending.booked:,} orders\n"
        "stand in IBKR's book in the end, children of brackets among them.",
        table(("promise", "broken"), _zeros(ending)),
        *_broken(ending),
        table(("trouble", "times"), ((name, f"{count:,}") for name, count in sorted(ending.troubles.items()))),
        table(("caller", "orders", "sent again"), _callers(ending)),
        table(("the last thing a caller was told", "orders"), _ends(ending)),
        table(("in the journal", "calls"), ((name, f"{count:,}") for name, count in sorted(ending.states.items()))),
    ]


def cost_lines(cost: Cost) -> list[str]:
    """What the journal costs, likewise."""
    met = "yes" if cost.is_within else "**no**"
    rounds = len(cost.took_ms[WITH])
    return [
        "## What the journal costs an order",
        f"One placement after the other over one connection, {rounds:,} at each bridge by turns, before the same\n"
        "simulated Gateway. The journal is written before the first byte leaves, when the answer has come, and when\n"
        "it was told; with `in memory` all of that happens without a disk, with `none at all` not even in memory.",
        table(
            ("journal", "p50", "p99"),
            ((name, f"{p50(cost.took_ms[name]):.2f} ms", f"{p99(cost.took_ms[name]):.2f} ms") for name in ORDER),
        ),
        table(
            ("promise", "limit", "measured", "met"),
            [("what the disk adds to the p50 of a placement", f"≤ {LIMIT_MS:g} ms", f"{cost.added_ms:.2f} ms", met)],
        ),
    ]


ORDER = (WITH, MEMORY, NOTHING)


def _zeros(ending: Ending) -> Iterable[tuple[str, str]]:
    for zero in ending.zeros:
        yield zero.promise, f"{len(zero.broken):,}" if not zero.broken else f"**{len(zero.broken):,}**"
    yield "flaws in the journal's seals (`bridge.py orders verify`)", "0" if ending.is_proved else "**some**"


def _broken(ending: Ending) -> Sequence[str]:
    told = [
        f"{zero.promise}: {'; '.join(zero.broken[:SHOWN])}{' …' if len(zero.broken) > SHOWN else ''}"
        for zero in ending.zeros
        if zero.broken
    ]
    told += [] if ending.is_proved else [f"verify: {ending.proof}"]
    return told + [f"in the log: {line}" for line in ending.surprises[:SHOWN]]


def _callers(ending: Ending) -> Iterable[tuple[str, str, str]]:
    orders = Counter(story.plan.caller for story in ending.stories)
    again = Counter(story.plan.caller for story in ending.stories for _ in story.again)
    for caller, count in orders.items():
        yield caller.value, f"{count:,}", f"{again[caller]:,}"


def _ends(ending: Ending) -> Iterable[tuple[str, str]]:
    ends = Counter(story.last for story in ending.stories)
    return ((end.value, f"{ends[end]:,}") for end in End if ends[end])
