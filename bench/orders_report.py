"""Turn the result of the order bench into the tables of `orders.md`. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from bench.orders_callers import Outcome
from bench.orders_cost import IN_MEMORY, LIMIT_MS, NO_JOURNAL, ON_DISK, Cost, p50, p99
from bench.orders_story import RunResult
from bench.report import table

MAX_VIOLATIONS_SHOWN = 5  # of one promise
JOURNALS = (ON_DISK, IN_MEMORY, NO_JOURNAL)


def run_sections(result: RunResult) -> list[str]:
    """Return the paragraphs and tables about the orders."""
    faults = sum(result.troubles.values())
    states = ((name, f"{count:,}") for name, count in sorted(result.journal_states.items()))
    return [
        f"{result.orders:,} orders with seed {result.seed} in {result.seconds / 60:.1f} minutes. {faults:,} faults\n"
        f"occurred; {result.kills:,} of them were a kill of the bridge, {result.hand_over_kills:,} of these in the\n"
        f"step in which an order was handed over. At the end IBKR's book contains {result.book_orders:,}\n"
        "orders, including the children of brackets.",
        table(("promise", "broken"), _promise_rows(result)),
        *_violation_lines(result),
        table(("fault", "times"), ((name, f"{count:,}") for name, count in sorted(result.troubles.items()))),
        table(("caller", "orders", "repeats"), _caller_rows(result)),
        table(("last response to the caller", "orders"), _outcome_rows(result)),
        table(("kind and state in the journal", "calls"), states),
    ]


def cost_sections(cost: Cost) -> list[str]:
    """Return the paragraphs and tables about the cost of the journal."""
    met = "yes" if cost.is_within_limit else "**no**"
    rounds = len(cost.times_ms[ON_DISK])
    return [
        "## What the journal costs an order",
        f"Placements over one connection to each bridge, one after the other: {rounds:,} at each bridge, in turns, in\n"
        "front of the same simulated Gateway. The journal is written before the first byte leaves, after the response\n"
        "has come, and after the caller has received it. With `in memory` it is written by SQLite in memory; with\n"
        "`none at all` it is not written.",
        table(
            ("journal", "p50", "p99"),
            ((name, f"{p50(cost.times_ms[name]):.2f} ms", f"{p99(cost.times_ms[name]):.2f} ms") for name in JOURNALS),
        ),
        table(
            ("target", "limit", "measured", "met"),
            [("what the disk adds to the p50 of a placement", f"≤ {LIMIT_MS:g} ms", f"{cost.added_ms:.2f} ms", met)],
        ),
    ]


def _promise_rows(result: RunResult) -> Iterable[tuple[str, str]]:
    for promise in result.promises:
        count = len(promise.violations)
        yield promise.name, f"**{count:,}**" if count else "0"
    yield "flaws in the journal's seals (`bridge.py orders verify`)", "0" if result.is_verified else "**some**"


def _violation_lines(result: RunResult) -> Sequence[str]:
    lines = []
    for promise in result.promises:
        if promise.violations:
            more = " …" if len(promise.violations) > MAX_VIOLATIONS_SHOWN else ""
            lines.append(f"{promise.name}: {'; '.join(promise.violations[:MAX_VIOLATIONS_SHOWN])}{more}")
    if not result.is_verified:
        lines.append(f"verify: {result.verify_output}")
    return lines + [f"in the log: {line}" for line in result.unexpected[:MAX_VIOLATIONS_SHOWN]]


def _caller_rows(result: RunResult) -> Iterable[tuple[str, str, str]]:
    orders = Counter(history.plan.caller for history in result.histories)
    repeats = Counter(history.plan.caller for history in result.histories for _ in history.repeats)
    for caller, count in orders.items():
        yield caller.value, f"{count:,}", f"{repeats[caller]:,}"


def _outcome_rows(result: RunResult) -> Iterable[tuple[str, str]]:
    outcomes = Counter(history.last_outcome for history in result.histories)
    return ((outcome.value, f"{outcomes[outcome]:,}") for outcome in Outcome if outcomes[outcome])
