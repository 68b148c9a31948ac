"""`bridge.py doctor`: checks everything a bridge needs, one line for each, and says how to fix what is wrong."""

from __future__ import annotations

import argparse
import json
import os
import socket
import ssl
import stat
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from ibkr_bridge.cli import EXIT_FAILURE, EXIT_MISCONFIGURED, EXIT_OK
from ibkr_bridge.cli.bridge_access import client_settings, demo_without_settings, open_client, summarise
from ibkr_bridge.cli.check import describe
from ibkr_bridge.cli.orders import FILE, verify_file
from ibkr_bridge.cli.status import STATE_TEXT
from ibkr_bridge.client import ClientError
from ibkr_bridge.conditions.rules import MIN_FREE_BYTES
from ibkr_bridge.conditions.state_directory import look_at
from ibkr_bridge.config.settings import Settings, SettingsError
from ibkr_bridge.config.sources import dotenv_path
from ibkr_bridge.config.value_types import is_file
from ibkr_bridge.redaction import escape_unprintable
from ibkr_bridge.state_file import check_private

TIMEOUT_S = 5.0  # for the connection to the Gateway and its TLS handshake


@dataclass(frozen=True)
class Finding:
    """The result of one check. `fix` says what to do; it is empty if nothing is wrong."""

    check: str
    found: str
    fix: str = ""


def run(argv: Sequence[str]) -> int:
    """Run all checks. Returns 0 if all pass, 78 if the settings cannot be used, 1 if another check fails."""
    parser = argparse.ArgumentParser(prog="bridge.py doctor", description="Check everything and say how to fix it.")
    parser.add_argument("--json", action="store_true", help="as JSON")
    args = parser.parse_args(argv)
    try:
        settings = client_settings()
    except SettingsError as exc:
        _print_findings(
            [Finding(problem.name, problem.found, problem.allowed) for problem in exc.problems], as_json=args.json
        )
        return EXIT_MISCONFIGURED
    findings = [finding for check in CHECKS for finding in check(settings)]
    _print_findings(findings, as_json=args.json)
    first = next((finding for finding in findings if finding.fix), None)
    if first is not None and not args.json:
        print(f"Begin with `{first.check}`: what stands below it may be its consequence.")
    return EXIT_FAILURE if any(finding.fix for finding in findings) else EXIT_OK


def _print_findings(findings: Sequence[Finding], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps([asdict(finding) for finding in findings]))
        return
    for finding in findings:
        print(f"{'!!' if finding.fix else 'ok'}  {finding.check:<12} {escape_unprintable(finding.found)}")
        if finding.fix:
            print(f"                 fix: {escape_unprintable(finding.fix)}")


def _python(_: Settings) -> Iterator[Finding]:
    yield Finding("python", f"{sys.version.split()[0]} at {sys.executable}")


def _dotenv(_: Settings) -> Iterator[Finding]:
    path, demo = dotenv_path(), demo_without_settings()
    if demo is not None:
        yield Finding("settings", f"none name a bridge; those of the running demo at {demo.url} are used")
    elif not path.exists():
        yield Finding("settings", "from the environment; there is no .env file")
    elif path.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH):
        yield Finding("settings", f"{path} can be read by other users, and the key with it", f"chmod 600 {path}")
    else:
        yield Finding("settings", f"{path}, readable by you alone")


def _state(settings: Settings) -> Iterator[Finding]:
    path = settings.state_dir
    if path is None:
        yield Finding("state", "no state directory", "set IBKR_BRIDGE_STATE_DIR to a directory the bridge can write")
        return
    if path.exists() and os.geteuid() != 0 and (reason := _privacy_problem(path)):  # root looks at others' directories
        yield Finding("state", f"{path}: {reason}", f"make it your own: chown $USER {path} && chmod 700 {path}")
        return
    nearest = next((each for each in (path, *path.parents) if each.exists()), Path("/"))
    if os.access(nearest, os.W_OK | os.X_OK):
        yield Finding("state", str(path))
    else:
        yield Finding("state", f"{nearest} cannot be written", f"make it writable for this user: chown $USER {nearest}")


def _disk(settings: Settings) -> Iterator[Finding]:
    """The space on the disk of the state directory, and the files in it; nothing if there is no directory yet."""
    if settings.state_dir is None or not settings.state_dir.is_dir():
        return
    state = look_at(settings.state_dir)
    if state.free_bytes is None:
        return  # `state` says why the directory cannot be used
    free = f"{state.free_bytes // (1024 * 1024)} MiB free on the disk of the state directory"
    if state.problem is not None:
        yield Finding("disk", state.problem, f"make the files its own again: chown -R $USER {settings.state_dir}")
    elif state.free_bytes < MIN_FREE_BYTES:
        yield Finding("disk", free, "make space: without it every order is refused")
    else:
        yield Finding("disk", free)


def _guards(settings: Settings) -> Iterator[Finding]:
    guards = dict(describe(settings))
    yield Finding("guards", f"{guards['mode']}; accounts: {guards['accounts']}; value: {guards['value']}")


def _privacy_problem(path: Path) -> str | None:
    try:
        check_private(path)
    except OSError as exc:
        return exc.strerror
    return None


def _orders(settings: Settings) -> Iterator[Finding]:
    path = settings.state_dir / FILE if settings.state_dir else None
    if path is None or not is_file(path):
        yield Finding("orders", "no order has been recorded yet")
        return
    count, flaws = verify_file(path)
    if flaws:
        fix = "see what is wrong: bridge.py orders verify; move the file away to begin a new one"
        yield Finding("orders", flaws[0], fix)
    else:
        yield Finding("orders", f"{count} entries in the journal, all unchanged")


def _bridge(settings: Settings) -> Iterator[Finding]:
    try:
        with open_client(settings) as client:
            status = client.status()
    except ClientError as exc:
        yield Finding("bridge", *summarise(exc))
        return
    yield Finding("bridge", f"answers at {settings.url}")
    yield Finding("session", STATE_TEXT[status["state"]])
    for each in status["conditions"]:
        is_problem = each["severity"] != "notice"
        yield Finding(each["id"], each["text"], each["do"] if is_problem else "")


def _gateway(settings: Settings) -> Iterator[Finding]:
    address = settings.gateway_url
    try:
        with socket.create_connection((address.host, address.port), TIMEOUT_S) as plain:
            protocol = _tls_handshake(plain, address.host) if address.scheme == "https" else "plain HTTP"
    except ssl.SSLError:
        fix = "correct IBKR_GATEWAY_URL: https or http, host, port"
        yield Finding("gateway", f"{address} answers, but not with TLS", fix)
    except TimeoutError:
        yield Finding("gateway", f"{address} does not answer", "restart the Gateway; it is stuck if its port is open")
    except OSError as exc:
        fix = "start the Gateway or IBeam, or correct IBKR_GATEWAY_URL"
        yield Finding("gateway", f"{address}: {exc.strerror or 'no such host'}", fix)
    else:
        yield Finding("gateway", f"{address} answers with {protocol}")


def _tls_handshake(plain: socket.socket, host: str) -> str:
    """Shake hands and return the TLS version. The certificate is not checked here; the daemon checks it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with context.wrap_socket(plain, server_hostname=host) as tls:
        return str(tls.version())


CHECKS: tuple[Callable[[Settings], Iterator[Finding]], ...] = (
    *(_python, _dotenv, _guards, _state, _disk, _orders, _gateway, _bridge),
)
