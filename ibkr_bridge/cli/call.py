"""`bridge.py call GET /portfolio/accounts`: send the bridge one call from a terminal.

The response goes to standard output: JSON on several lines, with `--json` on one line, anything else unchanged.
An error goes to standard error as text. With `--json` it is one object on standard output instead.
"""

from __future__ import annotations

import argparse
import errno
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ibkr_bridge.cli import EXIT_FAILURE, EXIT_MISCONFIGURED, EXIT_OK, settings_message
from ibkr_bridge.cli.bridge_access import summarise
from ibkr_bridge.cli.command_parser import new_parser
from ibkr_bridge.cli.exit_statuses import EXIT_OUTPUT_FAILED, exit_status_text
from ibkr_bridge.client import BridgeClient, ClientError, IbkrError, NotJson, Reply
from ibkr_bridge.config.settings import SettingsError
from ibkr_bridge.redaction import escape_unprintable

METHODS = ("GET", "POST", "PUT", "DELETE")
EXAMPLES = {
    "call GET /portfolio/accounts": "",
    "call GET /iserver/secdef/search?symbol=AAPL": "",
    "call POST /iserver/account/DU1234567/orders --data @order.json --wait 20": "",
}

Outcome = Reply | ClientError | SettingsError


def run(argv: Sequence[str]) -> int:
    """Send one call. Returns the exit status; the help lists them."""
    parser = build_parser()
    args = parser.parse_args(argv)
    outcome: Outcome
    try:
        body = _read_body(args.data)
        with BridgeClient(repeats=0) as client:
            outcome = client.request(args.method, args.path, body, wait=args.wait)
    except (SettingsError, ClientError) as exc:
        outcome = exc
    except ValueError as exc:  # no request can be built from these arguments
        parser.error(str(exc))
    return _report(outcome, args)


def build_parser() -> argparse.ArgumentParser:
    """The parser of this command."""
    parser = new_parser("call", "Send one call to the running bridge.", EXAMPLES, exit_status_text())
    parser.add_argument("method", type=str.upper, choices=METHODS, metavar="METHOD", help=", ".join(METHODS))
    parser.add_argument("path", metavar="PATH", help="a path of IBKR, with or without /v1/api, or of the bridge")
    parser.add_argument("--data", metavar="JSON", help="the body: JSON, @FILE, or - for standard input")
    parser.add_argument(
        "--wait", type=float, metavar="SECONDS", help="how long the bridge may wait for the session or a free slot"
    )
    parser.add_argument("--json", action="store_true", help="compact JSON, for errors too")
    return parser


def _read_body(argument: str | None) -> bytes | None:
    """Read the body that `--data` names: JSON, `@FILE` or `-`. None if the option is absent.

    Raises:
        ValueError: the file cannot be read, or the body is not JSON.
    """
    if argument is None:
        return None
    try:
        if argument == "-":
            body = sys.stdin.buffer.read()
        else:
            body = Path(argument[1:]).read_bytes() if argument.startswith("@") else os.fsencode(argument)
        json.loads(body)
    except OSError as exc:
        raise ValueError(f"--data: {argument[1:]} cannot be read: {exc.strerror}") from exc
    except (ValueError, RecursionError) as exc:
        raise ValueError(f"--data is not JSON: {exc}") from exc
    return body


def _report(outcome: Outcome, args: argparse.Namespace) -> int:
    """Print the outcome; on standard error if standard output cannot be written."""
    try:
        return _print_outcome(outcome, as_json=args.json)
    except OSError as exc:
        if sys.stdout is not None:  # Python would flush it again at exit and report that failure
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not (isinstance(exc, BrokenPipeError) and args.method == "GET"):  # `call GET … | head` is no failure
            print("\n".join(_report_unprinted(outcome, exc)), file=sys.stderr)
        return EXIT_OUTPUT_FAILED


def _print_outcome(outcome: Outcome, *, as_json: bool) -> int:
    if isinstance(outcome, SettingsError):
        return _print_settings_error(outcome, as_json=as_json)
    if isinstance(outcome, ClientError):
        return _print_error(outcome, as_json=as_json)
    _print(outcome, as_json=as_json)
    return EXIT_OK


