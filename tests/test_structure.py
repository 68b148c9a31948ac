"""The layout: who may import whom, what stays pure, which names are gone, and that pages and tree agree."""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ibkr_bridge.api.routes import ROUTES
from ibkr_bridge.client import client, request
from ibkr_bridge.client.request import OWN_READ_ROUTES
from ibkr_bridge.clock import SystemClock
from ibkr_bridge.config.settings import Settings
from ibkr_bridge.config.sources import SECRET_NAMES
from ibkr_bridge.errors import error_classes
from ibkr_bridge.events import Bus, Event
from ibkr_bridge.ibkr.endpoint import Effect
from ibkr_bridge.profiles.factory import build_profile
from ibkr_bridge.profiles.options import ProfileOptions
from ibkr_bridge.profiles.profile import Profile
from ibkr_bridge.redaction import Redactor
from ibkr_bridge.server import request_parsing, request_target
from ibkr_bridge.session.state_machine import REASONS, SessionState
from ibkr_bridge.upstream.gateway import exchange

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "ibkr_bridge"
FLOORS = (  # from the top; a package may import those of the floors below its own, and itself
    ("cli",),
    ("daemon",),
    ("api",),
    ("server", "observe"),
    ("profiles",),
    ("orders", "session", "cache", "limits", "quirks", "streaming", "upstream"),
    ("calls",),
    ("config", "ibkr", "supervision", "state_file"),
    ("errors", "events", "clock", "redaction", "file_trust"),
    ("__init__",),
)
BESIDE = {  # packages on no floor, what they may import besides themselves, and who may import them
    "client": ({"config", "ibkr", "errors", "redaction", "__init__"}, {"cli"}),
    "sim": (set[str](), {"cli"}),
}
OBSERVE_IMPORTS = {"profiles", "events", "redaction", "config", "supervision", "clock"}
TESTED_THROUGH_THE_SOCKET = """
    sim/gateway/connection.py sim/gateway/responder.py sim/gateway/sockets.py
    sim/market/accounts.py sim/market/contracts.py sim/market/dispatch.py sim/market/history_farm.py
    sim/market/holdings.py sim/market/listener.py sim/market/misc_calls.py sim/market/order_calls.py
    sim/market/order_lists.py sim/market/portfolio.py sim/market/quote_calls.py sim/market/quotes.py
    sim/market/server.py sim/market/session_calls.py sim/market/table.py sim/market/tampering.py sim/market/world.py
    sim/market/feeds/feed.py sim/market/feeds/greetings.py sim/market/feeds/ladders.py sim/market/feeds/table.py
    sim/market_stage.py
"""
"""Modules without a test file of their own: parts of the simulated servers. `tests/sim` calls them as clients do."""
PURE_MODULES = """
    errors.py redaction.py
    client/content_encoding.py client/errors.py client/reply.py client/request.py client/responses.py
    config/value_types.py
    ibkr/bodies.py ibkr/catalogue.py ibkr/endpoint.py ibkr/json_spans.py
    calls/body_scan.py calls/content_encoding.py calls/facts.py calls/header_policy.py calls/order_tickets.py
    calls/parameters.py
    cache/response_cache.py
    limits/admission_queue.py limits/sliding_window.py
    orders/journal/index.py orders/journal/transitions.py
    orders/reconciliation/ibkr_rows.py orders/reconciliation/matching.py
    orders/reconciliation/modify_matching.py orders/reconciliation/schedule.py
    orders/response.py orders/rules/order_value.py orders/rules/rules.py orders/tickets.py
    quirks/snapshot_fields.py
    server/request_target.py server/tokens.py
    session/backoff.py session/maintenance.py session/preflight.py session/state_machine.py session/unavailable.py
    streaming/deduplication.py streaming/market_data_lines.py streaming/protocol.py streaming/replay_buffer.py
    streaming/snapshot.py streaming/stale_reasons.py streaming/topic_silence.py streaming/views.py
"""
PURE = sorted(PURE_MODULES.split())
IMPURE = {"aiohttp", "asyncio", "logging", "structlog", "time", "socket", "requests", "os", "random"}


