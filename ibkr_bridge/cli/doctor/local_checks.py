"""Findings about this machine: settings, keys, program, state directory, service. Facts in, findings out."""

from __future__ import annotations

from collections.abc import Iterator

from ibkr_bridge.cli.check import describe
from ibkr_bridge.cli.doctor.collect import Facts
from ibkr_bridge.cli.doctor.finding import Finding, Layer
from ibkr_bridge.cli.doctor.state_facts import StateFacts
from ibkr_bridge.conditions.rules import MIN_FREE_BYTES
from ibkr_bridge.config.env_reader import DEMO_KEY, GENKEY_HINT
from ibkr_bridge.program_name import INSTALLED_NAME, PROGRAM

MIN_PYTHON = "3.11"
MIN_KEY_CHARACTERS = 12  # different ones; a random key of 32 characters has 20 or more
EXIT_MISCONFIGURED = "78"  # as systemd prints it
HUNG_DISK = "look at the disk: `df`, `dmesg`; a network file system may hang"


def settings_source(facts: Facts) -> Iterator[Finding]:
    """Where the settings come from, and who can read them."""
    sources, expected = facts.sources, "a file that only its owner can read"
    if sources.demo_url is not None:
        found = f"those of the running demo at {sources.demo_url}; no others name a bridge"
        yield Finding(Layer.SETTINGS, "settings", found)
    elif not sources.exists:
        yield Finding(Layer.SETTINGS, "settings", "from the environment; there is no .env file")
    elif sources.is_readable_by_others:
        found = f"{sources.dotenv} can be read by other users, and the key with it"
        yield Finding(Layer.SETTINGS, "settings", found, expected, f"chmod 600 {sources.dotenv}")
    else:
        yield Finding(Layer.SETTINGS, "settings", f"{sources.dotenv}, readable by its owner alone")


def misread_lines(facts: Facts) -> Iterator[Finding]:
    """Lines of the file that mean something else to systemd."""
    for found in facts.sources.misread_lines:
        expected = "NAME=value: no comment after it, no backslash, no spaces around the name"
        yield Finding(Layer.SETTINGS, "lines", found, expected, f"correct the line in {facts.sources.dotenv}")


def near_misses(facts: Facts) -> Iterator[Finding]:
    """Names that set nothing."""
    for name, meant in facts.sources.near_misses:
        found = f"{name} is no setting, and sets nothing"
        yield Finding(Layer.SETTINGS, "names", found, meant, f"did you mean {meant}? rename it, or remove the line")


def keys(facts: Facts) -> Iterator[Finding]:
    """Whether the keys can be guessed or read."""
    expected = "32 random characters that only the service can read"
    is_weak = any(len(set(key)) < MIN_KEY_CHARACTERS for key in facts.settings.secrets)
    is_public = DEMO_KEY in facts.settings.secrets and not facts.sources.is_of_demo
    if is_public:
        yield Finding(Layer.SETTINGS, "key", "it is the key of the demo, which everybody knows", expected, GENKEY_HINT)
    elif is_weak:
        yield Finding(Layer.SETTINGS, "key", "it repeats a few characters, and can be guessed", expected, GENKEY_HINT)
    else:
        names = "the full key" + (" and a read-only key" if facts.settings.readonly_key else "")
        yield Finding(Layer.SETTINGS, "key", f"{names}, long enough")
    for path in facts.sources.open_secrets:
        yield Finding(Layer.SETTINGS, "key file", f"{path} can be read by other users", expected, f"chmod 600 {path}")


def guards(facts: Facts) -> Iterator[Finding]:
    """What orders may do."""
    texts = dict(describe(facts.settings))
    yield Finding(Layer.SETTINGS, "guards", f"{texts['mode']}; accounts: {texts['accounts']}; value: {texts['value']}")


def program(facts: Facts) -> Iterator[Finding]:
    """Python, and the parser in C, without which a hostile request costs many times more."""
    found = f"{facts.program.python} at {facts.program.executable}"
    yield Finding(Layer.PROGRAM, "python", found, f"{MIN_PYTHON} or later")
    if facts.program.has_c_parser:
        yield Finding(Layer.PROGRAM, "parser", "HTTP is parsed in C")
    else:
        fix = "remove AIOHTTP_NO_EXTENSIONS from the environment, or install aiohttp again from a wheel"
        yield Finding(Layer.PROGRAM, "parser", "HTTP is parsed in Python", "the parser in C", fix)


