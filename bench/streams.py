"""`python -m bench.streams`, which `make bench-streams` runs: what two hundred readers of the stream get, and when.

The simulated Gateway says so much a second about fifty contracts, and ten orders a second are filled. Two hundred
websockets read all of it, through the bridge and through the least that aiohttp can do, by turns; a few seconds each,
several rounds, so that a busy machine slows both. One reader at the Gateway itself tells what the way to it takes.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from bench.about import in_short, say
from bench.processes import ROOT, NotStarted, free_port, process, rss_mib, until_answers
from bench.programs import KEY, Place, environment
from bench.report import Target, judged, table

READERS, RATE, CONTRACTS = 200, 1000, 50
CONIDS = [265598, 272093, 8314, 76792991, 4815747, 3691937, 756733, *range(900_000_001, 900_000_044)]
COMMANDS = [*(f'smd+{conid}+{{"fields":["31","84","86"]}}' for conid in CONIDS), "sor+{}", "str+{}"]
BARE, BRIDGE = "bare aiohttp fan-out", "the bridge"
PROGRAMS: Mapping[str, list[str]] = {BARE: ["-m", "bench.stream_bare"], BRIDGE: [str(ROOT / "bridge.py")]}
BESIDE = 14.0  # seconds for which the reader at the Gateway itself reads longer than the others
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass
class Run:
    """One program, read for a while."""

    quotes: int
    seconds: float
    delays_ms: Mapping[str, int]
    missing: int
    """Orders a reader never heard of, all readers together."""
    orders: int
    cpu_s: float
    memory_mib: float
    direct_ms: Mapping[str, int] = field(default_factory=dict)
    """Of the one reader at the Gateway itself."""
    share: float = 0.0
    """What part of what that one was told reached each reader in the same seconds; the rest was replaced by newer."""

    @property
    def per_second(self) -> float:
        """Quotes that reached readers in a second, all of them together."""
        return self.quotes / self.seconds


def main(words: Sequence[str] | None = None) -> int:
    """Measure, judge, keep."""
    args = _arguments(words)
    with tempfile.TemporaryDirectory(prefix="ibkr-bridge-streams-") as scratch:
        place = Place(Path(scratch), Path(sys.executable))
        (place.scratch / ".env").touch(mode=0o600)  # else the bridge would read the checkout's own
        head = in_short()
        try:
            runs = _rounds(place, args)
        except NotStarted as exc:
            print(f"The bench ended early: {exc}", file=sys.stderr)
            return 1
    text = "\n\n".join(_lines(args, head, runs))
    print(text)
    if args.results is not None:
        args.results.write_text(f"{text}\n")
    return 0 if args.quick or all(target.is_met for target in _targets(runs)) else 1


def _arguments(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench-streams", description="What many readers of the stream get.")
    parser.add_argument("--quick", action="store_true", help="one short round, which is not kept")
    parser.add_argument("--rate", type=int, default=RATE, help=f"messages a second from IBKR (default: {RATE})")
    parser.add_argument("--readers", type=int, default=READERS, help=f"how many read (default: {READERS})")
    args = parser.parse_args(words)
    args.rounds, args.seconds = (1, 4.0) if args.quick else (3, 10.0)
    args.results = None if args.quick or (args.rate, args.readers) != (RATE, READERS) else ROOT / "bench/streams.md"
    return args


def _rounds(place: Place, args: argparse.Namespace) -> dict[str, list[Run]]:
    runs: dict[str, list[Run]] = {name: [] for name in PROGRAMS}
    for number in range(args.rounds):
        for name in PROGRAMS:
            say(f"round {number + 1} of {args.rounds}: {name}")
            runs[name].append(_run(place, name, args))
    return runs


def _run(place: Place, name: str, args: argparse.Namespace) -> Run:
    book, port = place.scratch / "book.json", free_port()
    with _source(place, 2 * args.rate, book) as upstream:  # two sockets share what IBKR says: ours, and the one beside
        env = {**environment(place, upstream, port), "BENCH_COMMANDS": json.dumps(COMMANDS)}
        command = [sys.executable, *PROGRAMS[name], *([str(port)] if name == BARE else [])]
        with process(command, env, place.scratch / f"{port}.log") as running:
            until_answers(running, port, "/health", {})
            longer = args.seconds + BESIDE  # it begins before the others and ends after them: the rate is shared out
            direct = _readers(upstream.replace("http", "ws", 1) + "/v1/api/ws", 1, longer)
            time.sleep(BESIDE / 4)
            reading = _readers(f"ws://127.0.0.1:{port}/ws", args.readers, args.seconds)
            before, told = _cpu_s(running.pid), _told(reading)
            cpu, memory = _cpu_s(running.pid) - before, rss_mib(running.pid, most=True)
            alone = _told(direct)
    orders = json.loads(book.read_text())
    return Run(
        *(told["quotes"], args.seconds, told["delays_ms"], _missing(told["orders"], orders), len(orders)),
        *(cpu, memory, alone["delays_ms"], _share(told["by_second"], alone["by_second"], args.readers)),
    )


@contextmanager
def _source(place: Place, rate: float, book: Path) -> Iterator[str]:
    port = free_port()
    command = [sys.executable, "-m", "bench.stream_source", str(port), str(rate), str(book)]
    with process(command, {}, place.scratch / "source.log"):
        time.sleep(1.0)  # it has no page to be asked for; whoever comes too early comes again
        yield f"https://127.0.0.1:{port}"


def _readers(url: str, count: int, seconds: float) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "bench.stream_readers", url, str(count), str(seconds), json.dumps(COMMANDS)]
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "BENCH_KEY": KEY}
    return subprocess.Popen(command, env=env, stdout=subprocess.PIPE)  # noqa: S603  # no shell


def _told(reading: subprocess.Popen[bytes]) -> dict[str, Any]:
    out, _ = reading.communicate(timeout=120)
    if reading.returncode:
        raise NotStarted("the readers ended early")
    return dict(json.loads(out))


def _share(ours: Mapping[str, int], direct: Mapping[str, int], readers: int) -> float:
    both = ours.keys() & direct.keys()
    return sum(ours[second] for second in both) / readers / max(1, sum(direct[second] for second in both))


def _missing(heard: Sequence[Sequence[int]], orders: Sequence[int]) -> int:
    """Orders placed between the first and the last that any reader heard of, and not heard of by one of them."""
    if not heard or not all(heard):
        return len(orders) * len(heard)
    first, last = max(each[0] for each in heard), min(each[-1] for each in heard)
    wanted = {number for number in orders if first <= number <= last}
    return sum(len(wanted - set(each)) for each in heard)


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def _at(delays: Mapping[str, int], share: float) -> float:
    """So late at most came this share of all quotes, milliseconds."""
    left = share * sum(delays.values())
    for delay in sorted(delays, key=int):
        left -= delays[delay]
        if left <= 0:
            return float(delay)
    return math.inf


def _targets(runs: Mapping[str, Sequence[Run]]) -> tuple[Target, ...]:
    ours, bare = runs[BRIDGE], runs[BARE]
    added = [_at(run.delays_ms, 0.99) - _at(run.direct_ms, 0.5) for run in ours]
    ratio = median(one.per_second / other.per_second for one, other in zip(ours, bare, strict=True))
    return (
        Target("orders a reader never heard of", 0, sum(run.missing for run in ours)),
        Target("p99 of the delay the bridge adds to a quote, ms", 25, median(added)),
        Target("quotes told, of those that IBKR said, %", 99, median(100 * run.share for run in ours), at_least=True),
        Target("largest resident memory, MiB", 150, max(run.memory_mib for run in ours)),
        Target("quotes that reach readers in a second, × the bare fan-out", 0.6, ratio, at_least=True),
    )


def _lines(args: argparse.Namespace, head: Sequence[Sequence[str]], runs: Mapping[str, Sequence[Run]]) -> list[str]:
    return [
        "# What readers of the stream get",
        "Written by `make bench-streams`; nothing here is typed by hand. "
        f"{args.readers} websockets read {CONTRACTS} contracts,\norders and trades each, while IBKR says "
        f"{args.rate:,} things a second about those contracts and fills ten orders:\n"
        f"{args.readers * args.rate:,} quotes a second are to be told. Simulated Gateway, program and readers share "
        "the machine's cores.\nThe yardstick is `bench/stream_bare.py`: aiohttp's websockets, and a loop that tells "
        "everybody everything.",
        table(("", ""), head),
        table(("target", "limit", "measured", "met"), map(judged, _targets(runs))),
        table(COLUMNS, (_row(name, run) for name, each in runs.items() for run in each)),
        "The delay is from IBKR's word to the reader; all quotes that arrive in one piece count as late as the oldest\n"
        "of them. That of one reader at the Gateway itself, in the same seconds, is what the way to the program\n"
        "takes, and is taken off in the target.",
    ]


COLUMNS = (
    "program",
    "quotes/s told",
    "of those said",
    "delay p50",
    "p99",
    "at the Gateway p50",
    "CPU",
    "memory",
    "orders",
    "missing",
)


def _row(name: str, run: Run) -> tuple[str, ...]:
    delays = _at(run.delays_ms, 0.5), _at(run.delays_ms, 0.99), _at(run.direct_ms, 0.5)
    share = f"{run.cpu_s / (run.seconds + 6):.0%}"  # warm-up and the wait for late orders included
    counts = f"{run.memory_mib:.0f} MiB", f"{run.orders:,}", f"{run.missing:,}"
    return name, f"{run.per_second:,.0f}", f"{run.share:.1%}", *(f"{delay:.0f} ms" for delay in delays), share, *counts


if __name__ == "__main__":
    sys.exit(main())