def modules() -> Iterator[Path]:
    """Every module but those of the simulator."""
    return (path for path in sorted(PACKAGE.rglob("*.py")) if "sim" not in path.relative_to(PACKAGE).parts)


def package_of(path: Path) -> str:
    """The package that a module belongs to."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(path: Path) -> set[str]:
    """The modules a file imports, at the top or later."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def packages_imported(path: Path) -> set[str]:
    """The packages of the bridge that a file imports, its own left out."""
    names = {name.split(".")[1] for name in imported(path) if name.startswith("ibkr_bridge.")}
    known = {name for floor in FLOORS for name in floor} | set(BESIDE)
    return (names & known) - {package_of(path)}


def may_import(package: str) -> set[str]:
    """The packages that a package may import."""
    if package in BESIDE:
        return BESIDE[package][0]
    depth = next(depth for depth, floor in enumerate(FLOORS) if package in floor)
    below = {name for floor in FLOORS[depth + 1 :] for name in floor}
    return below | {name for name, (_, users) in BESIDE.items() if package in users}


def forbidden_imports() -> set[tuple[str, str]]:
    """Each import that the floors forbid: the module, and the package that it imports."""
    return {
        (str(path.relative_to(PACKAGE)), package)
        for path in modules()
        for package in packages_imported(path) - may_import(package_of(path))
    }


def test_every_package_has_a_floor() -> None:
    """A new package has to find its place."""
    packages = {package_of(path) for path in modules()}

    assert packages <= {name for floor in FLOORS for name in floor} | set(BESIDE)


def test_imports_go_down_the_floors() -> None:
    """A package can be read with what lies below it, and nothing else."""
    assert forbidden_imports() == set()


@pytest.mark.parametrize("path", sorted((PACKAGE / "sim").rglob("*.py")), ids=lambda path: path.stem)
def test_the_simulator_is_the_other_side_of_the_wire(path: Path) -> None:
    """It must not borrow what it is there to test."""
    inner = {name for name in imported(path) if name.startswith("ibkr_bridge.")}

    assert all(name.startswith("ibkr_bridge.sim") for name in inner)


@pytest.mark.parametrize("name", PURE)
def test_rules_touch_no_clock_no_socket_no_log(name: str) -> None:
    """They can be read, and tested, without a machine around them."""
    assert not {module.split(".")[0] for module in imported(PACKAGE / name)} & IMPURE


def test_no_import_leads_back_to_itself() -> None:
    """A circle of modules can only be understood, and imported, as a whole."""
    graph = {dotted(path): {name for name in imported(path) if name.startswith("ibkr_bridge.")} for path in modules()}

    assert circle(graph) is None


