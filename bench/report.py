"""Turn the figures into `results.md`: medians, ratios taken round by round, and a table of targets. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median

from bench.greedy import GreedyResult
from bench.programs import BRIDGE, FASTAPI, PASSTHROUGH, UPSTREAM
from bench.wrk import Load

MISSING = "–"


@dataclass
class Rounds:
    """The loads of one program, one entry for each round."""

    one: list[Load] = field(default_factory=list)
    """With one client."""
    many: list[Load] = field(default_factory=list)
    """With twenty clients."""


Comparison = Mapping[str, Rounds]
"""Programs in front of the same upstream, by name; every round loaded each of them in turn."""


@dataclass(frozen=True)
class Results:
    """All figures of one run."""

    machine: Sequence[tuple[str, str]]
    """The rows about date, machine and versions."""
    fast: Comparison
    simulated: Comparison
    greedy: GreedyResult
    starts_s: Sequence[float]
    """From exec to the first response of /health."""
    memory: Sequence[tuple[int, float]]
    """The number of requests served so far, and the resident memory in MiB at that moment."""


@dataclass(frozen=True)
class Target:
    """A limit and the figure that was measured; `measured` is None if a yardstick was missing."""

    name: str
    limit: float
    measured: float | None
    is_minimum: bool = False

    @property
    def is_met(self) -> bool | None:
        """Whether the figure is within the limit; None if it could not be measured."""
        if self.measured is None:
            return None
        return self.measured >= self.limit if self.is_minimum else self.measured <= self.limit


def latency_ratio(comparison: Comparison, name: str, to: str) -> float | None:
    """The p50 of one program divided by that of another, at one client; None if one of them is missing."""
    return _median_ratio(comparison, name, to, lambda rounds: [load.p50_ms for load in rounds.one])


def throughput_ratio(comparison: Comparison, name: str, to: str) -> float | None:
    """The requests/s of one program divided by those of another, at twenty clients; None if one of them is missing."""
    return _median_ratio(comparison, name, to, lambda rounds: [load.per_second for load in rounds.many])


def _median_ratio(
    comparison: Comparison, name: str, to: str, read_figures: Callable[[Rounds], list[float]]
) -> float | None:
    """Take the ratio of each round and then the median: other programs slow both sides of a round alike."""
    if name not in comparison or to not in comparison:
        return None
    pairs = zip(read_figures(comparison[name]), read_figures(comparison[to]), strict=True)
    return median(figure / other for figure, other in pairs)


def targets(results: Results) -> tuple[Target, ...]:
    """What the bridge adds to a call, what a cached response costs, what IBKR receives, start and memory."""
    fast, cached, sizes = results.fast, results.simulated[BRIDGE], [size for _, size in results.memory]
    return (
        Target("p50 at one client, × the bare pass-through", 1.5, latency_ratio(fast, BRIDGE, PASSTHROUGH)),
        Target(
            "requests/s at 20 clients, × the bare pass-through",
            0.62,
            throughput_ratio(fast, BRIDGE, PASSTHROUGH),
            is_minimum=True,
        ),
        Target(
            "requests/s at 20 clients, × FastAPI + httpx", 5.0, throughput_ratio(fast, BRIDGE, FASTAPI), is_minimum=True
        ),
        Target(
            "cached: p50 at one client, × a request to the simulated Gateway over TLS",
            1.0,
            latency_ratio(results.simulated, BRIDGE, UPSTREAM),
        ),
        Target("cached: p50 at one client, ms", 0.25, median(load.p50_ms for load in cached.one)),
        Target(
            "cached: requests/s at 20 clients (for comparison, aiohttp with a constant body: see the table below)",
            5000,
            median(load.per_second for load in cached.many),
            is_minimum=True,
        ),
        *_greedy_targets(results.greedy),
        Target("from exec to the first /health, s", 0.7, median(results.starts_s)),
        Target("largest resident memory, MiB", 64.0, max(sizes)),
        Target("growth of memory over the second half of the requests, MiB", 2.0, _late_growth(results.memory)),
    )


def _greedy_targets(greedy: GreedyResult) -> tuple[Target, ...]:
    refused = greedy.refused_by_ibkr + greedy.in_penalty_box
    return (
        Target("greedy: calls that IBKR refused, plus penalty boxes", 0, refused),
        Target("greedy: windows with more calls than IBKR allows", 0, greedy.exceeded),
        Target("greedy: p99 of an order's wait for admission, ms", 250, _p99(greedy.waits_ms)),
        Target("greedy: orders that failed", 0, greedy.orders_failed),
        Target("greedy: good responses for each call upstream", 50, greedy.good / greedy.upstream, is_minimum=True),
    )


def _p99(figures: Sequence[float]) -> float | None:
    return sorted(figures)[math.ceil(len(figures) * 0.99) - 1] if figures else None


def _late_growth(memory: Sequence[tuple[int, float]]) -> float:
    """What the second half added: a leak shows there, but not pools and caches that fill once."""
    half = memory[-1][0] / 2
    return memory[-1][1] - next(size for served, size in memory if served >= half)


def render(results: Results) -> str:
    """Return the complete text of `results.md`."""
    parts = (
        "# What the bridge costs",
        "Written by `make bench`; nothing here is typed by hand. Every round loads each program in turn, so that\n"
        "other work of the machine slows all of them; a ratio is the median of the ratios of the rounds. The load is\n"
        "wrk, which requests `/portfolio/accounts`. The programs, the upstream and wrk share the machine's cores.",
        table(("", ""), results.machine),
        "## Targets",
        table(("target", "limit", "measured", "met"), (target_row(target) for target in targets(results))),
        "## In front of a fast upstream: what each program adds",
        "The upstream is `bench/canned.py`, plain HTTP. Every feature of the bridge is on, and it writes one log line\n"
        "for each request. `bench/wide.py` gives it more than its four Gateway slots, as this upstream has no such\n"
        "limit.",
        table(COLUMNS, _comparison_rows(results.fast)),
        "## In front of the simulated Gateway: what callers receive",
        "The simulator uses TLS, works on five calls at a time and is written in Python, so it limits every program\n"
        "that sends it each request. The bridge is `bridge.py` as it is: it sends this call every five seconds and\n"
        "answers from its cache in between. No program made with aiohttp is faster than `bench/constant.py`, which\n"
        "checks the key and always sends the same body.",
        table(COLUMNS, _comparison_rows(results.simulated)),
        "## Greedy clients: what IBKR receives",
        _greedy_summary(results.greedy),
        table(("limit", "calls", "in seconds", "most calls measured"), _window_rows(results.greedy)),
        "## Memory and start of the bridge",
        table(("requests served", "resident memory, MiB"), ((f"{n:,}", f"{size:.1f}") for n, size in results.memory)),
        f"From exec to the first response of `/health`: {' · '.join(f'{start:.2f}' for start in results.starts_s)} s.",
    )  # fmt: skip
    return "\n\n".join(parts) + "\n"


def _greedy_summary(greedy: GreedyResult) -> str:
    return (
        f"Fifty clients request one of six reads each, as fast as they can, for {greedy.seconds:g} s. Beside them, an\n"
        f"order is placed each second, {len(greedy.waits_ms)} in all; each order makes four of the six reads stale.\n"
        f"The fifty clients received {greedy.good:,} good responses. The bridge refused {greedy.refused:,} requests\n"
        f"with a `Retry-After`. {greedy.upstream:,} calls reached IBKR, the Gateway's own included. Measured there,\n"
        "by the clock of the simulated IBKR:"
    )


def _window_rows(greedy: GreedyResult) -> Iterable[tuple[str, ...]]:
    for window in greedy.windows:
        yield f"`{window.limit}`", str(window.calls), f"{window.seconds:g}", str(window.busiest)


COLUMNS = ("program", "p50, 1 client", "× pass-through", "requests/s, 20 clients", "× pass-through", "p99, 20 clients")


def _comparison_rows(comparison: Comparison) -> Iterable[tuple[str, ...]]:
    for name, rounds in comparison.items():
        yield (
            name,
            f"{median(load.p50_ms for load in rounds.one):.3f} ms",
            _format_figure(latency_ratio(comparison, name, PASSTHROUGH)),
            f"{median(load.per_second for load in rounds.many):,.0f}",
            _format_figure(throughput_ratio(comparison, name, PASSTHROUGH)),
            f"{median(load.p99_ms for load in rounds.many):.1f} ms",
        )


def target_row(target: Target) -> tuple[str, ...]:
    """Return a target as a row of a table."""
    sign = "≥" if target.is_minimum else "≤"
    met = {True: "yes", False: "**no**", None: "not measured"}[target.is_met]
    return target.name, f"{sign} {target.limit:g}", _format_figure(target.measured), met


def _format_figure(figure: float | None) -> str:
    return MISSING if figure is None else f"{figure:.2f}"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
