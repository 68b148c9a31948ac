"""`python -m bench`, which `make bench` runs: measure, print, and keep it as `bench/results.md`.

Everything is loaded in one run, in turns. Ends with status 1 where it cannot measure, 0 otherwise, targets met or not:
the table says which.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path

from bench import wrk
from bench.about import about, say
from bench.greedy import greedy
from bench.processes import ROOT, NotStarted, free_port, process, rss_mib, until_answers
from bench.programs import (
    API,
    ASKED,
    AT_FAST_UPSTREAM,
    AT_SIMULATED_GATEWAY,
    BRIDGE,
    NGINX,
    UPSTREAM,
    WITH_KEY,
    Command,
    Place,
    Subject,
    environment,
    fast_upstream,
    nginx,
    simulated_gateway,
    started,
)
from bench.report import Race, Results, Rounds, render

MANY = 20  # clients
MARKS = 4  # how often memory is read on its way


@dataclass(frozen=True)
class Effort:
    """How long to look."""

    rounds: int
    rounds_simulated: int
    seconds: float
    """Of each load."""
    starts: int
    requests: int
    """That memory is watched over."""
    greedy: float
    """Seconds of the greedy minute."""


WHOLE = Effort(rounds=15, rounds_simulated=3, seconds=2, starts=7, requests=200_000, greedy=30)
QUICK = Effort(rounds=1, rounds_simulated=1, seconds=1, starts=1, requests=10_000, greedy=6)


def main() -> int:
    """Measure and tell."""
    args = _arguments()
    if shutil.which("wrk") is None:
        print("wrk is missing, the program that makes the load; on Debian and Ubuntu: apt install wrk", file=sys.stderr)
        return 1
    if nginx() is None:
        print("nginx is missing and left out; on Debian and Ubuntu: apt install nginx-light", file=sys.stderr)
    with tempfile.TemporaryDirectory(prefix="ibkr-bridge-bench-") as scratch:
        (Path(scratch) / ".env").touch(mode=0o600)  # else the bridge would read the checkout's own
        try:
            results = measured(Place(Path(scratch), args.yardsticks.absolute()), QUICK if args.quick else WHOLE)
        except (NotStarted, wrk.Spoiled) as exc:
            print(f"The bench ended early: {exc}", file=sys.stderr)
            return 1
    text = render(results)
    print(text)
    args.results.write_text(text)
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench", description="What the bridge costs, beside others.")
    parser.add_argument("--quick", action="store_true", help="a short look, too short for figures to be quoted")
    parser.add_argument(
        "--yardsticks", type=Path, default=ROOT / ".venv-bench/bin/python", help="a Python with FastAPI"
    )
    parser.add_argument("--results", type=Path, default=ROOT / "bench/results.md", help="where the tables are kept")
    return parser.parse_args()


def measured(place: Place, effort: Effort) -> Results:
    """Everything, one after the other; the head first, as the machine's load is that of others."""
    head = about(sys.executable, place.yardsticks)
    with fast_upstream(place) as upstream:
        say("racing against a fast upstream")
        fast = race(place, upstream, AT_FAST_UPSTREAM, effort.rounds, effort.seconds)
        say("watching memory")
        memory = watched(place, upstream, effort.requests)
        say("starting")
        starts = [seconds_to_health(place, upstream) for _ in range(effort.starts)]
    say("racing against the simulated Gateway")
    with simulated_gateway(place) as upstream:
        simulated = race(place, upstream, AT_SIMULATED_GATEWAY, effort.rounds_simulated, effort.seconds)
    say("being greedy")
    return Results(head, fast, simulated, greedy(place, effort.greedy), starts, memory)


def race(place: Place, upstream: str, commands: Mapping[str, Command], rounds: int, seconds: float) -> Race:
    """Start all, warm all up, then load each in turn, round by round."""
    with ExitStack() as doors:
        subjects = [doors.enter_context(each) for each in _programs(place, upstream, commands)]
        subjects.insert(0, Subject(UPSTREAM, upstream + API + ASKED, 0))
        for subject in subjects:
            wrk.load(subject.url, WITH_KEY, clients=MANY, seconds=1)
        found = {subject.name: Rounds() for subject in subjects}
        for _ in range(rounds):
            for subject in subjects:
                found[subject.name].one.append(wrk.load(subject.url, WITH_KEY, clients=1, seconds=seconds))
                found[subject.name].many.append(wrk.load(subject.url, WITH_KEY, clients=MANY, seconds=seconds))
    return found


def _programs(place: Place, upstream: str, commands: Mapping[str, Command]) -> list[AbstractContextManager[Subject]]:
    there = {name: command for name, command in commands.items() if name != NGINX or nginx()}
    return [started(name, command, place, upstream) for name, command in there.items()]


def watched(place: Place, upstream: str, requests: int) -> list[tuple[int, float]]:
    """Memory of a fresh bridge, at its start and at marks on its way through so many requests."""
    with started(BRIDGE, AT_FAST_UPSTREAM[BRIDGE], place, upstream) as bridge:
        served, seen = 0, [(0, rss_mib(bridge.pid))]
        for mark in range(1, MARKS + 1):
            while served < requests * mark / MARKS:
                served += wrk.load(bridge.url, WITH_KEY, clients=MANY, seconds=2).requests
            seen.append((served, rss_mib(bridge.pid)))
    return seen


def seconds_to_health(place: Place, upstream: str) -> float:
    """From exec of `bridge.py` to its first answer."""
    port = free_port()
    command, env = AT_SIMULATED_GATEWAY[BRIDGE](place, upstream, port), environment(place, upstream, port)
    began = time.monotonic()
    with process(command, env, place.scratch / f"{port}.log") as running:
        until_answers(running, port, "/health", {})
        return time.monotonic() - began


if __name__ == "__main__":
    sys.exit(main())
