"""From figures to `results.md`: medians, ratios taken round by round, and the targets held against them. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median

from bench.greedy import Greedy
from bench.programs import BRIDGE, FASTAPI, PASSTHROUGH, UPSTREAM
from bench.wrk import Load

MISSING = "–"


@dataclass
class Rounds:
    """One program's figures, round by round."""

    one: list[Load] = field(default_factory=list)
    """With one client."""
    many: list[Load] = field(default_factory=list)
    """With twenty."""


Race = Mapping[str, Rounds]
"""Programs side by side in front of one upstream; every round loaded each of them in turn."""


@dataclass(frozen=True)
class Results:
    """All that one run measured."""

    about: Sequence[tuple[str, str]]
    fast: Race
    simulated: Race
    greedy: Greedy
    starts_s: Sequence[float]
    """From exec to the first answer of /health."""
    memory: Sequence[tuple[int, float]]
    """Requests served so far, and MiB of resident memory then."""


@dataclass(frozen=True)
class Target:
    """What was promised, and what came of it; `measured` is None where a yardstick was missing."""

    promise: str
    limit: float
    measured: float | None
    at_least: bool = False

    @property
    def is_met(self) -> bool | None:
        """Whether the promise was kept; None where it could not be measured."""
        if self.measured is None:
            return None
        return self.measured >= self.limit if self.at_least else self.measured <= self.limit


def latency_ratio(race: Race, name: str, to: str) -> float | None:
    """How many times the p50 of another, one client; the median of the rounds' ratios, as the machine is noisy."""
    return _ratio(race, name, to, lambda rounds: [load.p50_ms for load in rounds.one])


def throughput_ratio(race: Race, name: str, to: str) -> float | None:
    """How many times the requests per second of another, twenty clients."""
    return _ratio(race, name, to, lambda rounds: [load.per_second for load in rounds.many])


def _ratio(race: Race, name: str, to: str, figures: Callable[[Rounds], list[float]]) -> float | None:
    if name not in race or to not in race:
        return None
    pairs = zip(figures(race[name]), figures(race[to]), strict=True)
    return median(ours / theirs for ours, theirs in pairs)


def targets(results: Results) -> tuple[Target, ...]:
    """What the bridge adds to a call it sends on, what it takes for one it remembers, and what IBKR sees of it all."""
    race, sizes = results.fast, [size for _, size in results.memory]
    return (
        Target("p50 at one client, × the bare pass-through", 1.5, latency_ratio(race, BRIDGE, PASSTHROUGH)),
        Target(
            "requests/s at 20 clients, × the bare pass-through",
            0.62,
            throughput_ratio(race, BRIDGE, PASSTHROUGH),
            at_least=True,
        ),
        Target(
            "requests/s at 20 clients, × FastAPI + httpx", 5.0, throughput_ratio(race, BRIDGE, FASTAPI), at_least=True
        ),
        Target(
            "cached: p50 at one client, × asking the simulated Gateway over TLS",
            1.0,
            latency_ratio(results.simulated, BRIDGE, UPSTREAM),
        ),
        Target("cached: p50 at one client, ms", 0.25, median(load.p50_ms for load in results.simulated[BRIDGE].one)),
        Target(
            "cached: requests/s at 20 clients; aiohttp answering a constant stands in the table below",
            5000,
            median(load.per_second for load in results.simulated[BRIDGE].many),
            at_least=True,
        ),
        *_greedy_targets(results.greedy),
        Target("from exec to the first /health, s", 0.7, median(results.starts_s)),
        Target("largest resident memory, MiB", 64.0, max(sizes)),
        Target("growth of memory over the second half of its requests, MiB", 2.0, _late_growth(results.memory)),
    )


def _greedy_targets(greedy: Greedy) -> tuple[Target, ...]:
    return (
        Target("greedy: calls IBKR refused, or boxed", 0, greedy.refused_by_ibkr + greedy.boxed),
        Target("greedy: windows that held more than IBKR allows", 0, greedy.exceeded),
        Target("greedy: p99 of what orders waited for their turn, ms", 250, _p99(greedy.waits_ms)),
        Target("greedy: orders that failed", 0, greedy.orders_failed),
        Target("greedy: good answers for each call upstream", 50, greedy.answers / greedy.upstream, at_least=True),
    )


