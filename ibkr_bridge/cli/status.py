"""`bridge.py status`: the session in words, since when, why, and what to do."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from ibkr_bridge.cli import BAD, GOOD, MISCONFIGURED, settings_message
from ibkr_bridge.cli.bridge_access import client_settings, open_client, summarise
from ibkr_bridge.client import BridgeClient, ClientError
from ibkr_bridge.config.settings import SettingsError

WATCH_INTERVAL_S = 2.0  # seconds
STATE_TEXT = {
    "starting": "STARTING: the session has not been looked at yet",
    "unreachable": "UNREACHABLE: there is no connection to the Gateway",
    "silent": "SILENT: the Gateway does not answer sensibly",
    "signed_out": "SIGNED OUT: nobody is signed in at the Gateway",
    "opening": "OPENING: signed in, the brokerage session is being opened",
    "competing": "COMPETING: another session of the same user is in the way",
    "ready": "READY: signed in, brokerage calls work",
}


def run(argv: Sequence[str]) -> int:
    """Print the session. Returns 0 while it is ready, 1 where it is not, 78 for settings that cannot be used."""
    parser = argparse.ArgumentParser(prog="bridge.py status", description="The session, in words.")
    parser.add_argument("--json", action="store_true", help="one JSON object a look")
    parser.add_argument("--watch", action="store_true", help="look again every two seconds, until Ctrl-C")
    args = parser.parse_args(argv)
    try:
        settings = client_settings()
    except SettingsError as exc:
        print(settings_message(exc), file=sys.stderr)
        return MISCONFIGURED
    with open_client(settings) as client:
        result = _print_once(client, as_json=args.json)
        while args.watch:
            time.sleep(WATCH_INTERVAL_S)
            result = _print_once(client, as_json=args.json)
    return result


def _print_once(client: BridgeClient, *, as_json: bool) -> int:
    try:
        found = client.status()
    except ClientError as exc:
        text = ": ".join(summarise(exc))
        print(json.dumps({"state": None, "error": text}) if as_json else text, flush=True)
        return BAD
    print(json.dumps(found) if as_json else format_status(found, datetime.now(UTC)), flush=True)
    return GOOD if found["authenticated"] else BAD


def format_status(found: dict[str, Any], now: datetime) -> str:
    """The status as a person reads it."""
    rows = ((name, tell(found, now)) for name, tell in ROWS)
    return "\n".join((STATE_TEXT[found["state"]], *(f"  {name:<11} {text}" for name, text in rows if text)))


def _since(found: dict[str, Any], now: datetime) -> str:
    since = datetime.fromisoformat(found["since"])
    return f"{since:%Y-%m-%d %H:%M:%S} UTC, {_format_span((now - since).total_seconds())}"


def _format_span(seconds: float) -> str:
    for size, name in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= size:
            count = int(seconds // size)
            return f"{count} {name}{'s' if count > 1 else ''}"
    count = max(0, int(seconds))
    return f"{count} second{'' if count == 1 else 's'}"


def _mode(found: dict[str, Any], _: datetime) -> str:
    brakes = [
        "read-only" if found["read_only"] else "",
        f"paused by {found['paused']['by']}" if found["paused"] else "",
        f"maintenance until {found['maintenance_until']}" if found["maintenance_until"] else "",
        "draining" if found["draining"] else "",
    ]
    return ", ".join((found["mode"], *filter(None, brakes)))


def _accounts(found: dict[str, Any], _: datetime) -> str:
    return ", ".join(f"{each['account']} ({each['kind']})" for each in found["accounts"])


def _login(found: dict[str, Any], _: datetime) -> str:
    ends = f"lasts until {found['login_expires']} unless kept awake; " if found["login_expires"] else ""
    return f"{ends}IBKR ends it at {found['next_reset']}" if found["login"] else ""


def _gateway(found: dict[str, Any], _: datetime) -> str:
    slots = found["slots"]
    return (
        f"{found['gateway']}, {slots['taken']} of {slots['total']} slots taken, "
        f"{slots['waiting']} waiting, {slots['ghost_calls']} given up"
    )


def _traffic(found: dict[str, Any], _: datetime) -> str:
    budget, waiting = found["budget"] or {"used": 0, "limit": "any"}, found["waiting"]
    queues = ", ".join(f"{count} {name}" for name, count in waiting.items() if count) or "nobody"
    return f"{budget['used']} of {budget['limit']} calls a second used; waiting: {queues}{_cache_hits(found['cache'])}"


def _cache_hits(cache: dict[str, Any] | None) -> str:
    rate = cache and cache["hit_rate"]
    return f"; {rate:.0%} of reads answered without asking IBKR" if rate else ""


def _penalty(found: dict[str, Any], _: datetime) -> str:
    box, endpoints = found["penalty"]["box_s"], found["penalty"]["endpoints"]
    closed = ", ".join(f"{path} for {seconds:.0f} s" for path, seconds in endpoints.items())
    return f"IBKR refuses everything for another {box} s" if box else closed


def _orders(found: dict[str, Any], _: datetime) -> str:
    journal = found["journal"]
    counts = ", ".join(f"{count} {state.replace('_', ' ')}" for state, count in journal["orders"].items())
    problem = f"refused: the journal cannot be written ({journal['problem']})" if journal["problem"] else ""
    return "; ".join(filter(None, (problem, counts))) or "none in the last day"


def _stream(found: dict[str, Any], now: datetime) -> str:
    stream = found["stream"]
    since = _format_span((now - datetime.fromisoformat(stream["since"])).total_seconds())
    is_up = f"up for {since}" if stream["up"] else f"down for {since}: {stream['reason']}"
    behind = f", {stream['behind']} behind" if stream["behind"] else ""
    return f"{is_up}; {stream['readers']} readers{behind}, {stream['quotes']} contracts of 100"


ROWS: tuple[tuple[str, Callable[[dict[str, Any], datetime], str]], ...] = (
    ("since", _since),
    ("why", lambda found, _: str(found["reason"])),
    ("to do", lambda found, _: str(found["hint"])),
    ("next", lambda found, _: str(found["next"])),
    ("mode", _mode),
    ("accounts", _accounts),
    ("login", _login),
    ("Gateway", _gateway),
    ("traffic", _traffic),
    ("penalty", _penalty),
    ("orders", _orders),
    ("stream", _stream),
)
