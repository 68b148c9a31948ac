"""The layout: who may import whom, which modules are pure, which names are gone, and that pages and code agree."""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from ibkr_bridge.api.routes import ROUTES
from ibkr_bridge.client import client, request
from ibkr_bridge.client.request import OWN_READ_ROUTES
from ibkr_bridge.clock import SystemClock
from ibkr_bridge.conditions.condition import KINDS
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
from ibkr_bridge.upstream.http import exchange

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "ibkr_bridge"
FLOORS = (  # from the top; a package may import those of the floors below its own, and itself
    ("cli",),
    ("daemon",),
    ("application",),
    ("api",),
    ("server", "observe"),
    ("profiles",),
    ("orders", "session", "cache", "limits", "quirks", "streaming", "upstream"),
    ("calls", "translation", "history", "oauth", "vault"),
    ("conditions",),
    ("config", "ibkr", "supervision", "state_file", "models"),
    ("errors", "events", "clock", "redaction", "file_trust", "program_name"),
    ("__init__",),
)
BESIDE = {  # packages on no floor, what they may import besides themselves, and who may import them
    "client": ({"config", "ibkr", "errors", "redaction", "models", "program_name", "__init__"}, {"cli"}),
    "sim": (set[str](), {"cli"}),
    "alerts": ({"config", "clock", "program_name", "conditions"}, {"cli"}),
}
OBSERVE_IMPORTS = {"profiles", "conditions", "__init__", "events", "redaction", "config", "supervision", "clock"}
TESTED_THROUGH_THE_SOCKET = """
    sim/api_host/authority.py sim/api_host/registry.py sim/api_host/rules.py
    sim/gateway/connection.py sim/gateway/responder.py sim/gateway/sockets.py
    sim/market/accounts.py sim/market/contracts.py sim/market/dispatch.py sim/market/history_farm.py
    sim/market/listener.py sim/market/misc_calls.py sim/market/order_calls.py
    sim/market/order_lists.py sim/market/portfolio.py sim/market/quote_calls.py
    sim/market/server.py sim/market/session_calls.py sim/market/table.py sim/market/tampering.py sim/market/world.py
    sim/market/feeds/feed.py sim/market/feeds/greetings.py sim/market/feeds/ladders.py sim/market/feeds/table.py
    sim/market_stage.py
"""
"""Modules without a test file of their own: parts of the simulated servers. `tests/sim` calls them as clients do."""
SHAPES = {
    f"models/{name}.py"
    for name in (
        "accounts",
        "bridge",
        "connections",
        "history",
        "instruments",
        "orders",
        "problem",
        "profiles",
        "quotes",
        "session",
    )
}
"""Shapes without logic: `tests/models/test_base.py` checks them all, and the tests of `translation` fill them."""
PURE_MODULES = """
    errors.py redaction.py
    client/content_encoding.py client/errors.py client/reply.py client/request.py client/responses.py
    config/value_types.py
    alerts/alert_state.py alerts/messages.py
    ibkr/bodies.py ibkr/catalogue.py ibkr/endpoint.py ibkr/json_spans.py
    calls/body_scan.py calls/content_encoding.py calls/facts.py calls/header_policy.py calls/order_tickets.py
    calls/parameters.py
    cache/response_cache.py
    history/availability.py history/records.py
    limits/admission_queue.py limits/sliding_window.py
    oauth/assertions.py oauth/base_string.py oauth/credential.py oauth/dh_parameters.py oauth/handshake_ration.py
    oauth/live_session_token.py oauth/refusals.py oauth/signing.py oauth/signing_keys.py oauth/third_party.py
    orders/journal/index.py orders/journal/transitions.py
    orders/reconciliation/ibkr_rows.py orders/reconciliation/matching.py
    orders/reconciliation/modify_matching.py orders/reconciliation/schedule.py
    orders/response.py orders/rules/order_value.py orders/rules/rules.py orders/tickets.py
    models/accounts.py models/base.py models/bridge.py models/history.py models/instruments.py models/orders.py
    models/problem.py
    models/quotes.py models/session.py
    quirks/snapshot_fields.py
    server/refusal_names.py server/request_target.py server/tokens.py server/user_messages.py
    ibkr/reads.py translation/accounts.py translation/classes.py translation/instruments.py translation/numbers.py
    translation/order_answers.py translation/orders.py translation/quotes.py
    translation/ticket_changes.py translation/refusals.py translation/tickets.py
    session/backoff.py session/dh_token_failures.py session/maintenance.py session/preflight.py
    session/state_machine.py session/unavailable.py
    streaming/clock_skew.py streaming/deduplication.py streaming/market_data_lines.py streaming/protocol.py
    streaming/replay_buffer.py
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
    """A package without a floor would be checked by no rule of imports."""
    packages = {package_of(path) for path in modules()}

    assert packages <= {name for floor in FLOORS for name in floor} | set(BESIDE)


def test_imports_go_down_the_floors() -> None:
    """A reader of a package needs to know only the packages below it."""
    assert forbidden_imports() == set()


@pytest.mark.parametrize("path", sorted((PACKAGE / "sim").rglob("*.py")), ids=lambda path: path.stem)
def test_the_simulator_is_the_other_side_of_the_wire(path: Path) -> None:
    """The simulator must not share code with the bridge, which it is used to test."""
    inner = {name for name in imported(path) if name.startswith("ibkr_bridge.")}

    assert all(name.startswith("ibkr_bridge.sim") for name in inner)


@pytest.mark.parametrize("name", PURE)
def test_pure_modules_import_no_clock_socket_or_log(name: str) -> None:
    """A pure module is tested with values alone."""
    assert not {module.split(".")[0] for module in imported(PACKAGE / name)} & IMPURE


def test_no_import_leads_back_to_itself() -> None:
    """Modules that import each other in a circle can be understood and imported only together."""
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


def test_calls_import_only_the_catalogue_errors_and_redaction() -> None:
    """Every package that handles calls imports `calls`, so `calls` must import few others."""
    known = {name for path in modules() if package_of(path) == "calls" for name in packages_imported(path)}

    assert known <= {"ibkr", "errors", "redaction"}


def test_tasks_outside_the_supervisor_say_what_they_outlive() -> None:
    """A task without an owner needs a comment that gives the reason."""
    tasks = {
        line.strip()
        for path in modules()
        if path.name not in ("supervision.py", "daemon.py")
        for line in path.read_text().splitlines()
        if "asyncio.create_task(" in line
    }

    assert [line for line in tasks if "# outlives" not in line] == []


BELOW_SERVER = {name for floor in FLOORS[FLOORS.index(("profiles",)) :] for name in floor}


@pytest.mark.parametrize("path", list(modules()), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_only_handlers_import_the_application(path: Path) -> None:
    """No module below `server` imports aiohttp's server, and one file declares its typed keys."""
    names = imported(path)

    assert package_of(path) not in BELOW_SERVER or not {"aiohttp.web"} & names
    assert path.name == "app_keys.py" or "AppKey(" not in path.read_text()