def dotted(path: Path) -> str:
    """A module's name as imports write it."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def circle(graph: dict[str, set[str]]) -> str | None:
    """The first module found from which imports lead back to it; None if there is none."""
    done: set[str] = set()
    for start, first in graph.items():
        stack, path = [(start, iter(first))], [start]
        while stack:
            name, targets = stack[-1]
            target = next((each for each in targets if each in graph and each not in done), None)
            if target is None:
                done.add(name)
                stack.pop()
                path.pop()
            elif target in path:
                return " → ".join([*path[path.index(target) :], target])
            else:
                stack.append((target, iter(graph[target])))
                path.append(target)
    return None


INSIDE_ORDERS = (  # from the top; a part may import those below it, and itself
    ("service",),
    ("submission",),
    ("questions",),
    ("exchange",),
    ("reconciliation", "replay", "serialization", "suppressed_questions"),
    ("request", "response", "tickets"),
    ("rules",),
    ("journal",),
)


def test_imports_inside_orders_go_down_as_well() -> None:
    """The journal knows no other part of `orders`, and the rules know no order in flight."""
    depth = {part: number for number, parts in enumerate(INSIDE_ORDERS) for part in parts}
    wrong = set()
    for path in (PACKAGE / "orders").rglob("*.py"):
        part = path.relative_to(PACKAGE / "orders").parts[0].removesuffix(".py")
        names = {name.split(".")[2] for name in imported(path) if name.startswith("ibkr_bridge.orders.")}
        wrong |= {(part, name) for name in names - {part} if depth[name] <= depth[part]}

    assert wrong == set()


def test_calls_know_only_what_ibkr_says_and_our_errors() -> None:
    """They stand between everything that handles calls."""
    known = {name for path in modules() if package_of(path) == "calls" for name in packages_imported(path)}

    assert known <= {"ibkr", "errors", "redaction"}


def test_tasks_outside_the_supervisor_say_what_they_outlive() -> None:
    """A task that nobody waits for needs a reason beside it."""
    tasks = {
        line.strip()
        for path in modules()
        if path.name not in ("supervision.py", "daemon.py")
        for line in path.read_text().splitlines()
        if "asyncio.create_task(" in line
    }

    assert [line for line in tasks if "# outlives" not in line] == []


BELOW_SERVER = {name for floor in FLOORS[4:] for name in floor}


@pytest.mark.parametrize("path", list(modules()), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_only_handlers_know_an_application(path: Path) -> None:
    """Below `server` nothing knows aiohttp's server; its typed keys stand in one file."""
    names = imported(path)

    assert package_of(path) not in BELOW_SERVER or not {"aiohttp.web"} & names
    assert path.name == "app_keys.py" or "AppKey(" not in path.read_text()


GATEWAYS_OWN = ("GatewayClient", "CookieStore", "GATEWAY_TRAITS", "WebSocketFactory")


def test_only_the_factory_and_the_upstream_name_the_gateways_classes() -> None:
    """Everything else knows the protocol, so that another upstream needs no change above `upstream/`."""
    naming = {
        str(path.relative_to(PACKAGE))
        for path in modules()
        if package_of(path) != "upstream" and any(name.endswith(GATEWAYS_OWN) for name in imported(path))
    }

    assert naming == {"profiles/factory.py"}


RETIRED_MODULES = (
    *("app", "line", "trip", "explaining", "masking", "files", "pulse", "telling", "spans", "reading", "values"),
    *("traffic", "composed", "calling", "stream", "web", "ordering", "search", "desk", "dealing", "wish", "retelling"),
    *("seek", "evidence", "rows", "register", "book", "ledger", "envoy", "ration", "calendar", "machine", "view"),
    *("room", "turns", "beside", "manners", "courtesy", "firsts", "look", "worth", "jar", "wire", "door", "again"),
    "twins",
)
RETIRED_CLASSES = (
    *("Line", "Trip", "Visit", "Wish", "Errand", "Asked", "Standing", "Desk", "Seeker", "Verdict", "Ledger", "Turns"),
    *("Room", "Guest", "Courtesy", "Firsts", "Envoy", "Ration", "Scrubber", "Pulse", "Doorkeeper", "Explaining"),
    *("Manners", "Spent", "Again", "Fact", "Beside", "Penalty", "Jar", "Answer", "Rest", "LongPaces", "Reads"),
)
RETIRED_VARIABLES = (
    *("told", "asked", "said", "heard", "given", "kept", "known", "seen", "opened", "shown", "wish", "errand"),
    *("guest", "flight", "passenger", "patience", "longer", "scrubber", "trip", "visit", "most", "shortest", "largest"),
    *("wishes", "anew", "why", "brake"),
)
RETIRED_CODES = (
    *("bad_key", "foreign_host", "foreign_origin", "too_large", "order_limit", "confirm_needed", "paced"),
    *("session_down", "journal_down", "line_limit", "gateway_silent", "gateway_garbled", "gateway_denies_us"),
    *("bridge_silent", "bridge_cut_off", "ibkr_trouble", "stream_silent", "stream_cut", "stream_poison"),
)