def _p99(figures: Sequence[float]) -> float | None:
    return sorted(figures)[math.ceil(len(figures) * 0.99) - 1] if figures else None


def _late_growth(memory: Sequence[tuple[int, float]]) -> float:
    """What the second half added: a leak shows there, pools and caches that fill up once do not."""
    half = memory[-1][0] / 2
    return memory[-1][1] - next(size for served, size in memory if served >= half)


def render(results: Results) -> str:
    """The whole of `results.md`."""
    parts = (
        "# What the bridge costs",
        "Written by `make bench`; nothing here is typed by hand. Every round loads each program in turn, so that a\n"
        "busy machine slows all of them; a ratio is the median of the rounds' own ratios. The load is wrk, asking for\n"
        "`/portfolio/accounts`. The programs, the upstream and wrk share the machine's cores.",
        table(("", ""), results.about),
        "## Targets",
        table(("target", "limit", "measured", "met"), (judged(target) for target in targets(results))),
        "## Against a fast upstream: what each program adds",
        "The upstream is `bench/canned.py`, plain HTTP. The bridge has everything on, one log line for each request\n"
        "included; its places at the Gateway are widened by `bench/wide.py`: four is a limit of the far side.",
        table(COLUMNS, _race_rows(results.fast)),
        "## Against the simulated Gateway: what callers see",
        "The simulator speaks TLS, works on five calls at a time and is Python itself, so it sets the pace for all\n"
        "who ask it each time. The bridge is `bridge.py` as it is: it asks every five seconds and remembers. Nothing\n"
        "made with aiohttp is faster than `bench/constant.py`, which looks at the key and says the same every time.",
        table(COLUMNS, _race_rows(results.simulated)),
        "## The greedy minute: what IBKR sees",
        _greedy_words(results.greedy),
        table(("limit", "calls", "in seconds", "most that were seen"), _windows(results.greedy)),
        "## Memory and start of the bridge",
        table(("requests served", "resident memory, MiB"), ((f"{n:,}", f"{size:.1f}") for n, size in results.memory)),
        f"From exec to the first answer of `/health`: {' · '.join(f'{each:.2f}' for each in results.starts_s)} s.",
    )  # fmt: skip
    return "\n\n".join(parts) + "\n"


def _greedy_words(greedy: Greedy) -> str:
    return (
        f"Fifty clients at full speed for {greedy.seconds:g} s, each with one of six reads, and an order each second,\n"
        f"{len(greedy.waits_ms)} in all, which makes four of the six stale. {greedy.answers:,} good answers to the\n"
        f"fifty; {greedy.refused:,} that were refused by the bridge, with a time to come again. {greedy.upstream:,}\n"
        "calls reached IBKR's end, the Gateway's own among them. Counted there, by its clock:"
    )


def _windows(greedy: Greedy) -> Iterable[tuple[str, ...]]:
    for window in greedy.windows:
        yield f"`{window.what}`", str(window.calls), f"{window.seconds:g}", str(window.busiest)


COLUMNS = ("program", "p50, 1 client", "× pass-through", "requests/s, 20 clients", "× pass-through", "p99, 20 clients")


def _race_rows(race: Race) -> Iterable[tuple[str, ...]]:
    for name, rounds in race.items():
        yield (
            name,
            f"{median(load.p50_ms for load in rounds.one):.3f} ms",
            _shown(latency_ratio(race, name, PASSTHROUGH)),
            f"{median(load.per_second for load in rounds.many):,.0f}",
            _shown(throughput_ratio(race, name, PASSTHROUGH)),
            f"{median(load.p99_ms for load in rounds.many):.1f} ms",
        )


def judged(target: Target) -> tuple[str, ...]:
    """A target as a row of a table."""
    sign = "≥" if target.at_least else "≤"
    met = {True: "yes", False: "**no**", None: "not measured"}[target.is_met]
    return target.promise, f"{sign} {target.limit:g}", _shown(target.measured), met


def _shown(figure: float | None) -> str:
    return MISSING if figure is None else f"{figure:.2f}"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