GATEWAYS_OWN = ("GatewayClient", "CookieStore", "GATEWAY_TRAITS", "WebSocketFactory")


def test_only_the_roads_and_the_upstream_name_the_gateways_classes() -> None:
    """All other modules use the protocol, so another upstream needs no change above `upstream/`."""
    naming = {
        str(path.relative_to(PACKAGE))
        for path in modules()
        if package_of(path) != "upstream" and any(name.endswith(GATEWAYS_OWN) for name in imported(path))
    }

    assert naming == {"profiles/roads.py"}


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


def test_no_retired_name_is_used() -> None:
    """Each of them was replaced by the word of the field; docs/contributing.md says how names are chosen."""
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


def rows_of(page: str, *columns: str) -> list[tuple[str, ...]]:
    """The rows of a page whose first cells match the patterns, with the group of each pattern."""
    pattern = "".join(rf"\| {column} " for column in columns)
    found = re.findall(rf"^{pattern}\|", (ROOT / page).read_text(), re.MULTILINE)
    return [row if isinstance(row, tuple) else (row,) for row in found]


def names_on(page: str, name: str = r"`([a-z_.]+)`") -> list[str]:
    """The names in the first column of a page's tables, sorted."""
    return sorted(row[0] for row in rows_of(page, name))


def test_the_page_of_events_has_each_event_once() -> None:
    """Operators search the journal by these names, and a row of an event that is gone would mislead them."""
    named = {kind.event for kind in every_event(Event)} - {Event.event}

    assert names_on("docs/events.md") == sorted(named)