def test_retired_names_stay_away() -> None:
    """Each was replaced by the field's own word; docs/contributing.md says how names are chosen."""
    parts = {part for path in modules() for part in path.relative_to(PACKAGE).with_suffix("").parts}
    trees = [ast.parse(path.read_text()) for path in modules()]
    classes = {node.name for tree in trees for node in ast.walk(tree) if isinstance(node, ast.ClassDef)}
    strings = {node.value for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Constant)}
    names = {node.id for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Name)}
    parameters = {node.arg for tree in trees for node in ast.walk(tree) if isinstance(node, ast.arg)}

    assert parts & set(RETIRED_MODULES) == set()
    assert classes & set(RETIRED_CLASSES) == set()
    assert (names | parameters) & set(RETIRED_VARIABLES) == set()
    assert strings & set(RETIRED_CODES) == set()


def test_every_event_stands_on_its_page() -> None:
    """Operators search the journal by these names."""
    page = (ROOT / "docs" / "events.md").read_text()
    named = {kind.event for kind in every_event(Event)} - {Event.event}

    assert [name for name in sorted(named) if f"`{name}`" not in page] == []


def every_event(kind: type[Event]) -> Iterator[type[Event]]:
    """An event class and all below it, without the families that are never published."""
    for each in kind.__subclasses__():
        if "event" in vars(each):
            yield each
        yield from every_event(each)


def test_every_module_has_its_test_file() -> None:
    """Whoever changes a module finds its tests without a search."""
    names = {str(path.relative_to(PACKAGE)) for path in PACKAGE.rglob("*.py") if not path.name.startswith("__")}
    without = {name for name in names if not mirror(name).exists()}

    assert without == set(TESTED_THROUGH_THE_SOCKET.split())


def mirror(name: str) -> Path:
    """Where the tests of a module stand."""
    module = Path(name)
    return ROOT / "tests" / module.parent / f"test_{module.stem}.py"


def test_every_package_says_what_it_is_for() -> None:
    """In its `__init__.py`: the first thing that a reader of a folder opens."""
    silent = [path for path in PACKAGE.rglob("__init__.py") if not ast.get_docstring(ast.parse(path.read_text()))]

    assert silent == []


