"""Plants faults in the code of the money path, one at a time, and counts how many the tests notice: `make mutation`.

Faults are those of cosmic-ray (another operator, number, exception, branch) and statements that are left out. Nothing
on the disk is changed: a fault is planted while a forked process imports the module, so that several can be tried at
once and a run that is killed leaves nothing behind. cosmic-ray's own runner writes each fault into the checkout and
starts Python anew for it, which takes four times as long.

A fault is *located* if the module's own test file fails, and *found* if another test of the same package does. A fault
that keeps the module from being imported does not count. The sample is drawn by a fixed seed. Survivors are listed in
the report, with the reason if `tools/mutation_explained.toml` has one.
"""

from __future__ import annotations

import argparse
import ast
import gc
import importlib
import importlib.util
import os
import random
import signal
import sys
import time
import tomllib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.machinery import ModuleSpec, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
TARGETS = (
    "ibkr_bridge/orders",
    "ibkr_bridge/profiles/dispatch.py",
    "ibkr_bridge/session",
    "ibkr_bridge/limits",
    "ibkr_bridge/cache",
    "ibkr_bridge/server/keyring.py",
)
EXPLAINED, REPORT = ROOT / "tools/mutation_explained.toml", ROOT / "bench/mutation.md"
SEED = 16
IMPORTED_ONCE = (
    *("aiohttp.web", "dotenv", "hypothesis.strategies", "jwt", "pytest", "pytest_asyncio", "requests", "structlog"),
    *("ibkr_bridge.sim.simulator", "ibkr_bridge.calls.reader", "ibkr_bridge.config.settings"),
    *("ibkr_bridge.upstream.gateway.client", "ibkr_bridge.streaming.service", "ibkr_bridge.quirks.composition"),
)
"""Imported before the first fork: they take most of a start, and import none of the modules with faults."""
PYTEST_ARGS = ("-x", "-q", "-m", "not slow", "-o", "addopts=", "-W", "ignore::pytest.PytestAssertRewriteWarning")
NO_PLUGINS = ("-p", "no:randomly", "-p", "no:xdist", "-p", "no:cacheprovider")
MIN_TIMEOUT_S = 6.0  # seconds of one test run with a fault in it; a fault that makes a test hang is noticed too
WANTED = 0.85
"""The part of the faults that has to be noticed."""
Span = tuple[int, int]


@dataclass(frozen=True)
class Fault:
    """One change of one module."""

    path: str
    line: int
    before: str
    after: str
    """The changed lines, without the space around them."""
    source: str = field(repr=False)
    """The whole module with the fault."""

    @property
    def module(self) -> str:
        """The dotted name of the module."""
        return self.path.removesuffix(".py").replace("/", ".")


@dataclass
class Outcome:
    """What became of the faults of one module."""

    located: int = 0
    found: int = 0
    survivors: list[Fault] = field(default_factory=list)

    @property
    def planted(self) -> int:
        """All faults that were tried."""
        return self.located + self.found + len(self.survivors)


# -- which faults there are


def modules() -> list[str]:
    """The modules in which faults are planted, relative to the root."""
    paths = [ROOT / target for target in TARGETS]
    files = (path for target in paths for path in ([target] if target.suffix else sorted(target.rglob("*.py"))))
    return [path.relative_to(ROOT).as_posix() for path in files if path.name != "__init__.py"]


def own_tests(path: str) -> str:
    """The test file of a module, in the mirrored tree."""
    package, _, name = path.removeprefix("ibkr_bridge/").rpartition("/")
    return f"tests/{package}/test_{name}"


def other_tests(path: str) -> list[str]:
    """The tests of the modules beside it."""
    own = ROOT / own_tests(path)
    return [each.relative_to(ROOT).as_posix() for each in sorted(own.parent.glob("test_*.py")) if each != own]


def faults_of(path: str, source: str) -> Iterator[list[Fault]]:
    """The places of a module at which faults can be planted; each with its possible faults."""
    for place in (*statement_faults(source), *expression_faults(source)):
        faults = [make_fault(path, source, changed) for changed in place]
        yield [each for each in faults if each.before != each.after]


def make_fault(path: str, source: str, changed: str) -> Fault:
    """The fault that makes `changed` of `source`."""
    old, new = source.splitlines(), changed.splitlines()
    first = next((at for at, pair in enumerate(zip(old, new, strict=False)) if pair[0] != pair[1]), 0)
    same_at_end = 0
    while same_at_end < min(len(old), len(new)) - first and old[-1 - same_at_end] == new[-1 - same_at_end]:
        same_at_end += 1
    before, after = old[first : len(old) - same_at_end], new[first : len(new) - same_at_end]
    return Fault(path, first + 1, joined(before), joined(after), changed)


