"""`python -m bench.streams`, which `make bench-streams` runs: measure what two hundred readers receive, and how late.

The simulated Gateway sends messages about fifty contracts at a fixed rate, and ten orders a second are filled. Two
hundred websockets read all of it, in turns through the bridge and through the smallest fan-out with aiohttp. Each turn
takes a few seconds and there are several rounds, so that other work of the machine slows both. One more reader is
connected to the Gateway directly; its delay is what the way to the program takes.
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

from bench.about import describe_machine, print_progress
from bench.processes import ROOT, NotStarted, free_port, rss_mib, run_process, wait_until_answers
from bench.programs import KEY, Workspace, build_environment
from bench.report import Target, table, target_row

READERS, RATE, CONTRACTS = 200, 1000, 50
CONIDS = [265598, 272093, 8314, 76792991, 4815747, 3691937, 756733, *range(900_000_001, 900_000_044)]
COMMANDS = [*(f'smd+{conid}+{{"fields":["31","84","86"]}}' for conid in CONIDS), "sor+{}", "str+{}"]
BARE, BRIDGE = "bare aiohttp fan-out", "the bridge"
PROGRAMS: Mapping[str, list[str]] = {BARE: ["-m", "bench.stream_bare"], BRIDGE: [str(ROOT / "bridge.py")]}
DIRECT_EXTRA_S = 14.0  # how much longer the reader at the Gateway reads than the others
READERS_TIMEOUT_S = 120
UNCOUNTED_S = 6  # warm-up and order grace of the readers, during which the program uses CPU too
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass
class Run:
    """The figures of one turn of one program."""

    quotes: int
    seconds: float
    delays_ms: Mapping[str, int]
    """The number of quotes by delay."""
    missing: int
    """Orders that a reader did not receive, summed over all readers."""
    orders: int
    cpu_s: float
    memory_mib: float
    direct_ms: Mapping[str, int] = field(default_factory=dict)
    """The delays of the one reader at the Gateway."""
    share: float = 0.0
    """The share of that reader's quotes that each of the others received in the same seconds; conflation replaced the
    rest by newer ones."""

    @property
    def per_second(self) -> float:
        """The quotes that all readers together received in a second."""
        return self.quotes / self.seconds


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print and save; return the exit status."""
    args = _parse_arguments(arguments)
    with tempfile.TemporaryDirectory(prefix="ibkr-bridge-streams-") as scratch:
        workspace = Workspace(Path(scratch), Path(sys.executable))
        (workspace.scratch / ".env").touch(mode=0o600)  # without it the bridge would read the one of the checkout
        machine = describe_machine()
        try:
            runs = _run_all(workspace, args)
        except NotStarted as exc:
            print(f"The bench ended early: {exc}", file=sys.stderr)
            return 1
    text = "\n\n".join(_sections(args, machine, runs))
    print(text)
    if args.results is not None:
        args.results.write_text(f"{text}\n")
    return 0 if args.quick or all(target.is_met for target in _targets(runs)) else 1


def _parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="make bench-streams", description="Measure what many readers of the stream receive."
    )
    parser.add_argument("--quick", action="store_true", help="run one short round and save no tables")
    parser.add_argument("--rate", type=int, default=RATE, help=f"messages a second from IBKR (default: {RATE})")
    parser.add_argument("--readers", type=int, default=READERS, help=f"the number of readers (default: {READERS})")
    args = parser.parse_args(arguments)
    args.rounds, args.seconds = (1, 4.0) if args.quick else (3, 10.0)
    args.results = None if args.quick or (args.rate, args.readers) != (RATE, READERS) else ROOT / "bench/streams.md"
    return args


def _run_all(workspace: Workspace, args: argparse.Namespace) -> dict[str, list[Run]]:
    runs: dict[str, list[Run]] = {name: [] for name in PROGRAMS}
    for number in range(args.rounds):
        for name in PROGRAMS:
            print_progress(f"round {number + 1} of {args.rounds}: {name}")
            runs[name].append(_run_once(workspace, name, args))
    return runs


def _run_once(workspace: Workspace, name: str, args: argparse.Namespace) -> Run:
    orders_file, port = workspace.scratch / "orders.json", free_port()
    rate = 2 * args.rate  # the source divides its messages among its two sockets: the program and the direct reader
    with _run_source(workspace, rate, orders_file) as upstream:
        env = {**build_environment(workspace, upstream, port), "BENCH_COMMANDS": json.dumps(COMMANDS)}
        command = [sys.executable, *PROGRAMS[name], *([str(port)] if name == BARE else [])]
        with run_process(command, env, workspace.scratch / f"{port}.log") as program:
            wait_until_answers(program, port, "/health", {})
            # It starts before the others and ends after them, as the rate is divided among the connected sockets.
            direct_url = upstream.replace("http", "ws", 1) + "/v1/api/ws"
            direct_reader = _start_readers(direct_url, 1, args.seconds + DIRECT_EXTRA_S)
            time.sleep(DIRECT_EXTRA_S / 4)
            readers = _start_readers(f"ws://127.0.0.1:{port}/ws", args.readers, args.seconds)
            cpu_before_s, counts = _cpu_s(program.pid), _wait_for_counts(readers)
            cpu_s, memory_mib = _cpu_s(program.pid) - cpu_before_s, rss_mib(program.pid, is_peak=True)
            direct = _wait_for_counts(direct_reader)
    orders = json.loads(orders_file.read_text())
    return Run(
        quotes=counts["quotes"],
        seconds=args.seconds,
        delays_ms=counts["delays_ms"],
        missing=_count_missing(counts["orders"], orders),
        orders=len(orders),
        cpu_s=cpu_s,
        memory_mib=memory_mib,
        direct_ms=direct["delays_ms"],
        share=_received_share(counts["by_second"], direct["by_second"], args.readers),
    )