def state_directory(facts: Facts) -> Iterator[Finding]:
    """Whether the bridge can use its state directory."""
    state, expected = facts.state, "a directory that the bridge's user owns and can write"
    if state is None:
        yield Finding(Layer.STATE, "state", "the state directory does not answer", expected, HUNG_DISK)
    elif not state.path:
        fix = "set IBKR_BRIDGE_STATE_DIR to a directory the bridge can write"
        yield Finding(Layer.STATE, "state", "no state directory", expected, fix)
    elif state.private_problem:
        fix = f"make it the bridge user's own: chown {_owner(facts)} {state.path} && chmod 700 {state.path}"
        yield Finding(Layer.STATE, "state", f"{state.path}: {state.private_problem}", expected, fix)
    elif state.unwritable:
        fix = f"make it writable for the bridge's user: chown {_owner(facts)} {state.unwritable}"
        yield Finding(Layer.STATE, "state", f"{state.unwritable} cannot be written", expected, fix)
    else:
        yield Finding(Layer.STATE, "state", state.path)


def _owner(facts: Facts) -> str:
    return INSTALLED_NAME if facts.unit is not None and facts.unit.is_installed else "$USER"


def disk(facts: Facts) -> Iterator[Finding]:
    """The space on the disk of the state directory, and the files in it; nothing if there is no directory yet."""
    state = facts.state
    if state is None or state.free_bytes is None:
        return  # `state` says what is wrong
    free = f"{state.free_bytes // (1024 * 1024)} MiB free on the disk of the state directory"
    if state.file_problem:
        fix = f"make the files its own again: chown -R {_owner(facts)} {state.path}"
        yield Finding(Layer.STATE, "files", state.file_problem, "files that the bridge's user owns", fix)
    expected = f"{MIN_FREE_BYTES // (1024 * 1024)} MiB"
    fix = "" if state.free_bytes >= MIN_FREE_BYTES else "make space: without it every order is refused"
    yield Finding(Layer.STATE, "disk", free, expected, fix)


def journal(facts: Facts) -> Iterator[Finding]:
    """Whether the record of orders is complete."""
    state = facts.state or StateFacts("")
    if not state.has_journal:
        yield Finding(Layer.STATE, "orders", "no order has been recorded yet")
    elif state.journal_flaw:
        fix = f"see what is wrong: {PROGRAM} orders verify; move the file away to begin a new one"
        yield Finding(Layer.STATE, "orders", state.journal_flaw, "entries that nobody has changed", fix)
    else:
        yield Finding(Layer.STATE, "orders", f"{state.journal_entries} entries in the journal, all unchanged")


def unit(facts: Facts) -> Iterator[Finding]:
    """The installed service; nothing if another bridge is meant, or if there is no systemd."""
    if facts.unit is None or not facts.unit.is_installed:
        return
    service, expected = facts.unit.service, "active"
    found = f"{service.get('ActiveState')}, {service.get('SubState')}"
    if facts.unit.is_failed and service.get("ExecMainStatus") == EXIT_MISCONFIGURED:
        fix = f"correct the settings (what is wrong: {INSTALLED_NAME} check), then systemctl restart {INSTALLED_NAME}"
        yield Finding(Layer.SERVICE, "unit", "it ended with 78: the settings cannot be used", expected, fix)
    elif facts.unit.is_failed:
        fix = f"systemctl restart {INSTALLED_NAME}; the cause: journalctl -u {INSTALLED_NAME} -n 50"
        yield Finding(Layer.SERVICE, "unit", f"{found}: {service.get('Result')}", expected, fix)
    elif facts.unit.is_stopped:
        yield Finding(Layer.SERVICE, "unit", f"it is stopped: {found}", expected, f"systemctl start {INSTALLED_NAME}")
    elif service.get("NeedDaemonReload") == "yes":
        found = "its files have changed since systemd read them"
        yield Finding(Layer.SERVICE, "unit", found, expected, "systemctl daemon-reload")
    else:
        yield Finding(Layer.SERVICE, "unit", f"{found}; restarts: {service.get('NRestarts')}")


def sandbox(facts: Facts) -> Iterator[Finding]:
    """Whether the service runs with the rights that were installed."""
    if facts.unit is None or not facts.unit.is_installed:
        return
    lost = facts.unit.lost_protections
    text = ", ".join(f"{name}={value}" for name, value in lost.items())
    fix = f"see the drop-ins: systemctl cat {INSTALLED_NAME}; or run deploy/install.sh again" if lost else ""
    yield Finding(Layer.SERVICE, "sandbox", text or "as installed", "the protections of the shipped unit", fix)


def port(facts: Facts) -> Iterator[Finding]:
    """Whether another program has the bridge's port."""
    if facts.bridge is None or not _is_port_taken(facts, facts.bridge.error_code):
        return
    fix = f"see who listens: ss -ltnp 'sport = :{facts.settings.url.port}'; stop it, or change IBKR_BRIDGE_URL"
    yield Finding(Layer.SERVICE, "port", facts.bridge.error, f"the bridge at {facts.settings.url}", fix)


def _is_port_taken(facts: Facts, error_code: str) -> bool:
    """Whether something answers that is no bridge, or accepts connections while neither service nor socket runs."""
    if error_code == "not_this_bridge":
        return True
    is_silent = error_code in ("bridge_timeout", "bridge_connection_lost")
    return is_silent and facts.unit is not None and facts.unit.is_installed and not facts.unit.is_running