def joined(lines: Sequence[str]) -> str:
    """Lines of code as one, for a table."""
    return " ".join(line.strip() for line in lines)


def statement_faults(source: str) -> Iterator[list[str]]:
    """Statements that can be left out: calls, raises, changes of an object, and what is returned."""
    skipped = spans_without_faults(source)
    for node in ast.walk(ast.parse(source)):
        replacement = replacement_of(node)
        if replacement is not None:
            start, end = span_of(source, node)
            if not is_inside(skipped, start, end):
                yield [(source.encode()[:start] + replacement.encode() + source.encode()[end:]).decode()]


def replacement_of(node: ast.AST) -> str | None:
    """What stands in place of a statement that is left out; None if it is not left out."""
    match node:
        case ast.Expr(value=ast.Call() | ast.Await()) | ast.Raise():
            return "pass"
        case ast.Assign(targets=[ast.Attribute() | ast.Subscript()]) | ast.AugAssign() | ast.Delete():
            return "pass"
        case ast.Return(value=ast.expr() as value) if not (isinstance(value, ast.Constant) and value.value is None):
            return "return None"
    return None


def expression_faults(source: str) -> Iterator[list[str]]:
    """The faults of cosmic-ray, those of one place together."""
    from cosmic_ray.ast import ast_nodes, get_ast
    from cosmic_ray.mutating import mutate_code
    from cosmic_ray.plugins import get_operator, operator_names

    skipped, lines = spans_without_faults(source), source.splitlines(keepends=True)
    offsets = [0, *(len("".join(lines[: at + 1]).encode()) for at in range(len(lines)))]
    places: dict[tuple[str, Span], list[str]] = defaultdict(list)
    nodes = list(ast_nodes(get_ast(source)))
    for name in operator_names():
        if "Variable" in name:  # these need the names of variables
            continue
        operator = get_operator(name)()
        positions = [position for node in nodes for position in operator.mutation_positions(node)]
        for occurrence, (start, end) in enumerate(positions):
            span = offsets[start[0] - 1] + start[1], offsets[end[0] - 1] + end[1]
            changed = None
            with suppress(AttributeError):  # it cannot replace a dotted name such as `asyncio.CancelledError`
                changed = None if is_inside(skipped, *span) else mutate_code(source, operator, occurrence)
            if changed is not None:
                places[name.rpartition("/")[2].partition("_")[0], span].append(changed)
    yield from places.values()


def spans_without_faults(source: str) -> list[Span]:
    """Annotations, which nothing evaluates, and `__repr__`, which nothing but a person reads."""
    spans = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            if node.name == "__repr__":
                spans.append(span_of(source, node))
            if node.returns is not None:
                spans.append(span_of(source, node.returns))
        elif isinstance(node, ast.arg | ast.AnnAssign) and node.annotation is not None:
            spans.append(span_of(source, node.annotation))
    return spans


def span_of(source: str, node: ast.AST) -> Span:
    """Where a node begins and ends, in bytes of the source."""
    lines = source.encode().splitlines(keepends=True)
    place: Any = node
    start = sum(map(len, lines[: place.lineno - 1])) + place.col_offset
    return start, sum(map(len, lines[: place.end_lineno - 1])) + place.end_col_offset


def is_inside(spans: Sequence[Span], start: int, end: int) -> bool:
    """Whether a span lies in one of these."""
    return any(first <= start and end <= last for first, last in spans)


def draw(seed: int, wanted: str) -> list[Fault]:
    """One fault for each place of the modules whose path contains `wanted`, in random order."""
    drawing = random.Random(seed)  # noqa: S311 - a sample, no secret
    sample = []
    for path in modules():
        if wanted in path:
            places = faults_of(path, (ROOT / path).read_text())
            sample += [drawing.choice(place) for place in places if place]
    drawing.shuffle(sample)
    return sample


# -- running the tests with a fault