def _report_unprinted(outcome: Outcome, failure: OSError) -> list[str]:
    """Lines that say whether the call was answered, so that nobody sends it again only to see the response."""
    reason = f"standard output cannot be written: {failure.strerror}"
    if isinstance(outcome, SettingsError):
        return [settings_message(outcome), reason]
    if isinstance(outcome, ClientError):
        if outcome.status is None:
            return [*_error_text(outcome), f"the call was not answered, and {reason}"]
        return [*_error_text(outcome), f"the call was answered ({outcome.status}), but {reason}"]
    return [
        f"the call was answered ({outcome.status}), but {reason}",
        "  hint        do not send the call again only to see its response",
        *_row("request id", outcome.request_id),
    ]


def _print_settings_error(error: SettingsError, *, as_json: bool) -> int:
    if as_json:
        _write_bytes(_compact({"code": "misconfigured", "problems": [str(problem) for problem in error.problems]}))
    else:
        print(settings_message(error), file=sys.stderr)
    return EXIT_MISCONFIGURED


def _print_error(error: ClientError, *, as_json: bool) -> int:
    """Print an error. The body of an IBKR response goes to standard output, as after success."""
    if as_json:
        _write_bytes(_compact(_as_object(error)))
        return EXIT_FAILURE
    if isinstance(error, IbkrError) and error.status is not None:
        _print(Reply(error.status, error.headers, error.body), as_json=False)
    print("\n".join(_error_text(error)), file=sys.stderr)
    return EXIT_FAILURE


def _as_object(error: ClientError) -> dict[str, Any]:
    """The error with the members of the bridge's own errors; IBKR's response is its member `answer`."""
    members = {name: getattr(error, name) for name in ("code", "status", "detail", "hint", "request_id", "retry_after")}
    answer = (
        {"answer": _body_as_json(Reply(error.status, error.headers, error.body))}
        if isinstance(error, IbkrError) and error.status is not None
        else {}
    )
    return {"error": error.detail, **members, "retryable": error.retryable, **answer}


def _error_text(error: ClientError) -> list[str]:
    detail, hint = summarise(error) if error.code == "invalid_key" else (error.detail, error.hint)
    rows = (
        ("hint", hint),
        ("try again", f"in {error.retry_after:g} seconds" if error.retry_after is not None else ""),
        ("request id", error.request_id),
    )
    status = f" ({error.status})" if error.status else ""
    return [
        escape_unprintable(f"{error.code}{status}: {detail}"),
        *(line for name, text in rows for line in _row(name, text)),
    ]


def _row(name: str, text: str | None) -> list[str]:
    return [f"  {name:<11} {escape_unprintable(text)}"] if text else []


def _print(reply: Reply, *, as_json: bool) -> None:
    if as_json:
        _write_bytes(_compact(_body_as_json(reply)))
        return
    try:
        text = json.dumps(reply.json(), indent=2, ensure_ascii=False) + "\n"
    except (NotJson, RecursionError):  # a page of IBKR, for example; it must not control the terminal
        is_terminal = sys.stdout is not None and sys.stdout.isatty()
        _write_bytes(escape_unprintable(reply.text, exempt="\n\t").encode() if is_terminal else reply.body)
    else:  # letters of all languages stay, and what would control a terminal becomes a `\u` escape
        escaped = "".join(each if each.isprintable() or each == "\n" else json.dumps(each)[1:-1] for each in text)
        _write_bytes(escaped.encode() if reply.body.strip() else b"")


def _body_as_json(reply: Reply) -> Any:
    """The parsed JSON; the text of a body that is not JSON."""
    try:
        return reply.json()
    except NotJson:
        return reply.text


def _compact(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode() + b"\n"


def _write_bytes(data: bytes) -> None:
    """Write bytes to standard output. The terminal's encoding may lack characters that IBKR sends."""
    if sys.stdout is None:
        raise OSError(errno.EBADF, "it is closed")
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()