def parameters_of(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> set[str]:
    """What a function takes; of a class what it is made of."""
    if isinstance(node, ast.ClassDef):
        made = [each for each in node.body if isinstance(each, ast.FunctionDef) and each.name == "__init__"]
        fields = {each.target.id for each in node.body if isinstance(each, ast.AnnAssign) if hasattr(each.target, "id")}
        return parameters_of(made[0]) if made else fields
    given = node.args
    listed = (*given.posonlyargs, *given.args, *given.kwonlyargs, given.vararg, given.kwarg)
    return {each.arg for each in listed if each is not None}


def documented(docstring: str, section: str) -> set[str]:
    """The names in one section of a docstring."""
    text = re.search(rf"^{section}:\n((?:    .*\n?|\n)+)", docstring, re.MULTILINE)
    names = re.findall(r"^    ([\w., ]+):", text[1], re.MULTILINE) if text else []
    return {name.strip() for each in names for name in each.split(",")}


def unknown_parameters(path: Path) -> Iterator[str]:
    """What a module's docstrings name as parameters and its code does not."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, kinds):
            names = documented(ast.get_docstring(node) or "", "Args") - parameters_of(node)
            yield from (f"{dotted(path)}.{node.name}: {name}" for name in names)


def test_docstrings_name_the_parameters_there_are() -> None:
    """A name that was changed in the code alone leads every reader astray."""
    assert [each for path in modules() for each in unknown_parameters(path)] == []


def test_observers_know_only_what_they_report() -> None:
    """If deleting `observe` would change behaviour, something is on the wrong side."""
    known = {package for path in modules() if package_of(path) == "observe" for package in packages_imported(path)}

    assert known <= OBSERVE_IMPORTS


def brought_along(module: str, unwanted: str) -> str:
    """Those of the unwanted that a fresh Python holds once it has imported a module, as it prints them."""
    code = f"import sys, {module}; print([m for m in sys.modules if m.startswith({unwanted})])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_the_daemon_imports_only_what_it_serves_with() -> None:
    """Neither the command line's HTTP client, nor cryptography, nor the simulator lies in its memory."""
    unwanted = "('requests', 'cryptography', 'urllib3', 'ibind', 'pydantic', 'ibkr_bridge.sim')"

    assert brought_along("ibkr_bridge.cli.serve", unwanted) == "[]"


def test_the_client_brings_nothing_of_the_daemon_along() -> None:
    """A program that imports it gets requests, not a server."""
    unwanted = (
        "('aiohttp', 'structlog', 'asyncio', 'ibkr_bridge.server.app_keys', 'ibkr_bridge.upstream', 'ibkr_bridge.sim')"
    )

    assert brought_along("ibkr_bridge.client", unwanted) == "[]"


def test_the_client_knows_the_bridges_own_figures_and_routes() -> None:
    """They stand on both sides of the wire, as neither side may import the other."""
    reads = [
        route.path for route in ROUTES if (route.method, route.effect, route.endless) == ("GET", Effect.READ, False)
    ]

    assert sorted(OWN_READ_ROUTES) == sorted(reads)
    assert (client.GATEWAY_CONNECT_S, client.BODY_FACTOR) == (exchange.CONNECT_TIMEOUT_S, exchange.BODY_FACTOR)
    assert request.MAX_WAIT_S == request_parsing.MAX_WAIT_S
    assert request.MAX_TARGET_BYTES == request_target.MAX_TARGET_BYTES


def example_names() -> list[str]:
    """The settings of the example file, in its order."""
    text = (ROOT / ".env.example").read_text()
    return re.findall(r"^#? ?(IBKR_[A-Z_]+)=", text, re.MULTILINE)


def read_names() -> set[str]:
    """The settings that the reader asks for."""
    source = ast.parse((PACKAGE / "config/settings.py").read_text())
    strings = {
        node.value for node in ast.walk(source) if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    return {text for text in strings if re.fullmatch(r"IBKR_[A-Z_]+", text)}


def test_the_example_file_and_the_reader_agree() -> None:
    """Each setting is offered once, and nothing is offered that nobody reads."""
    assert sorted(example_names()) == sorted(read_names())


def test_every_setting_stands_in_the_docs() -> None:
    """With its default and meaning."""
    docs = (ROOT / "docs" / "settings.md").read_text()

    assert [name for name in example_names() if f"`{name}`" not in docs] == []


def test_the_example_file_asks_for_a_real_key() -> None:
    """Copied as it is, it is refused with the mend."""
    text = (ROOT / ".env.example").read_text()

    assert "IBKR_BRIDGE_KEY=REPLACE_WITH_REAL_KEY" in text
    assert all(f"{name}_FILE" in (ROOT / "docs" / "settings.md").read_text() for name in SECRET_NAMES)


def test_every_error_code_stands_in_the_docs() -> None:
    """Programs switch on them, people look them up."""
    docs = (ROOT / "docs" / "errors.md").read_text()

    assert [error.code for error in error_classes() if f"`{error.code}`" not in docs] == []
    assert all(f"| {error.status} |" in docs for error in error_classes())


def test_every_code_and_state_stands_in_the_page_for_trouble() -> None:
    """From symptom to cause, whatever the symptom."""
    page = (ROOT / "docs" / "troubleshooting.md").read_text()
    named = [*(error.code for error in error_classes()), *(state.value for state in SessionState)]

    assert [name for name in named if f"| `{name}` |" not in page] == []
    assert [reason for reason in REASONS.values() if f"`{reason}`" not in page] == []


def paths_named_in(package: str) -> set[str]:
    """The paths of our own that stand as text in a package's code, docstrings left out."""
    nodes = [
        node for path in sorted((PACKAGE / package).rglob("*.py")) for node in ast.walk(ast.parse(path.read_text()))
    ]
    texts = {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    return texts & {spelling for route in ROUTES for spelling in route.spellings}


@pytest.mark.parametrize("package", ["server", "profiles", "streaming", "session", "orders"])
def test_our_own_paths_are_named_in_the_api_alone(package: str) -> None:
    """A route that moves has to be changed in one place."""
    assert paths_named_in(package) == set()


def test_the_map_and_the_tree_agree() -> None:
    """Every module stands on the map, and nothing else does."""
    chart = (ROOT / "docs" / "architecture.md").read_text()
    drawn = set(re.findall(r"^\| `([a-z_/]+\.py)` \|", chart, re.MULTILINE))
    there = {str(path.relative_to(PACKAGE)) for path in modules() if path.stat().st_size and path.name != "__init__.py"}

    assert drawn == there


def test_the_diagram_is_the_table() -> None:
    """The session's picture is drawn from its moves, not from memory."""
    from tools.diagram import draw

    assert draw() in (ROOT / "docs" / "architecture.md").read_text()


def test_the_diagram_of_orders_is_the_table() -> None:
    """Likewise."""
    from tools.diagram import draw_orders

    assert draw_orders() in (ROOT / "docs" / "orders.md").read_text()


def test_the_page_of_endpoints_is_the_table() -> None:
    """Written from the catalogue, not from memory."""
    from tools.endpoints import page

    assert page() == (ROOT / "docs" / "endpoints.md").read_text()


async def test_the_table_of_stages_is_the_list() -> None:
    """A reader follows a call by it, so a stage that is missing there is missing in their head."""
    page = (ROOT / "docs" / "architecture.md").read_text()
    rows = re.findall(r"^\| (\d+) \| `(\w+)` `", page, re.MULTILINE)
    stages = [*(type(stage).__name__ for stage in profile_for_tests().pipeline.stages), "Dispatch"]

    assert rows == [(str(number), stage) for number, stage in enumerate(stages, start=1)]


async def test_every_loop_is_accounted_for() -> None:
    """The page says who starts each loop, what ends it, and what it may raise."""
    page = (ROOT / "docs" / "architecture.md").read_text()
    loops = {
        f"{loop.__self__.__class__.__name__}.{loop.__name__}"
        for loop in profile_for_tests().loops()
        if inspect.ismethod(loop)
    } | {"LoopMonitor.run_loop", "ServiceStatus.watchdog_loop"}

    assert len(loops) == 11
    assert [loop for loop in sorted(loops) if f"`{loop}`" not in page] == []


def profile_for_tests() -> Profile:
    """A profile that sends nothing."""
    settings = Settings.from_env({"IBKR_BRIDGE_KEY": "k" * 40})
    return build_profile("main", settings, SystemClock(), Bus(), Redactor(), ProfileOptions())


TASKS = {
    *("daemon.py", "supervision.py", "streaming/upstream_feed.py"),  # in groups: whoever made them waits for them
    "streaming/return_probe.py",  # waited for and cancelled in the function that makes it
    *("upstream/gateway/client.py", "cache/singleflight.py"),  # what must outlive its caller
    "orders/journal/repository.py",  # reads rows for all who wait for them; cancelled when the journal is closed
}


def test_tasks_are_made_in_few_places() -> None:
    """A task nobody waits for dies in silence."""
    making = {
        str(path.relative_to(PACKAGE))
        for path in modules()
        if re.search(r"create_task|ensure_future", path.read_text())
    }

    assert making == TASKS


def test_settings_stay_out_of_repr() -> None:
    """A settings object in a log line shows no key."""
    settings = Settings.from_env({"IBKR_BRIDGE_KEY": "canary-canary-canary-canary-canary"})

    assert "canary" not in repr(settings)


@pytest.mark.parametrize("word", ["[.][.]/share[d]", "/wor[k]/", "pypi[.]or[g]", "registry[.]npm[j]s"])
def test_the_project_speaks_of_itself_alone(word: str) -> None:
    """No path of a machine, no host of a registry."""
    found = subprocess.run(
        ["git", "grep", "-lE", word, "--", "."],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert found.stdout == ""