@contextmanager
def _run_source(workspace: Workspace, rate: float, orders_file: Path) -> Iterator[str]:
    port = free_port()
    command = [sys.executable, "-m", "bench.stream_source", str(port), str(rate), str(orders_file)]
    with run_process(command, {}, workspace.scratch / "source.log"):
        time.sleep(1.0)  # it has no page that shows whether it listens; clients that connect too early try again
        yield f"https://127.0.0.1:{port}"


def _start_readers(url: str, count: int, seconds: float) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "bench.stream_readers", url, str(count), str(seconds), json.dumps(COMMANDS)]
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "BENCH_KEY": KEY}
    return subprocess.Popen(command, env=env, stdout=subprocess.PIPE)  # noqa: S603  # no shell


def _wait_for_counts(readers: subprocess.Popen[bytes]) -> dict[str, Any]:
    """Return what the readers print at their end, see `ReaderCounts`."""
    out, _ = readers.communicate(timeout=READERS_TIMEOUT_S)
    if readers.returncode:
        raise NotStarted("the readers ended early")
    return dict(json.loads(out))


def _received_share(by_second: Mapping[str, int], direct: Mapping[str, int], readers: int) -> float:
    seconds = by_second.keys() & direct.keys()
    return sum(by_second[second] for second in seconds) / readers / max(1, sum(direct[second] for second in seconds))


def _count_missing(by_reader: Sequence[Sequence[int]], orders: Sequence[int]) -> int:
    """Count the orders that a reader did not receive, among those placed while every reader was connected."""
    if not by_reader or not all(by_reader):
        return len(orders) * len(by_reader)
    first, last = max(numbers[0] for numbers in by_reader), min(numbers[-1] for numbers in by_reader)
    expected = {number for number in orders if first <= number <= last}
    return sum(len(expected - set(numbers)) for numbers in by_reader)


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S


def _percentile(delays_ms: Mapping[str, int], share: float) -> float:
    """Return the delay in milliseconds that this share of all quotes does not exceed."""
    remaining = share * sum(delays_ms.values())
    for delay in sorted(delays_ms, key=int):
        remaining -= delays_ms[delay]
        if remaining <= 0:
            return float(delay)
    return math.inf


def _targets(runs: Mapping[str, Sequence[Run]]) -> tuple[Target, ...]:
    bridge, bare = runs[BRIDGE], runs[BARE]
    added_ms = [_percentile(run.delays_ms, 0.99) - _percentile(run.direct_ms, 0.5) for run in bridge]
    ratio = median(one.per_second / other.per_second for one, other in zip(bridge, bare, strict=True))
    share = median(100 * run.share for run in bridge)
    return (
        Target("orders that a reader did not receive", 0, sum(run.missing for run in bridge)),
        Target("p99 of the delay that the bridge adds to a quote, ms", 25, median(added_ms)),
        Target("quotes that reach a reader, of those that IBKR sends, %", 99, share, is_minimum=True),
        Target("largest resident memory, MiB", 150, max(run.memory_mib for run in bridge)),
        Target("quotes that reach readers in a second, × the bare fan-out", 0.6, ratio, is_minimum=True),
    )


def _sections(
    args: argparse.Namespace, machine: Sequence[Sequence[str]], runs: Mapping[str, Sequence[Run]]
) -> list[str]:
    return [
        "# What readers of the stream receive",
        "Written by `make bench-streams`; nothing here is typed by hand. "
        f"{args.readers} websockets read {CONTRACTS} contracts,\norders and trades each. IBKR sends "
        f"{args.rate:,} messages a second about those contracts, and ten orders a second are\nfilled. So "
        f"{args.readers * args.rate:,} quotes a second must reach the readers. Simulated Gateway, program and readers "
        "share\nthe machine's cores. The yardstick is `bench/stream_bare.py`: aiohttp's websockets, and a loop that "
        "sends every\nmessage to every reader.",
        table(("", ""), machine),
        table(("target", "limit", "measured", "met"), map(target_row, _targets(runs))),
        table(COLUMNS, (_run_row(name, run) for name, program_runs in runs.items() for run in program_runs)),
        "The delay is the time from IBKR's sending to the reader; all quotes of one chunk count with the delay of the\n"
        "oldest. The delay of the reader at the Gateway, in the same seconds, is what the way to the program takes;\n"
        "it is subtracted in the target.",
    ]


COLUMNS = (
    *("program", "quotes/s received", "share of those sent", "delay p50", "delay p99", "delay p50 at the Gateway"),
    *("CPU", "memory", "orders", "orders missing"),
)


def _run_row(name: str, run: Run) -> tuple[str, ...]:
    p50, p99 = _percentile(run.delays_ms, 0.5), _percentile(run.delays_ms, 0.99)
    return (
        name,
        f"{run.per_second:,.0f}",
        f"{run.share:.1%}",
        f"{p50:.0f} ms",
        f"{p99:.0f} ms",
        f"{_percentile(run.direct_ms, 0.5):.0f} ms",
        f"{run.cpu_s / (run.seconds + UNCOUNTED_S):.0%}",
        f"{run.memory_mib:.0f} MiB",
        f"{run.orders:,}",
        f"{run.missing:,}",
    )


if __name__ == "__main__":
    sys.exit(main())