class PlantingLoader(SourceFileLoader):
    """Loads a module with a fault in it."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.module, str(ROOT / fault.path))
        self._fault = fault

    def get_code(self, fullname: str) -> CodeType:
        """The code of the changed source."""
        return compile(self._fault.source, self.path, "exec", dont_inherit=True)


class PlantingFinder:
    """Finds one module, and leaves all others to those who come after."""

    def __init__(self, fault: Fault) -> None:
        self._fault = fault

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """See `importlib.abc.MetaPathFinder`."""
        if name != self._fault.module:
            return None
        return importlib.util.spec_from_file_location(name, ROOT / self._fault.path, loader=PlantingLoader(self._fault))


@dataclass
class TestRun:
    """A forked process that runs tests."""

    __test__ = False
    tests: tuple[str, ...]
    fault: Fault | None
    ends_at: float
    pid: int = 0

    def start(self) -> None:
        """Fork; the child runs the tests and ends with pytest's exit status."""
        self.pid = os.fork()
        if self.pid == 0:
            os.setsid()
            nowhere = os.open(os.devnull, os.O_RDWR)
            for stream in (0, 1, 2):
                os.dup2(nowhere, stream)
            os._exit(run_tests(self.tests, self.fault))

    def poll(self) -> int | None:
        """The exit status; None while it runs. A run that takes too long is killed, and has failed."""
        pid, status = os.waitpid(self.pid, os.WNOHANG)
        if pid == 0 and time.monotonic() < self.ends_at:
            return None
        if pid == 0:
            os.killpg(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
            return 1
        return 1 if os.WIFSIGNALED(status) else os.waitstatus_to_exitcode(status)


def run_tests(tests: Sequence[str], fault: Fault | None) -> int:
    """Run tests in this process. Returns pytest's exit status."""
    import pytest

    sys.dont_write_bytecode = True
    if fault is not None:
        sys.meta_path.insert(0, PlantingFinder(fault))
    return int(pytest.main([*PYTEST_ARGS, *NO_PLUGINS, *tests]))


class Campaign:
    """Tries the faults of a sample until it or the time is over.

    Args:
        jobs: how many at a time.
        also_others: whether other tests may find what the module's own missed.
    """

    def __init__(self, sample: list[Fault], jobs: int, ends_at: float, *, also_others: bool = True) -> None:
        self._sample, self._jobs, self._ends_at, self._also_others = sample, jobs, ends_at, also_others
        self._baseline_s: dict[tuple[str, ...], float] = {}
        self.outcomes: dict[str, Outcome] = {path: Outcome() for path in modules()}
        self.unusable = 0
        """Faults that keep the module from being imported."""

    def run(self) -> None:
        """Try all faults."""
        running: list[TestRun] = []
        waiting = self._sample[::-1]
        while running or (waiting and time.monotonic() < self._ends_at):
            while waiting and len(running) < self._jobs and time.monotonic() < self._ends_at:
                fault = waiting.pop()
                running.append(self._start((own_tests(fault.path),), fault))
            time.sleep(0.02)
            for each in list(running):
                status = each.poll()
                if status is not None:
                    running.remove(each)
                    running += self._handle(each, status)

    def _start(self, tests: tuple[str, ...], fault: Fault) -> TestRun:
        limit_s = MIN_TIMEOUT_S + 4 * self._baseline(tests)
        test_run = TestRun(tests, fault, time.monotonic() + limit_s)
        test_run.start()
        return test_run

    def _baseline(self, tests: tuple[str, ...]) -> float:
        """Seconds that these tests take without a fault; they must pass."""
        if tests not in self._baseline_s:
            began = time.monotonic()
            test_run = TestRun(tests, None, began + 600.0)
            test_run.start()
            while (status := test_run.poll()) is None:
                time.sleep(0.02)
            if status != 0:
                raise SystemExit(f"{' '.join(tests)} fails without a fault (pytest's exit status {status})")
            self._baseline_s[tests] = time.monotonic() - began
        return self._baseline_s[tests]

    def _handle(self, test_run: TestRun, status: int) -> list[TestRun]:
        """Count a run. Returns the one that follows it: what the module's own tests missed, others may find."""
        fault = test_run.fault
        assert fault is not None  # noqa: S101 - only a baseline has none
        outcome, is_own = self.outcomes[fault.path], test_run.tests == (own_tests(fault.path),)
        if status == 2:  # pytest could not collect
            self.unusable += 1
        elif status != 0:
            outcome.located += is_own
            outcome.found += not is_own
        elif is_own and self._also_others:
            return [self._start(tuple(other_tests(fault.path)), fault)]
        else:
            outcome.survivors.append(fault)
            print(f"survived: {fault.path}:{fault.line}  {fault.before}  →  {fault.after}", flush=True)
        return []


# -- the report


def report(outcomes: Mapping[str, Outcome], unusable: int, minutes: float, seed: int, place_count: int) -> str:
    """The report as a page."""
    reasons = explanations()
    tried = {path: outcome for path, outcome in outcomes.items() if outcome.planted}
    packages: dict[str, Outcome] = defaultdict(Outcome)
    for path, outcome in tried.items():
        for total in (packages[package_of(path)], packages["all"]):
            total.located += outcome.located
            total.found += outcome.found
            total.survivors += outcome.survivors
    survivors = sorted(packages["all"].survivors, key=lambda fault: (fault.path, fault.line))
    unexplained = [fault for fault in survivors if reason_of(fault, reasons) is None]
    head = "| {} | faults | located | found | survived | noticed |\n|---|---:|---:|---:|---:|---:|"
    return "\n".join(
        (
            "# Faults that the tests notice",
            "",
            f"Written by `make mutation`: {packages['all'].planted} faults in {minutes:.0f} minutes, drawn with seed "
            f"{seed} from {place_count} places. {unusable} more could not be imported and do not count. *Located* by "
            "the module's own test file, *found* by another test of its package.",
            "",
            head.format("package"),
            *(row(name, packages[name]) for name in sorted(packages)),
            "",
            head.format("module"),
            *(row(path.removeprefix("ibkr_bridge/"), outcome) for path, outcome in sorted(tried.items())),
            "",
            f"## Survivors: {len(survivors)}, {len(unexplained)} of them unexplained",
            "",
            *(survivor_lines(fault, reason_of(fault, reasons)) for fault in survivors),
            "",
        )
    )


def package_of(path: str) -> str:
    """The row of the first table that a module is counted in."""
    parts = path.split("/")
    return parts[1] if len(parts) > 2 and parts[1] not in ("profiles", "server") else "/".join(parts[1:])


def row(name: str, outcome: Outcome) -> str:
    """One row of a table."""
    noticed = (outcome.located + outcome.found) / outcome.planted
    counts = f"{outcome.planted} | {outcome.located} | {outcome.found} | {len(outcome.survivors)}"
    return f"| {name} | {counts} | {noticed:.0%} |"


def survivor_lines(fault: Fault, reason: str | None) -> str:
    """One survivor: where, what, why."""
    where = f"{fault.path.removeprefix('ibkr_bridge/')}:{fault.line}"
    return f"- `{where}`: `{fault.before}` → `{fault.after}`\n  {reason or '**not explained**'}"


def explanations() -> list[dict[str, str]]:
    """Why some faults need not be noticed; see the file."""
    return list(tomllib.loads(EXPLAINED.read_text())["fault"])


def reason_of(fault: Fault, reasons: Sequence[Mapping[str, str]]) -> str | None:
    """The reason why a fault need not be noticed: the first whose module and text fit."""
    return next(
        (
            each["why"]
            for each in reasons
            if each.get("module", "") in fault.path
            and each.get("before", "") in fault.before
            and each.get("after", fault.after) == fault.after
        ),
        None,
    )


def main() -> None:
    """Try faults for as long as the command says, and write the report."""
    arguments = argparse.ArgumentParser(description="plant faults and count how many the tests notice")
    arguments.add_argument("--minutes", type=float, default=30.0)
    arguments.add_argument(
        "--jobs", type=int, default=2 * (os.cpu_count() or 1), help="a test that hangs uses no processor"
    )
    arguments.add_argument("--seed", type=int, default=SEED)
    arguments.add_argument("--only", default="", help="a part of the module's path; prints the report instead")
    arguments.add_argument("--own", action="store_true", help="run the module's own tests only")
    options = arguments.parse_args()
    os.chdir(ROOT)
    for name in IMPORTED_ONCE:
        importlib.import_module(name)
    gc.freeze()  # the children share these pages
    began = time.monotonic()
    sample = draw(options.seed, options.only)
    campaign = Campaign(sample, options.jobs, began + options.minutes * 60, also_others=not options.own)
    campaign.run()
    page = report(campaign.outcomes, campaign.unusable, (time.monotonic() - began) / 60, options.seed, len(sample))
    if options.only:
        print(page)
    else:
        REPORT.write_text(page)
    total = sum(outcome.planted for outcome in campaign.outcomes.values())
    noticed = sum(outcome.located + outcome.found for outcome in campaign.outcomes.values())
    print(f"{noticed} of {total} faults were noticed")
    sys.exit(noticed < WANTED * total)


if __name__ == "__main__":
    main()
