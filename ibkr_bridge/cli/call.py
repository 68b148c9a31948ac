"""`bridge.py call GET /portfolio/accounts`: ask the bridge something from a terminal.

The answer goes to standard output, JSON in lines for people or compact for programs (`--json`), anything else as it is.
What went wrong goes to standard error in words; with `--json` it is one object on standard output.
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

from ibkr_bridge.cli import BAD, GOOD, MISCONFIGURED, settings_message
from ibkr_bridge.cli.bridge_access import summarise
from ibkr_bridge.client import BridgeClient, ClientError, IbkrError, NotJson, Reply
from ibkr_bridge.config.settings import SettingsError

METHODS = ("GET", "POST", "PUT", "DELETE")
OUTPUT_FAILED = 74
"""The number of sysexits.h for output that fails: a 1 would have an order sent again that was accepted."""
HELP_EPILOG = f"""\
examples:
  bridge.py call GET /portfolio/accounts
  bridge.py call GET /iserver/secdef/search?symbol=AAPL
  bridge.py call POST /iserver/account/DU1234567/orders --data @order.json --wait 20

exit status:
  {GOOD}   a good answer, 2xx
  {BAD}   no good answer, or a call that cannot be made
  {OUTPUT_FAILED}  standard output takes nothing; what became of the call stands on standard error
  {MISCONFIGURED}  address or key are missing or wrong
"""

Outcome = Reply | ClientError | SettingsError


def run(argv: Sequence[str]) -> int:
    """Make one call. Returns the exit status, as the help explains it."""
    parser = _parser()
    args = parser.parse_args(argv)
    outcome: Outcome
    try:
        body = _body(args.data)
        with BridgeClient(repeats=0) as client:
            outcome = client.request(args.method, args.path, body, wait=args.wait)
    except (SettingsError, ClientError) as exc:
        outcome = exc
    except ValueError as exc:  # the call cannot be written down
        parser.error(str(exc))
    return _report(outcome, args)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="bridge.py call",
        description="Ask the running bridge something.",
        epilog=HELP_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("method", type=str.upper, choices=METHODS, metavar="METHOD", help=", ".join(METHODS))
    parser.add_argument("path", metavar="PATH", help="IBKR's own, with or without /v1/api, or one of the bridge's")
    parser.add_argument("--data", metavar="JSON", help="the body: JSON, @FILE, or - for standard input")
    parser.add_argument("--wait", type=float, metavar="SECONDS", help="let the bridge wait for the session or its turn")
    parser.add_argument("--json", action="store_true", help="compact JSON, for errors too")
    return parser


def _body(given: str | None) -> bytes | None:
    """The body as it goes out.

    Raises:
        ValueError: it cannot be read, or is no JSON.
    """
    if given is None:
        return None
    try:
        body = _bytes(given)
        json.loads(body)
    except OSError as exc:
        raise ValueError(f"--data: {given[1:]} cannot be read: {exc.strerror}") from exc
    except (ValueError, RecursionError) as exc:
        raise ValueError(f"--data is no JSON: {exc}") from exc
    return body


def _bytes(given: str) -> bytes:
    if given == "-":
        return sys.stdin.buffer.read()
    return Path(given[1:]).read_bytes() if given.startswith("@") else os.fsencode(given)


def _report(outcome: Outcome, args: argparse.Namespace) -> int:
    """Tell what became of the call, on standard error where standard output takes nothing."""
    try:
        return _print_outcome(outcome, as_json=args.json)
    except OSError as exc:
        _close_output()
        if not (isinstance(exc, BrokenPipeError) and args.method == "GET"):  # `| head` has seen enough
            print("\n".join(_report_unprinted(outcome, exc)), file=sys.stderr)
        return OUTPUT_FAILED


def _print_outcome(outcome: Outcome, *, as_json: bool) -> int:
    if isinstance(outcome, SettingsError):
        return _print_settings_error(outcome, as_json=as_json)
    if isinstance(outcome, ClientError):
        return _print_error(outcome, as_json=as_json)
    _print(outcome, as_json=as_json)
    return GOOD


def _close_output() -> None:
    """Nothing more goes to standard output: Python would try once more at its end, and complain."""
    if sys.stdout is not None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _report_unprinted(outcome: Outcome, failed: OSError) -> list[str]:
    """What is said where the answer cannot be: that there was one, lest the call be made again."""
    reason = f"standard output cannot be written: {failed.strerror}"
    if isinstance(outcome, SettingsError):
        return [settings_message(outcome), reason]
    if isinstance(outcome, ClientError):
        answered = (
            f"the call was answered ({outcome.status}), but" if outcome.status else "the call was not answered, and"
        )
        return [*_error_text(outcome), f"{answered} {reason}"]
    words = f"the call was answered ({outcome.status}), but {reason}"
    return [
        words,
        "  hint        do not make it again only to read its answer",
        *_row("request id", outcome.request_id),
    ]


def _print_settings_error(error: SettingsError, *, as_json: bool) -> int:
    if as_json:
        _write_bytes(_compact({"code": "misconfigured", "problems": [str(problem) for problem in error.problems]}))
    else:
        print(settings_message(error), file=sys.stderr)
    return MISCONFIGURED


def _print_error(error: ClientError, *, as_json: bool) -> int:
    """Tell what went wrong; the body of an answer of IBKR's is printed like a good one's."""
    if as_json:
        _write_bytes(_compact(_as_object(error)))
        return BAD
    if isinstance(error, IbkrError) and error.status is not None:
        _print(Reply(error.status, error.headers, error.body), as_json=False)
    print("\n".join(_error_text(error)), file=sys.stderr)
    return BAD


def _as_object(error: ClientError) -> dict[str, Any]:
    """The error as one object: as the bridge writes its own, IBKR's answer inside it."""
    told = {name: getattr(error, name) for name in ("code", "status", "detail", "hint", "request_id", "retry_after")}
    answered = (
        {"answer": _body_as_json(Reply(error.status, error.headers, error.body))}
        if isinstance(error, IbkrError) and error.status is not None
        else {}
    )
    return {"error": error.detail, **told, "retryable": error.retryable, **answered}


def _error_text(error: ClientError) -> list[str]:
    found, hint = summarise(error) if error.code == "invalid_key" else (error.detail, error.hint)
    rows = (
        ("hint", hint),
        ("try again", f"in {error.retry_after:g} seconds" if error.retry_after is not None else ""),
        ("request id", error.request_id),
    )
    status = f" ({error.status})" if error.status else ""
    return [f"{error.code}{status}: {found}", *(line for name, text in rows for line in _row(name, text))]


def _row(name: str, text: str | None) -> list[str]:
    return [f"  {name:<11} {text}"] if text else []


def _print(reply: Reply, *, as_json: bool) -> None:
    if as_json:
        _write_bytes(_compact(_body_as_json(reply)))
        return
    try:
        lines = json.dumps(reply.json(), indent=2, ensure_ascii=False) + "\n"
    except (NotJson, RecursionError):
        _write_bytes(reply.body)
    else:
        _write_bytes(lines.encode("utf-8", "backslashreplace") if reply.body.strip() else b"")


def _body_as_json(reply: Reply) -> Any:
    """JSON as it is, any other answer as a text."""
    try:
        return reply.json()
    except NotJson:
        return reply.text


def _compact(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode() + b"\n"


def _write_bytes(data: bytes) -> None:
    """Bytes, not text: what IBKR writes need not fit the terminal's alphabet."""
    if sys.stdout is None:
        raise OSError(errno.EBADF, "it is closed")
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()
