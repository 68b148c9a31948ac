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
import functools
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
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.machinery import ModuleSpec, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any, cast

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
SAME_OR_UNUSABLE = ("Variable", "ReplaceComparisonOperator_Is_Eq", "ReplaceComparisonOperator_IsNot_NotEq")
"""Operators left out: they need the names of variables, or `==` for `is`, which is the same for members of an enum."""
WANTED = 0.85
"""The part of the faults that has to be noticed."""
Span = tuple[int, int]
Change = Callable[[], str | None]
"""Makes the source with a fault in it; None if there is none."""


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


def tests_beside(path: str) -> list[str]:
    """The tests of the folder of a module; the same list for all modules of a folder."""
    folder = (ROOT / own_tests(path)).parent
    return [each.relative_to(ROOT).as_posix() for each in sorted(folder.glob("test_*.py"))]


def draw_fault(path: str, source: str, place: list[Change], drawing: random.Random) -> Fault | None:
    """One of the faults that are possible at a place; None if there is none."""
    drawing.shuffle(place)
    for change in place:
        changed = change()
        if changed is not None and changed != source:
            return make_fault(path, source, changed)
    return None


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


def statement_faults(source: str) -> Iterator[str]:
    """The source without one statement: a call, a raise, a change of an object, or what is returned."""
    skipped = spans_without_faults(source)
    for node in ast.walk(ast.parse(source)):
        replacement = replacement_of(node)
        if replacement is not None:
            start, end = span_of(source, node)
            if not is_inside(skipped, start, end):
                yield (source.encode()[:start] + replacement.encode() + source.encode()[end:]).decode()


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


def expression_faults(source: str) -> Iterator[list[Change]]:
    """The faults of cosmic-ray, those of one place together."""
    from cosmic_ray.ast import ast_nodes, get_ast
    from cosmic_ray.mutating import mutate_code
    from cosmic_ray.plugins import get_operator, operator_names

    def change(operator: Any, occurrence: int) -> str | None:
        with suppress(AttributeError):  # it cannot replace a dotted name such as `asyncio.CancelledError`
            return cast("str | None", mutate_code(source, operator, occurrence))
        return None

    skipped, lines = spans_without_faults(source), source.encode().splitlines(keepends=True)
    places: dict[tuple[str, Span], list[Change]] = defaultdict(list)
    nodes = list(ast_nodes(get_ast(source)))
    for name in operator_names():
        if name.partition("/")[2].startswith(SAME_OR_UNUSABLE):
            continue
        operator = get_operator(name)()
        positions = [position for node in nodes for position in operator.mutation_positions(node)]
        for occurrence, (start, end) in enumerate(positions):
            span = offset(lines, *start), offset(lines, *end)
            if not is_inside(skipped, *span):
                places[name.partition("_")[0], span].append(functools.partial(change, operator, occurrence))
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
    lines, place = source.encode().splitlines(keepends=True), cast("Any", node)
    return offset(lines, place.lineno, place.col_offset), offset(lines, place.end_lineno, place.end_col_offset)


def offset(lines: Sequence[bytes], line: int, column: int) -> int:
    """The byte at which a place lies; lines are counted from 1."""
    return sum(map(len, lines[: line - 1])) + column


def is_inside(spans: Sequence[Span], start: int, end: int) -> bool:
    """Whether a span lies in one of these."""
    return any(first <= start and end <= last for first, last in spans)


def places(wanted: str) -> list[tuple[str, list[Change]]]:
    """The places of the modules whose path contains `wanted`, each with its module and the faults possible there."""
    found: list[tuple[str, list[Change]]] = []
    for path in modules():
        if wanted in path:
            source = (ROOT / path).read_text()
            found += [(path, [functools.partial(str, changed)]) for changed in statement_faults(source)]
            found += [(path, place) for place in expression_faults(source)]
    return found


def draw(all_places: list[tuple[str, list[Change]]], seed: int) -> Iterator[Fault]:
    """One fault for each place, in random order. A fault is made when it is wanted, since that takes a while."""
    drawing = random.Random(seed)  # noqa: S311 - a sample, no secret
    drawing.shuffle(all_places)
    for path, place in all_places:
        fault = draw_fault(path, (ROOT / path).read_text(), place, drawing)
        if fault is not None:
            yield fault


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

    def __init__(self, sample: Iterator[Fault], jobs: int, ends_at: float, *, also_others: bool = True) -> None:
        self._sample, self._jobs, self._ends_at, self._also_others = sample, jobs, ends_at, also_others
        self._baseline_s: dict[tuple[str, ...], float] = {}
        self.outcomes: dict[str, Outcome] = {path: Outcome() for path in modules()}
        self.unusable = 0
        """Faults that keep the module from being imported."""

    def run(self) -> None:
        """Try all faults."""
        running: list[TestRun] = []
        while True:
            while len(running) < self._jobs and time.monotonic() < self._ends_at:
                fault = next(self._sample, None)
                if fault is None:
                    break
                running.append(self._start((own_tests(fault.path),), fault))
            if not running:
                return
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
            return [self._start(tuple(tests_beside(fault.path)), fault)]
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
            and each.get("after", "") in fault.after
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
    all_places = places(options.only)
    campaign = Campaign(
        draw(all_places, options.seed), options.jobs, began + options.minutes * 60, also_others=not options.own
    )
    campaign.run()
    page = report(campaign.outcomes, campaign.unusable, (time.monotonic() - began) / 60, options.seed, len(all_places))
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
