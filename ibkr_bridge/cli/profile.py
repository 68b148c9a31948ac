"""`bridge.py profile`: the usernames that the bridge serves besides `main`; they come and go while it runs."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ibkr_bridge.cli import EXIT_FAILURE, EXIT_MISCONFIGURED, EXIT_OK
from ibkr_bridge.cli.bridge_access import settings_or_report
from ibkr_bridge.cli.command_parser import new_parser
from ibkr_bridge.cli.control_client import ControlFailed, request
from ibkr_bridge.cli.history import format_history
from ibkr_bridge.cli.status import format_status
from ibkr_bridge.cli.terminal import has_color
from ibkr_bridge.config.profile_files import SETTING_OF_MEMBER, USER
from ibkr_bridge.program_name import PROGRAM
from ibkr_bridge.redaction import escape_unprintable

EXAMPLES = {
    "profile list": "all profiles, and what state each is in",
    "profile new anna --set gateway_url=https://127.0.0.1:5001": "a second Gateway",
    "profile new ben --road oauth": "IBKR's Web API, without a Gateway",
    "profile import ben": "the tokens that IBKR's page shows",
    "profile check ben": "which part of its credential is wrong",
    "profile status ben": "its session, and what a person may have to do",
    "profile pause anna": "stop new orders of one profile",
    "profile keys anna --read": "a further key, which only reads",
    "profile forget anna": "remove it with its credential and keys; the journal stays",
    "profile consumer": "the keys of a company, whose users connect on IBKR's page",
}
NAMELESS = ("list", "consumer")
"""Verbs that concern no profile in particular."""
SHOWN_ONCE = "This key is shown once. The app sends it as X-Bridge-Key:"


def run(argv: Sequence[str]) -> int:
    """Manage profiles. Returns 0 if the bridge did it, 1 if not, 78 if the settings cannot be used."""
    args = build_parser().parse_args(argv)
    settings = settings_or_report()
    if settings is None:
        return EXIT_MISCONFIGURED
    try:
        answer = VERBS[args.verb](args, settings.state_dir)
    except ControlFailed as exc:
        print(json.dumps({"error": str(exc)}) if args.json else escape_unprintable(str(exc)), file=_errors(args))
        return EXIT_FAILURE
    if args.json:
        print(json.dumps(answer))
    else:
        DESCRIBE[args.verb](answer)
    return EXIT_OK if answer.get("good", answer.get("authenticated", True)) else EXIT_FAILURE


def _errors(args: argparse.Namespace) -> Any:
    return sys.stdout if args.json else sys.stderr


def build_parser() -> argparse.ArgumentParser:
    """The parser of this command."""
    parser = new_parser("profile", "Further usernames beside the one of the environment.", EXAMPLES)
    verbs = parser.add_subparsers(dest="verb", metavar=" | ".join(VERBS), required=True)
    texts = {
        "list": "show all profiles",
        "new": "make a profile and its first key",
        "import": "store a credential that standard input has",
        "status": "print the state of a session, and what a person may have to do",
        "history": "print what has happened to a profile",
        "check": "say which part of the credential is wrong",
        "keys": "make a further key",
        "pause": "stop new orders; cancels are still sent",
        "resume": "allow new orders again",
        "logout": "end the login at IBKR",
        "forget": "remove a profile, its credential and its keys",
        "consumer": "store the keys of a company that standard input has",
    }
    parsers = {verb: verbs.add_parser(verb, help=text, epilog=_example(verb)) for verb, text in texts.items()}
    for verb, each in parsers.items():
        if verb not in NAMELESS:
            each.add_argument("name", metavar="NAME", help="of the profile: small letters, digits, hyphens")
        each.add_argument("--json", action="store_true", help="as JSON")
    parsers["new"].add_argument("--road", choices=["gateway", "oauth"], default="gateway", help="how it reaches IBKR")
    parsers["new"].add_argument("--mode", choices=["paper", "live"], default="paper", help="default: paper")
    parsers["new"].add_argument("--user", default="", help="whose profile it is, in the words of your app")
    parsers["new"].add_argument("--dhparam", metavar="FILE", help="Diffie-Hellman parameters that exist already")
    parsers["new"].add_argument("--out", metavar="FOLDER", help="for the files to upload (default: NAME-ibkr)")
    parsers["new"].add_argument("--no-keys", action="store_true", help="make no keys for IBKR: they exist already")
    parsers["new"].add_argument(
        "--set", action="append", default=[], type=_setting, metavar="NAME=VALUE", help="a further setting"
    )
    parsers["history"].add_argument("--days", type=int, default=7, help="how many days, 1 to 90 (default: 7)")
    parsers["consumer"].add_argument("--remove", action="store_true", help="remove them; connected users stay so")
    for verb in ("new", "keys"):
        parsers[verb].add_argument("--read", action="store_true", help="the key may only read")
    return parser


def _example(verb: str) -> str:
    return f"example: {PROGRAM} profile {verb}{'' if verb in NAMELESS else ' anna'}"


def _setting(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or name not in SETTING_OF_MEMBER:
        raise argparse.ArgumentTypeError(f"write NAME=VALUE with one of: {', '.join(SETTING_OF_MEMBER)}")
    return name, value


def _list(_: argparse.Namespace, state_dir: Path | None) -> Any:
    return request(state_dir, "GET", "/profiles")


def _new(args: argparse.Namespace, state_dir: Path | None) -> Any:
    members = {"road": args.road, "mode": args.mode, **({USER: args.user} if args.user else {}), **dict(args.set)}
    body = {"name": args.name, "settings": members, "key": "read" if args.read else "trade"}
    made = request(state_dir, "POST", "/profiles", body)
    if args.road == "oauth" and not args.no_keys:
        from ibkr_bridge.cli.profile_oauth import make_and_send_keys  # loads cryptography

        made["upload"] = make_and_send_keys(args, state_dir)
    return made


def _import(args: argparse.Namespace, state_dir: Path | None) -> Any:
    from ibkr_bridge.cli.profile_oauth import PROMPTS, read_credential  # loads cryptography

    return request(state_dir, "POST", f"/profiles/{args.name}/credential", read_credential(PROMPTS))


def _consumer(args: argparse.Namespace, state_dir: Path | None) -> Any:
    from ibkr_bridge.cli.profile_oauth import CONSUMER_PROMPTS, read_credential  # loads cryptography

    if args.remove:
        return request(state_dir, "DELETE", "/consumer")
    return request(state_dir, "PUT", "/consumer", read_credential(CONSUMER_PROMPTS))


def _status(args: argparse.Namespace, state_dir: Path | None) -> Any:
    return request(state_dir, "GET", f"/profiles/{args.name}/status")


def _history(args: argparse.Namespace, state_dir: Path | None) -> Any:
    return request(state_dir, "GET", f"/profiles/{args.name}/history?days={args.days}")


def _keys(args: argparse.Namespace, state_dir: Path | None) -> Any:
    return request(state_dir, "POST", f"/profiles/{args.name}/keys", {"scope": "read" if args.read else "trade"})


def _act(args: argparse.Namespace, state_dir: Path | None) -> Any:
    return request(state_dir, "POST", f"/profiles/{args.name}/{args.verb}")


def _forget(args: argparse.Namespace, state_dir: Path | None) -> Any:
    return request(state_dir, "DELETE", f"/profiles/{args.name}")


def _print_list(answer: dict[str, Any]) -> None:
    for each in answer["profiles"]:
        _print_line(each)
    for each in answer.get("refused", ()):
        _print(f"{each['name']:<16} cannot be used: {each['problems']}")


def _print_line(profile: dict[str, Any]) -> None:
    state = profile["state"] + (", orders paused" if profile["paused"] else "")
    todo = "" if profile["ready"] else f" — {profile['hint']}"
    _print(f"{profile['name']:<16} {profile['road']:<8} {profile['mode']:<6} {state}{todo}")


def _print_made(answer: dict[str, Any]) -> None:
    profile = answer.get("profile")
    if profile is not None:
        print(f"The profile {profile['name']} runs: {PROGRAM} profile list", file=sys.stderr)
    print(SHOWN_ONCE, file=sys.stderr)
    print(answer["key"], flush=True)  # alone on standard output, so that a script can catch it
    if "upload" in answer:
        print(answer["upload"], file=sys.stderr)


def _print_status(answer: dict[str, Any]) -> None:
    print(format_status(answer, datetime.now(UTC), in_color=has_color("auto", sys.stdout, os.environ)))


def _print_history(answer: dict[str, Any]) -> None:
    _print(format_history(answer))


def _print_imported(answer: dict[str, Any]) -> None:
    if answer["complete"]:
        _print(f"The credential of {answer['name']} is sealed, and the bridge signs in: profile check {answer['name']}")
    else:
        _print(f"Stored. Still missing: {', '.join(answer['missing'])}")


def _print_checked(answer: dict[str, Any]) -> None:
    part = f"{answer['artefact']}: " if answer["artefact"] else ""
    _print(f"{'good' if answer['good'] else 'wrong'}  {part}{answer['text']}\n       {answer['do']}")


def _print_forgotten(answer: dict[str, Any]) -> None:
    _print(f"{answer['name']} is removed with its credential and keys. The journal of its orders stays.")


def _print_consumer(answer: dict[str, Any]) -> None:
    _print("The keys of the company are sealed." if answer["stored"] else "The keys of the company are removed.")


def _print(text: str) -> None:
    print("\n".join(map(escape_unprintable, text.split("\n"))))


VERBS: dict[str, Callable[[argparse.Namespace, Path | None], Any]] = {
    "list": _list,
    "new": _new,
    "import": _import,
    "status": _status,
    "history": _history,
    "check": _act,
    "keys": _keys,
    "pause": _act,
    "resume": _act,
    "logout": _act,
    "forget": _forget,
    "consumer": _consumer,
}
DESCRIBE: dict[str, Callable[[dict[str, Any]], None]] = {
    "list": _print_list,
    "new": _print_made,
    "import": _print_imported,
    "status": _print_status,
    "history": _print_history,
    "check": _print_checked,
    "keys": _print_made,
    "pause": _print_line,
    "resume": _print_line,
    "logout": _print_line,
    "forget": _print_forgotten,
    "consumer": _print_consumer,
}
