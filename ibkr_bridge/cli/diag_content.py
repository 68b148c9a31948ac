"""What goes into a bundle for a report: one function for each file, and the redaction that all of them pass.

Nothing here may end the command: what cannot be collected is a file that says why.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ibkr_bridge import VERSION
from ibkr_bridge.cli.bridge_access import open_client, summarise
from ibkr_bridge.client import ClientError
from ibkr_bridge.config.settings import Settings, merge_sources, setting_names
from ibkr_bridge.config.sources import dotenv_path
from ibkr_bridge.program_name import INSTALLED_NAME, PROGRAM, is_installed
from ibkr_bridge.redaction import Redactor
from ibkr_bridge.state_file import load_json

LOG_LINES = 500
LOG_TIMEOUT_S = 20.0
PACKAGES = ("aiohttp", "msgspec", "PyJWT", "requests", "structlog")
SHOWN_VALUES = {
    *("IBKR_TRADING_MODE", "IBKR_READ_ONLY", "IBKR_COMPETE", "IBKR_GATEWAY_TIMEOUT", "IBKR_GATEWAY_WATCH"),
    *("IBKR_BRIDGE_MAX_WAIT", "IBKR_BRIDGE_REGION", "IBKR_BRIDGE_LOG_LEVEL", "IBKR_BRIDGE_LOG_FORMAT"),
    *("IBKR_BRIDGE_ADD_COID", "IBKR_BRIDGE_ALLOW_REMOTE", "IBKR_ALLOW_PAID_SNAPSHOTS"),
}
"""The settings whose values say nothing about a person, an account or a network; the others are only set or not."""
MIN_COOKIE_LENGTH = 8  # shorter parts of the cookie file are words such as `path`


@dataclass(frozen=True)
class Part:
    """One file of the bundle."""

    name: str
    what: str
    """For the person who decides whether to write it."""
    collect: Callable[[Settings], str]


def collect_parts(settings: Settings) -> Iterator[tuple[Part, str]]:
    """The parts with their text, redacted."""
    redactor = redactor_for(settings)
    status = _request(settings, "/gateway/status")
    for account in status.get("accounts") or () if isinstance(status, dict) else ():
        redactor.add_account(str(account.get("account")))
    for part in PARTS:
        yield part, redact(part.collect(settings), redactor)


def redactor_for(settings: Settings) -> Redactor:
    """A redactor that knows the keys, the parts of the cookies, and the accounts of the settings."""
    redactor = Redactor()
    for secret in settings.secrets:
        redactor.add_secret(secret, permanent=True)
    for number in settings.allowed_accounts:
        redactor.add_account(number)
    if settings.state_dir is not None:
        for text in _texts(load_json(settings.state_dir / "main.cookies.json")):
            if len(text) >= MIN_COOKIE_LENGTH:
                redactor.add_secret(text, permanent=True)
    return redactor


def redact(text: str, redactor: Redactor) -> str:
    """The text without secrets, account numbers and the name of the home directory."""
    home = os.environ.get("HOME", "")
    return redactor.redact(text.replace(home, "~") if len(home) > 1 else text)


def _texts(value: object) -> Iterator[str]:
    """All texts in parsed JSON, at any depth."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from _texts(each)
    elif isinstance(value, list):
        for each in value:
            yield from _texts(each)


def _request(settings: Settings, path: str) -> Any:
    """The answer of the running bridge; an object with `error` if there is none."""
    try:
        with open_client(settings) as client:
            return client.get(path)
    except ClientError as exc:
        return {"error": ": ".join(summarise(exc))}


def _about(_: Settings) -> str:
    packages = {name: version(name) for name in PACKAGES}
    return _json(
        {
            **{"bridge": VERSION, "installed": is_installed(), "command": PROGRAM},
            **{"python": sys.version, "system": platform.platform(), "packages": packages},
        }
    )


def _settings(_: Settings) -> str:
    values = merge_sources(os.environ, dotenv_path())
    return _json({name: values.get(name) if name in SHOWN_VALUES else name in values for name in setting_names()})


def _status(settings: Settings) -> str:
    return _json(_request(settings, "/gateway/status"))


def _conditions(settings: Settings) -> str:
    status = _request(settings, "/gateway/status")
    return _json(status.get("conditions", status))


def _metrics(settings: Settings) -> str:
    try:
        with open_client(settings) as client:
            return client.request("GET", "/metrics").text
    except ClientError as exc:
        return ": ".join(summarise(exc))


def _doctor(_: Settings) -> str:
    output = io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
        importlib.import_module("ibkr_bridge.cli.doctor").run(["--json"])
    return output.getvalue()


def _log(_: Settings) -> str:
    if not is_installed():
        return "the bridge is not installed as a service: its log is where it was started"
    words = (
        "--unit",
        INSTALLED_NAME,
        "--lines",
        str(LOG_LINES),
        "--no-pager",
        "--output",
        "short-iso",
        "--no-hostname",
    )
    try:
        process = subprocess.run(  # noqa: S603  # our own words
            ["journalctl", *words],  # noqa: S607  # in PATH
            check=False,
            capture_output=True,
            timeout=LOG_TIMEOUT_S,
        )
    except (OSError, subprocess.TimeoutExpired) as exc:
        return f"journalctl cannot be run: {type(exc).__name__}"
    return process.stdout.decode("utf-8", "replace")


def _json(value: object) -> str:
    return json.dumps(value, indent=1, sort_keys=True) + "\n"


def _state(settings: Settings) -> str:
    """Names, sizes and modes of the files of the state directory, not what is in them."""
    directory = settings.state_dir
    if directory is None or not directory.is_dir():
        return "there is no state directory\n"
    try:
        return "".join(map(_describe_file, sorted(directory.iterdir())))
    except OSError as exc:
        return f"the state directory cannot be read: {exc.strerror}\n"


def _describe_file(path: Path) -> str:
    status = path.lstat()
    return f"{status.st_mode & 0o7777:04o} {status.st_uid:>6} {status.st_size:>12} {path.name}\n"


PARTS = (
    Part("about.json", "versions of the bridge, Python and the system", _about),
    Part("settings.json", "which settings are set; values only of modes and times", _settings),
    Part("status.json", "the state of the session, accounts masked", _status),
    Part("conditions.json", "what the bridge reports", _conditions),
    Part("doctor.json", "the result of every check", _doctor),
    Part("metrics.txt", "counts and times", _metrics),
    Part("state.txt", "names and sizes of the files in the state directory", _state),
    Part("log.txt", f"the last {LOG_LINES} lines of the service's log, if they can be read", _log),
)