def every_event(kind: type[Event]) -> Iterator[type[Event]]:
    """An event class and all below it, without the families that are never published."""
    for each in kind.__subclasses__():
        if "event" in vars(each):
            yield each
        yield from every_event(each)


def test_every_module_has_its_test_file() -> None:
    """The tests of a module stand at the mirrored path, so nobody has to search for them."""
    names = {str(path.relative_to(PACKAGE)) for path in PACKAGE.rglob("*.py") if not path.name.startswith("__")}
    without = {name for name in names if not mirror(name).exists()}

    assert without == set(TESTED_THROUGH_THE_SOCKET.split()) | SHAPES


def mirror(name: str) -> Path:
    """The file with the tests of a module."""
    module = Path(name)
    return ROOT / "tests" / module.parent / f"test_{module.stem}.py"


def test_every_package_says_what_it_is_for() -> None:
    """A reader of a folder opens its `__init__.py` first, so that file has a docstring."""
    without_docstring = [
        path for path in PACKAGE.rglob("__init__.py") if not ast.get_docstring(ast.parse(path.read_text()))
    ]

    assert without_docstring == []


def parameters_of(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> set[str]:
    """The parameters of a function, or of the constructor of a class."""
    if isinstance(node, ast.ClassDef):
        constructors = [each for each in node.body if isinstance(each, ast.FunctionDef) and each.name == "__init__"]
        fields = {each.target.id for each in node.body if isinstance(each, ast.AnnAssign) if hasattr(each.target, "id")}
        return parameters_of(constructors[0]) if constructors else fields
    args = node.args
    listed = (*args.posonlyargs, *args.args, *args.kwonlyargs, args.vararg, args.kwarg)
    return {each.arg for each in listed if each is not None}


def documented(docstring: str, section: str) -> set[str]:
    """The names in one section of a docstring."""
    text = re.search(rf"^{section}:\n((?:    .*\n?|\n)+)", docstring, re.MULTILINE)
    names = re.findall(r"^    ([\w., ]+):", text[1], re.MULTILINE) if text else []
    return {name.strip() for each in names for name in each.split(",")}


def unknown_parameters(path: Path) -> Iterator[str]:
    """The parameters that the docstrings of a module name and its code does not have."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, kinds):
            names = documented(ast.get_docstring(node) or "", "Args") - parameters_of(node)
            yield from (f"{dotted(path)}.{node.name}: {name}" for name in names)


def test_docstrings_name_only_existing_parameters() -> None:
    """A parameter that was renamed in the code alone misleads the readers of its docstring."""
    assert [each for path in modules() for each in unknown_parameters(path)] == []


def test_observers_know_only_what_they_report() -> None:
    """The bridge must work without `observe`, so `observe` imports only what it reports."""
    known = {package for path in modules() if package_of(path) == "observe" for package in packages_imported(path)}

    assert known <= OBSERVE_IMPORTS


def unwanted_modules(module: str, unwanted: str) -> str:
    """The unwanted modules that a new Python has loaded after it imported a module, as Python prints the list."""
    code = f"import sys, {module}; print([m for m in sys.modules if m.startswith({unwanted})])"
    process = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    return process.stdout.strip()


def test_the_daemon_imports_nothing_of_the_commands_or_the_simulator() -> None:
    """The HTTP client of the commands, cryptography and the simulator would only take memory."""
    unwanted = "('requests', 'cryptography', 'urllib3', 'ibind', 'pydantic', 'ibkr_bridge.sim')"

    assert unwanted_modules("ibkr_bridge.cli.serve", unwanted) == "[]"


def test_the_client_imports_nothing_of_the_daemon() -> None:
    """A program that imports the client loads requests, but no server."""
    unwanted = (
        "('aiohttp', 'structlog', 'asyncio', 'ibkr_bridge.server.app_keys', 'ibkr_bridge.upstream', 'ibkr_bridge.sim')"
    )

    assert unwanted_modules("ibkr_bridge.client", unwanted) == "[]"


def test_the_client_has_the_figures_and_routes_of_the_bridge() -> None:
    """Both sides have a copy, since neither may import the other."""
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
    """The settings that the code reads."""
    sources = [ast.parse((PACKAGE / f"config/{name}.py").read_text()) for name in ("settings", "alert_settings")]
    strings = {
        node.value
        for source in sources
        for node in ast.walk(source)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    return {text for text in strings if re.fullmatch(r"IBKR_[A-Z_]+", text)}


def test_the_example_file_and_the_reader_agree() -> None:
    """The example file has each setting once, and no name that the bridge does not read."""
    assert sorted(example_names()) == sorted(read_names())


def test_the_page_of_settings_has_each_setting_once() -> None:
    """A row of a setting that is gone would promise an effect that the bridge does not have."""
    assert names_on("docs/settings.md", "`(IBKR_[A-Z_]+)`") == sorted(example_names())


def test_the_example_file_has_no_usable_key() -> None:
    """The bridge refuses the key of an unchanged copy and says what to write."""
    text = (ROOT / ".env.example").read_text()

    assert "IBKR_BRIDGE_KEY=REPLACE_WITH_REAL_KEY" in text
    assert all(f"{name}_FILE" in (ROOT / "docs" / "settings.md").read_text() for name in SECRET_NAMES)


def test_the_page_of_errors_has_each_code_with_its_status() -> None:
    """Programs switch on the codes, and people look them up with the status that they got."""
    documented_codes = rows_of("docs/errors.md", "`([a-z_]+)`", r"(\d+)")

    assert sorted(documented_codes) == sorted((error.code, str(error.status)) for error in error_classes())


def test_the_page_for_trouble_has_each_code_and_state_once() -> None:
    """A person searches the page for the code, the state or the condition that the bridge reports."""
    page = (ROOT / "docs" / "troubleshooting.md").read_text()
    named = {*(error.code for error in error_classes()), *(state.value for state in SessionState)}
    others = set(KINDS) - set(REASONS.values())  # a condition of the session has the reason of its state

    assert names_on("docs/troubleshooting.md", "`([a-z_]+)`") == sorted(named | others)
    assert [reason for reason in REASONS.values() if f"`{reason}`" not in page] == []


def paths_named_in(package: str) -> set[str]:
    """Our own paths that are strings in the code of a package; docstrings do not count."""
    nodes = [
        node for path in sorted((PACKAGE / package).rglob("*.py")) for node in ast.walk(ast.parse(path.read_text()))
    ]
    texts = {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    return texts & {spelling for route in ROUTES for spelling in route.spellings}


@pytest.mark.parametrize("package", ["server", "profiles", "streaming", "session", "orders"])
def test_only_the_api_names_our_own_paths(package: str) -> None:
    """A route with a new path is then changed in one place."""
    assert paths_named_in(package) == set()


MAP = "docs/architecture.md"


def module_names(paths: Iterable[Path]) -> list[str]:
    """The modules among some files as the map names them, sorted; no `__init__.py`."""
    return sorted(str(path.relative_to(PACKAGE)) for path in paths if path.name != "__init__.py")


def section_of(page: str, heading: str) -> str:
    """The text below a heading of a page, up to the next heading."""
    return (ROOT / page).read_text().partition(f"\n{heading}\n")[2].partition("\n## ")[0]


def test_the_map_and_the_tree_agree() -> None:
    """A reader finds each module and each package on the map, and nothing that is gone."""
    simulator = [path for path in PACKAGE.rglob("*.py") if "sim" in path.relative_to(PACKAGE).parts]
    packages = {str(path.parent.relative_to(PACKAGE)) for path in modules() if path.name == "__init__.py"} - {"."}
    drawn_packages = re.findall(r"`([a-z_/]+)/`", section_of(MAP, "## The tree"))

    assert names_on(MAP, r"`([a-z_/]+\.py)`") == module_names(modules())
    assert names_on(MAP, r"(sim/[a-z_/]+\.py)") == module_names(simulator)
    assert sorted(drawn_packages) == sorted(packages | {"sim"})


def test_both_pages_show_the_floors() -> None:
    """A floor that is wrong on a page sends a new module to the wrong place."""
    rows = re.findall(r"^\| \d+ \| (.*?) \|", section_of(MAP, "## Who may import whom"), re.MULTILINE)
    in_short = re.search(
        r"^`cli` → .*?$(?:\n\S.*)*", section_of("docs/contributing.md", "## Import rules"), re.MULTILINE
    )

    assert in_short is not None
    assert [floor_of(row) for row in rows] == [set(floor) for floor in FLOORS]
    assert [floor_of(part) for part in in_short[0].split("→")] == [set(floor) for floor in FLOORS[:-1]]


def floor_of(text: str) -> set[str]:
    """The packages that a cell of the floors names."""
    return set(re.findall(r"`(?:ibkr_bridge\.)?(\w+)`", text))


@pytest.mark.parametrize("page", ["README.md", "docs/contributing.md"])
def test_each_measurement_has_a_row(page: str) -> None:
    """A measurement without a row is never run by a reader of the page."""
    targets = re.findall(r"^(bench[a-z-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE)

    assert names_on(page, r"`make (bench[a-z-]*)`") == sorted(targets)


def test_the_diagram_is_the_table() -> None:
    """The diagram of the session is generated from its table of transitions."""
    from tools.diagram import draw

    assert draw() in (ROOT / "docs" / "architecture.md").read_text()


def test_the_diagram_of_orders_is_the_table() -> None:
    """The diagram of orders is generated from the transitions of the journal."""
    from tools.diagram import draw_orders

    assert draw_orders() in (ROOT / "docs" / "orders.md").read_text()


def test_the_page_of_endpoints_is_the_table() -> None:
    """The page of endpoints is generated from the catalogue."""
    from tools.endpoints import page

    assert page() == (ROOT / "docs" / "endpoints.md").read_text()


async def test_the_table_of_stages_is_the_list() -> None:
    """A reader follows a call with this table, so it must have every stage in its order."""
    page = (ROOT / "docs" / "architecture.md").read_text()
    rows = re.findall(r"^\| (\d+) \| `(\w+)` `", page, re.MULTILINE)
    stages = [*(type(stage).__name__ for stage in profile_for_tests().pipeline.stages), "Dispatch"]

    assert rows == [(str(number), stage) for number, stage in enumerate(stages, start=1)]


async def test_the_table_of_loops_has_every_loop() -> None:
    """The table says who starts each loop, what ends it and what it may raise."""
    page = (ROOT / "docs" / "architecture.md").read_text()
    loops = {
        f"{loop.__self__.__class__.__name__}.{loop.__name__}"
        for loop in profile_for_tests().loops()
        if inspect.ismethod(loop)
    } | {"LoopMonitor.run_loop", "ServiceStatus.watchdog_loop"}

    assert len(loops) == 11
    assert [loop for loop in sorted(loops) if f"`{loop}`" not in page] == []


def profile_for_tests() -> Profile:
    """A profile whose loops do not run, so it sends nothing."""
    settings = Settings.from_env({"IBKR_BRIDGE_KEY": "k" * 40})
    return build_profile("main", settings, SystemClock(), Bus(), Redactor(), ProfileOptions())


TASKS = {
    *(
        "daemon.py",
        "supervision.py",
        "streaming/upstream_feed.py",
        "limits/address_ceiling.py",
    ),  # in task groups, which wait for them
    "streaming/return_probe.py",  # waited for and cancelled in the function that makes it
    *("upstream/http/client.py", "cache/singleflight.py"),  # what must outlive its caller
    "upstream/oauth/access.py",  # the same: one attempt serves all callers
    "api/page/live.py",  # awaited where it is made
    "vault/postgres_store.py",  # listens for changes; cancelled and awaited when the store is closed
    "profiles/key_making.py",  # one for each profile that makes keys; cancelled when the profile or the bridge ends
    "profiles/manager.py",  # one for each profile, which the manager cancels and awaits
    "orders/journal/repository.py",  # reads rows for all who wait for them; cancelled when the journal is closed
}


def test_tasks_are_made_in_few_places() -> None:
    """The error of a task that nobody waits for is lost."""
    making = {
        str(path.relative_to(PACKAGE))
        for path in modules()
        if re.search(r"create_task|ensure_future", path.read_text())
    }

    assert making == TASKS


def test_the_repr_of_settings_shows_no_key() -> None:
    """The settings in a log line or a traceback must not show a key."""
    settings = Settings.from_env({"IBKR_BRIDGE_KEY": "canary-canary-canary-canary-canary"})

    assert "canary" not in repr(settings)


@pytest.mark.parametrize("word", ["[.][.]/share[d]", "/wor[k]/", "pypi[.]or[g]", "registry[.]npm[j]s"])
def test_no_file_names_a_machine_or_a_registry(word: str) -> None:
    """The files of the project must be correct on every machine."""
    found = subprocess.run(
        ["git", "grep", "-lE", word, "--", "."],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert found.stdout == ""
