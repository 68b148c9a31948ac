"""`bridge.py status`: the state of the session, since when, why, and what to do."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from datetime import UTC, datetime
from typing import Any, NoReturn

from ibkr_bridge.cli import EXIT_FAILURE, EXIT_MISCONFIGURED, EXIT_OK
from ibkr_bridge.cli.bridge_access import open_client, settings_or_report, summarise
from ibkr_bridge.cli.command_parser import new_parser
from ibkr_bridge.cli.terminal import COLOR_MODES, Screen, has_color, paint
from ibkr_bridge.client import BridgeClient, ClientError
from ibkr_bridge.redaction import escape_unprintable

WATCH_INTERVAL_S = 2.0
EXAMPLES = {
    "status": "now",
    "status --watch": "again every two seconds",
    "status --json": "for a program",
}
SEVERITY_STYLES = {"critical": "red", "warning": "yellow", "notice": "blue"}
STATE_STYLES = {
    "ready": "green",
    **dict.fromkeys(("opening", "starting", "competing", "activating"), "yellow"),
}
"""The other states are red: calls fail, and they go on failing until somebody does something."""
STATE_TEXT = {
    "starting": "STARTING: the session has not been checked yet",
    "unreachable": "UNREACHABLE: there is no connection to the Gateway or to IBKR",
    "silent": "SILENT: the Gateway or IBKR gives no usable response",
    "signed_out": "SIGNED OUT: nobody is signed in",
    "activating": "ACTIVATING: IBKR does not know the consumer key yet",
    "credential_refused": "CREDENTIAL REFUSED: IBKR gives no access with this credential",
    "opening": "OPENING: signed in, the brokerage session is being opened",
    "unusable": "UNUSABLE: signed in, IBKR reports a session but refuses brokerage calls",
    "competing": "COMPETING: another program uses the session of the same user",
    "ready": "READY: signed in, brokerage calls work",
}


def run(argv: Sequence[str]) -> int:
    """Print the session. Returns 0 if it is ready, 1 if it is not, 78 if the settings cannot be used."""
    args = build_parser().parse_args(argv)
    settings = settings_or_report()
    if settings is None:
        return EXIT_MISCONFIGURED
    in_color = not args.json and has_color(args.color, sys.stdout, os.environ)
    with open_client(settings) as client:
        if args.watch:
            return _watch(lambda: _check(client, as_json=args.json, in_color=in_color), in_place=not args.json)
        text, result = _check(client, as_json=args.json, in_color=in_color)
        print(text, flush=True)
        return result


def build_parser() -> argparse.ArgumentParser:
    """The parser of this command."""
    parser = new_parser("status", "Print the state of the session, and what a person may have to do.", EXAMPLES)
    parser.add_argument("--json", action="store_true", help="one JSON object for each check")
    parser.add_argument("--watch", action="store_true", help="every two seconds, in place, until Ctrl-C")
    parser.add_argument(
        "--color", choices=COLOR_MODES, default="auto", help="colours: auto (on a terminal, without NO_COLOR), …"
    )
    return parser


def _watch(check: Callable[[], tuple[str, int]], *, in_place: bool) -> NoReturn:
    """Show each check: in place on a terminal, else one after the other. Ends with a signal."""
    screen = Screen(sys.stdout) if in_place and sys.stdout.isatty() else None
    with screen.opened() if screen is not None else nullcontext():
        while True:
            text = check()[0]
            if screen is not None:
                screen.show(f"{text}\n\n{datetime.now(UTC):%H:%M:%S} UTC, Ctrl-C ends")
                screen.wait(WATCH_INTERVAL_S)
            else:
                print(text, flush=True)
                time.sleep(WATCH_INTERVAL_S)


def _check(client: BridgeClient, *, as_json: bool, in_color: bool) -> tuple[str, int]:
    """The text of one check, and the exit status."""
    try:
        status = client.status()
    except ClientError as exc:
        text = ": ".join(summarise(exc))
        line = paint(escape_unprintable(text), "red", in_color=in_color)
        return json.dumps({"state": None, "error": text}) if as_json else line, EXIT_FAILURE
    text = json.dumps(status) if as_json else format_status(status, datetime.now(UTC), in_color=in_color)
    return text, EXIT_OK if status["authenticated"] else EXIT_FAILURE


def format_status(status: dict[str, Any], now: datetime, *, in_color: bool = False) -> str:
    """The status as lines of text. A row without text is left out."""
    rows = ((name, escape_unprintable(format_row(status, now))) for name, format_row in ROWS)
    lines = (f"  {paint(f'{name:<11}', 'dim', in_color=in_color)} {text}" for name, text in rows if text)
    style = STATE_STYLES.get(status["state"], "red")
    title = paint(STATE_TEXT[status["state"]], style, in_color=in_color)
    return "\n".join((title, *_condition_lines(status, in_color=in_color), *lines))


def _condition_lines(status: dict[str, Any], *, in_color: bool) -> Iterator[str]:
    """What a person may have to know, each with what to do. The severity is a word, as everywhere else."""
    for each in status["conditions"]:
        severity = escape_unprintable(each["severity"])
        word = paint(severity, SEVERITY_STYLES.get(severity, "yellow"), in_color=in_color)
        yield f"{word} {escape_unprintable(each['id'] + ': ' + each['text'])}"
        yield escape_unprintable(f"   to do: {each['do']}" + (f" ({each['url']})" if each["url"] else ""))
        if each["tunnel"]:
            yield escape_unprintable(f"   from another computer: {each['tunnel']}")


def _since(status: dict[str, Any], now: datetime) -> str:
    since = datetime.fromisoformat(status["since"])
    return f"{since:%Y-%m-%d %H:%M:%S} UTC, {_format_span((now - since).total_seconds())}"


def _format_span(seconds: float) -> str:
    for size, name in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= size:
            count = int(seconds // size)
            return f"{count} {name}{'s' if count > 1 else ''}"
    count = max(0, int(seconds))
    return f"{count} second{'' if count == 1 else 's'}"


def _mode(status: dict[str, Any], _: datetime) -> str:
    restrictions = [
        "read-only" if status["read_only"] else "",
        f"paused by {status['paused']['by']}" if status["paused"] else "",
        f"maintenance until {status['maintenance_until']}" if status["maintenance_until"] else "",
        "draining" if status["draining"] else "",
    ]
    return ", ".join((status["mode"], *filter(None, restrictions)))


def _restart(status: dict[str, Any], _: datetime) -> str:
    names = ", ".join(status.get("restart_needed") or ())
    return f"needed for {names}, which changed and which a reload does not apply" if names else ""


def _accounts(status: dict[str, Any], _: datetime) -> str:
    return ", ".join(f"{each['account']} ({each['kind']})" for each in status["accounts"])


def _login(status: dict[str, Any], _: datetime) -> str:
    ends = f"lasts until {status['login_expires']} unless kept alive; " if status["login_expires"] else ""
    return f"{ends}IBKR ends it at {status['next_reset']}" if status["login"] else ""


def _gateway(status: dict[str, Any], _: datetime) -> str:
    slots = status["slots"]
    return (
        f"{status['gateway']}, {slots['taken']} of {slots['total']} slots taken, "
        f"{slots['waiting']} waiting, {slots['ghost_calls']} abandoned"
    )


def _traffic(status: dict[str, Any], _: datetime) -> str:
    budget, waiting = status["budget"] or {"used": 0, "limit": "any"}, status["waiting"]
    queues = ", ".join(f"{count} {name}" for name, count in waiting.items() if count) or "nobody"
    hit_rate = status["cache"] and status["cache"]["hit_rate"]
    hits = f"; {hit_rate:.0%} of reads answered from the cache" if hit_rate else ""
    return f"{budget['used']} of {budget['limit']} calls a second used; waiting: {queues}{hits}"


def _penalty(status: dict[str, Any], _: datetime) -> str:
    box, endpoints = status["penalty"]["box_s"], status["penalty"]["endpoints"]
    closed = ", ".join(f"{path} for {seconds:.0f} s" for path, seconds in endpoints.items())
    return f"IBKR refuses everything for another {box} s" if box else closed


def _orders(status: dict[str, Any], _: datetime) -> str:
    journal = status["journal"]
    counts = ", ".join(f"{count} {state.replace('_', ' ')}" for state, count in journal["orders"].items())
    problem = f"refused: the journal cannot be written ({journal['problem']})" if journal["problem"] else ""
    return "; ".join(filter(None, (problem, counts))) or "none in the last day"


def _stream(status: dict[str, Any], now: datetime) -> str:
    stream = status["stream"]
    since = _format_span((now - datetime.fromisoformat(stream["since"])).total_seconds())
    connection = f"up for {since}" if stream["up"] else f"down for {since}: {stream['reason']}"
    behind = f", {stream['behind']} behind" if stream["behind"] else ""
    return f"{connection}; {stream['readers']} readers{behind}, {stream['quotes']} contracts of 100"


ROWS: tuple[tuple[str, Callable[[dict[str, Any], datetime], str]], ...] = (
    ("since", _since),
    ("reason", lambda status, _: str(status["reason"])),
    ("IBKR says", lambda status, _: str(status["ibkr_message"])),
    ("next", lambda status, _: str(status["next"])),
    ("mode", _mode),
    ("restart", _restart),
    ("accounts", _accounts),
    ("login", _login),
    ("Gateway", _gateway),
    ("traffic", _traffic),
    ("penalty", _penalty),
    ("orders", _orders),
    ("stream", _stream),
)
