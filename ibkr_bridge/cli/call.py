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

from ibkr_bridge.cli import BAD, GOOD, MISCONFIGURED, complaint
from ibkr_bridge.cli.bridge_access import in_short
from ibkr_bridge.client import BridgeClient, ClientError, IbkrSaidNo, NotJson, Reply
from ibkr_bridge.config.settings import SettingsError

METHODS = ("GET", "POST", "PUT", "DELETE")
UNTOLD = 74  # the number of sysexits.h for output that fails: a 1 would have an order sent again that was accepted
EXPLAINED = f"""\
examples:
  bridge.py call GET /portfolio/accounts
  bridge.py call GET /iserver/secdef/search?symbol=AAPL
  bridge.py call POST /iserver/account/DU1234567/orders --data @order.json --wait 20

exit status:
  {GOOD}   a good answer, 2xx
  {BAD}   no good answer, or a call that cannot be made
  {UNTOLD}  standard output takes nothing; what became of the call stands on standard error
  {MISCONFIGURED}  address or key are missing or wrong
"""

Outcome = Reply | ClientError | SettingsError


def run(argv: Sequence[str]) -> int:
    """Make one call. Returns the exit status, as the help explains it."""
    parser = _parser()
    asked = parser.parse_args(argv)
    outcome: Outcome
    try:
        body = _body(asked.data)
        with BridgeClient(repeats=0) as client:
            outcome = client.request(asked.method, asked.path, body, wait=asked.wait)
    except (SettingsError, ClientError) as exc:
        outcome = exc
    except ValueError as exc:  # the call cannot be written down
        parser.error(str(exc))
    return _told(outcome, asked)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="bridge.py call",
        description="Ask the running bridge something.",
        epilog=EXPLAINED,
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


def _told(outcome: Outcome, asked: argparse.Namespace) -> int:
    """Tell what became of the call, on standard error where standard output takes nothing."""
    try:
        return _tell(outcome, as_json=asked.json)
    except OSError as exc:
        _give_up_output()
        if not (isinstance(exc, BrokenPipeError) and asked.method == "GET"):  # `| head` has seen enough
            print("\n".join(_instead(outcome, exc)), file=sys.stderr)
        return UNTOLD


def _tell(outcome: Outcome, *, as_json: bool) -> int:
    if isinstance(outcome, SettingsError):
        return _misconfigured(outcome, as_json=as_json)
    if isinstance(outcome, ClientError):
        return _refused(outcome, as_json=as_json)
    _print(outcome, as_json=as_json)
    return GOOD


def _give_up_output() -> None:
    """Nothing more goes to standard output: Python would try once more at its end, and complain."""
    if sys.stdout is not None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _instead(outcome: Outcome, failed: OSError) -> list[str]:
    """What is said where the answer cannot be: that there was one, lest the call be made again."""
    why = f"standard output cannot be written: {failed.strerror}"
    if isinstance(outcome, SettingsError):
        return [complaint(outcome), why]
    if isinstance(outcome, ClientError):
        answered = (
            f"the call was answered ({outcome.status}), but" if outcome.reply else "the call was not answered, and"
        )
        return [*_in_words(outcome), f"{answered} {why}"]
    words = f"the call was answered ({outcome.status}), but {why}"
    return [
        words,
        "  hint        do not make it again only to read its answer",
        *_row("request id", outcome.request_id),
    ]


def _misconfigured(error: SettingsError, *, as_json: bool) -> int:
    if as_json:
        _out(_compact({"code": "misconfigured", "problems": [str(problem) for problem in error.problems]}))
    else:
        print(complaint(error), file=sys.stderr)
    return MISCONFIGURED


def _refused(error: ClientError, *, as_json: bool) -> int:
    """Tell what went wrong; the body of an answer of IBKR's is printed like a good one's."""
    if as_json:
        _out(_compact(_as_object(error)))
        return BAD
    if isinstance(error, IbkrSaidNo) and error.reply is not None:
        _print(error.reply, as_json=False)
    print("\n".join(_in_words(error)), file=sys.stderr)
    return BAD


def _as_object(error: ClientError) -> dict[str, Any]:
    """The error as one object: as the bridge writes its own, IBKR's answer inside it."""
    told = {name: getattr(error, name) for name in ("code", "status", "detail", "hint", "request_id", "retry_after")}
    answered = {"answer": _parsed(error.reply)} if isinstance(error, IbkrSaidNo) and error.reply is not None else {}
    return {"error": error.detail, **told, "retryable": error.retryable, **answered}


def _in_words(error: ClientError) -> list[str]:
    found, hint = in_short(error) if error.code == "bad_key" else (error.detail, error.hint)
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
        _out(_compact(_parsed(reply)))
        return
    try:
        lines = json.dumps(reply.json(), indent=2, ensure_ascii=False) + "\n"
    except (NotJson, RecursionError):
        _out(reply.body)
    else:
        _out(lines.encode("utf-8", "backslashreplace") if reply.body.strip() else b"")


def _parsed(reply: Reply) -> Any:
    """JSON as it is, any other answer as a text."""
    try:
        return reply.json()
    except NotJson:
        return reply.text


def _compact(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode() + b"\n"


def _out(data: bytes) -> None:
    """Bytes, not text: what IBKR writes need not fit the terminal's alphabet."""
    if sys.stdout is None:
        raise OSError(errno.EBADF, "it is closed")
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()
