"""`python -m bench`, which `make bench` runs: measure, print the tables and save them as `bench/results.md`.

All programs are loaded in turns within one run. The exit status is 1 if the bench cannot measure, and 0 otherwise, even
if a target is not met: the table shows which.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from bench import wrk
from bench.about import describe_run, print_progress
from bench.greedy import measure_greedy_clients
from bench.processes import ROOT, NotStarted, free_port, rss_mib, run_process, wait_until_answers
from bench.programs import (
    API,
    BRIDGE,
    COMMANDS_FOR_FAST_UPSTREAM,
    COMMANDS_FOR_SIMULATED_GATEWAY,
    KEY_HEADERS,
    MEASURED_PATH,
    NGINX,
    UPSTREAM,
    Command,
    RunningProgram,
    Workspace,
    build_environment,
    find_nginx,
    run_fast_upstream,
    run_program,
    run_simulated_gateway,
)
from bench.report import Comparison, Results, Rounds, render

MANY_CLIENTS = 20
MEMORY_SAMPLES = 4  # how often memory is read between the first request and the last


@dataclass(frozen=True)
class Effort:
    """How long and how often to measure."""

    rounds: int
    rounds_simulated: int
    load_s: float
    """Length of each load."""
    starts: int
    memory_requests: int
    """The number of requests over which memory is watched."""
    greedy_s: float


FULL = Effort(rounds=15, rounds_simulated=3, load_s=2, starts=7, memory_requests=200_000, greedy_s=30)
QUICK = Effort(rounds=1, rounds_simulated=1, load_s=1, starts=1, memory_requests=10_000, greedy_s=6)


def main() -> int:
    """Measure, print and save; return the exit status."""
    args = _parse_arguments()
    if shutil.which("wrk") is None:
        print("wrk is missing, the program that makes the load; on Debian and Ubuntu: apt install wrk", file=sys.stderr)
        return 1
    if find_nginx() is None:
        print("nginx is missing and left out; on Debian and Ubuntu: apt install nginx-light", file=sys.stderr)
    with tempfile.TemporaryDirectory(prefix="ibkr-bridge-bench-") as scratch:
        (Path(scratch) / ".env").touch(mode=0o600)  # without it the bridge would read the one of the checkout
        workspace = Workspace(Path(scratch), args.yardsticks.absolute())
        try:
            results = measure_all(workspace, QUICK if args.quick else FULL)
        except (NotStarted, wrk.InvalidMeasurement) as exc:
            print(f"The bench ended early: {exc}", file=sys.stderr)
            return 1
    text = render(results)
    print(text)
    args.results.write_text(text)
    return 0


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench", description="Measure what the bridge costs, beside others.")
    parser.add_argument("--quick", action="store_true", help="measure briefly; such figures are too rough to be quoted")
    parser.add_argument(
        "--yardsticks", type=Path, default=ROOT / ".venv-bench/bin/python", help="a Python with FastAPI"
    )
    parser.add_argument("--results", type=Path, default=ROOT / "bench/results.md", help="the file for the tables")
    return parser.parse_args()


def measure_all(workspace: Workspace, effort: Effort) -> Results:
    """Make all measurements one after the other.

    The machine is described first, so that its load average does not include that of the bench.
    """
    machine = describe_run(sys.executable, workspace.yardstick_python)
    with run_fast_upstream(workspace) as upstream:
        print_progress("comparing in front of a fast upstream")
        fast = compare(workspace, upstream, COMMANDS_FOR_FAST_UPSTREAM, effort.rounds, effort.load_s)
        print_progress("watching memory")
        memory = measure_memory(workspace, upstream, effort.memory_requests)
        print_progress("measuring the start")
        starts = [measure_start_s(workspace, upstream) for _ in range(effort.starts)]
    print_progress("comparing in front of the simulated Gateway")
    with run_simulated_gateway(workspace) as upstream:
        simulated = compare(workspace, upstream, COMMANDS_FOR_SIMULATED_GATEWAY, effort.rounds_simulated, effort.load_s)
    print_progress("running the greedy clients")
    return Results(machine, fast, simulated, measure_greedy_clients(workspace, effort.greedy_s), starts, memory)


def compare(
    workspace: Workspace, upstream: str, commands: Mapping[str, Command], rounds: int, load_s: float
) -> Comparison:
    """Start all programs and warm them up, then load each in turn, round by round. nginx may be missing."""
    with ExitStack() as stack:
        programs = [
            stack.enter_context(run_program(name, command, workspace, upstream))
            for name, command in commands.items()
            if name != NGINX or find_nginx()
        ]
        programs.insert(0, RunningProgram(UPSTREAM, upstream + API + MEASURED_PATH, 0))
        for program in programs:
            wrk.run_load(program.url, KEY_HEADERS, clients=MANY_CLIENTS, seconds=1)
        loads = {program.name: Rounds() for program in programs}
        for _ in range(rounds):
            for name, url in ((program.name, program.url) for program in programs):
                loads[name].one.append(wrk.run_load(url, KEY_HEADERS, clients=1, seconds=load_s))
                loads[name].many.append(wrk.run_load(url, KEY_HEADERS, clients=MANY_CLIENTS, seconds=load_s))
    return loads


def measure_memory(workspace: Workspace, upstream: str, requests: int) -> list[tuple[int, float]]:
    """Return the memory of a new bridge at its start and several times during so many requests; see `Results`."""
    with run_program(BRIDGE, COMMANDS_FOR_FAST_UPSTREAM[BRIDGE], workspace, upstream) as bridge:
        served, samples = 0, [(0, rss_mib(bridge.pid))]
        for number in range(1, MEMORY_SAMPLES + 1):
            while served < requests * number / MEMORY_SAMPLES:
                served += wrk.run_load(bridge.url, KEY_HEADERS, clients=MANY_CLIENTS, seconds=2).requests
            samples.append((served, rss_mib(bridge.pid)))
    return samples


def measure_start_s(workspace: Workspace, upstream: str) -> float:
    """Return the seconds from exec of `bridge.py` to its first response."""
    port = free_port()
    command = COMMANDS_FOR_SIMULATED_GATEWAY[BRIDGE](workspace, upstream, port)
    env = build_environment(workspace, upstream, port)
    began = time.monotonic()
    with run_process(command, env, workspace.scratch / f"{port}.log") as program:
        wait_until_answers(program, port, "/health", {})
        return time.monotonic() - began


if __name__ == "__main__":
    sys.exit(main())
