"""`bridge.py keys`: further keys for callers, each with a name and a scope. A key is shown once, when it is made.

The state directory has only digests. After each change the running bridge is reloaded, so that a new key works and a
revoked one is refused as soon as the command ends.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ibkr_bridge.cli import EXIT_FAILURE, EXIT_MISCONFIGURED, EXIT_OK
from ibkr_bridge.cli.bridge_access import settings_or_report
from ibkr_bridge.cli.command_parser import new_parser
from ibkr_bridge.cli.reload import reload_bridge
from ibkr_bridge.config.settings import MAIN
from ibkr_bridge.program_name import PROGRAM
from ibkr_bridge.redaction import escape_unprintable
from ibkr_bridge.server.named_keys import (
    KeyScope,
    NamedKey,
    NamedKeysError,
    add_key,
    grant_profile,
    load_named_keys,
    lock_keys,
    revoke_keys,
    save_named_keys,
)

SHOWN_ONCE = "This key is shown once. Give it to its caller as IBKR_BRIDGE_KEY:"
NO_STATE_DIR = "there is no state directory: set IBKR_BRIDGE_STATE_DIR"
EXAMPLES = {
    "keys add dashboard --read": "a key that only reads",
    "keys add bot --trade": "a key that may do everything",
    "keys add app --trade --app --profile anna --profile ben": "a key of an app with several users",
    "keys list": "names and scopes; no key is shown",
    "keys revoke dashboard": "its calls get 401, and its tokens and streams end",
}
MORE = f"""To change a key without a failed call: add a second key of the same name, give it to the caller, then
  {PROGRAM} keys revoke dashboard --older"""


def run(argv: Sequence[str]) -> int:
    """Change or list the keys. Returns 0 if it is in force, 1 if not, 78 if the settings cannot be used."""
    args = build_parser().parse_args(argv)
    settings = settings_or_report()
    if settings is None:
        return EXIT_MISCONFIGURED
    if settings.state_dir is None:
        return _report_problem(NO_STATE_DIR, as_json=args.json)
    try:
        return VERBS[args.verb](args, settings.state_dir)
    except NamedKeysError as exc:
        return _report_problem(str(exc), as_json=args.json)
    except OSError as exc:
        return _report_problem(f"the keys cannot be changed: {exc.strerror}", as_json=args.json)


def build_parser() -> argparse.ArgumentParser:
    """The parser of this command."""
    parser = new_parser("keys", "Named keys for callers, each with a scope of its own.", EXAMPLES, MORE)
    verbs = parser.add_subparsers(dest="verb", metavar="list | add | grant | revoke", required=True)
    add = verbs.add_parser("add", help="make a key and show it once", epilog=f"example: {PROGRAM} keys add bot --trade")
    scope = add.add_mutually_exclusive_group(required=True)
    scope.add_argument("--read", dest="scope", action="store_const", const=KeyScope.READ, help="it may only read")
    scope.add_argument("--trade", dest="scope", action="store_const", const=KeyScope.TRADE, help="it may do everything")
    scope.add_argument(
        "--manage", dest="scope", action="store_const", const=KeyScope.MANAGE, help="it manages profiles, nothing else"
    )
    add.add_argument("--profile", action="append", metavar="NAME", help="the profile that it reaches (default: main)")
    add.add_argument("--app", action="store_true", help="each request names one of its profiles: X-Bridge-Profile")
    grant = verbs.add_parser(
        "grant", help="let the key of an app reach a further profile", epilog=f"example: {PROGRAM} keys grant app anna"
    )
    revoke = verbs.add_parser(
        "revoke", help="refuse a key from now on", epilog=f"example: {PROGRAM} keys revoke bot --older"
    )
    revoke.add_argument("--older", action="store_true", help="only the older one of its two keys")
    listing = verbs.add_parser("list", help="show names and scopes", epilog=f"example: {PROGRAM} keys list --json")
    for verb in (add, grant, revoke):
        verb.add_argument("name", metavar="NAME", help="of the key, such as dashboard; the log shows it")
    grant.add_argument("profile", metavar="PROFILE", help="the name of the profile")
    for verb in (add, grant, revoke, listing):
        verb.add_argument("--json", action="store_true", help="as JSON")
    return parser


def _add(args: argparse.Namespace, state_dir: Path) -> int:
    with lock_keys(state_dir):
        profiles = args.profile or (MAIN,)
        keys, key = add_key(
            load_named_keys(state_dir), args.name, args.scope, datetime.now(UTC), profiles, app=args.app
        )
        save_named_keys(state_dir, keys)
    if not args.json:
        print(SHOWN_ONCE, file=sys.stderr)
        print(key, flush=True)  # alone on standard output, so that a script can catch it
    facts = {"key": key, "name": args.name, "scope": args.scope.value}
    return _reload(args, state_dir, facts, "The key works now.")


def _grant(args: argparse.Namespace, state_dir: Path) -> int:
    with lock_keys(state_dir):
        save_named_keys(state_dir, grant_profile(load_named_keys(state_dir), args.name, args.profile))
    return _reload(args, state_dir, {"name": args.name, "profile": args.profile}, "The key reaches the profile now.")


def _revoke(args: argparse.Namespace, state_dir: Path) -> int:
    with lock_keys(state_dir):
        save_named_keys(state_dir, revoke_keys(load_named_keys(state_dir), args.name, only_older=args.older))
    return _reload(
        args, state_dir, {"name": args.name}, "The key is refused now, and its tokens and streams have ended."
    )


def _reload(args: argparse.Namespace, state_dir: Path, facts: dict[str, Any], done: str) -> int:
    """Let the running bridge use the change. Without one, the next start does."""
    reload = reload_bridge(state_dir)
    if args.json:
        print(json.dumps({**facts, "in_force": reload.is_done, "text": done if reload.is_done else reload.text}))
    elif reload.is_done:
        print(done, file=sys.stderr)
    elif not reload.is_running:
        print("No bridge runs here; the next one that starts reads the change.", file=sys.stderr)
    else:
        text = f"The change is saved and not yet in force: {reload.text}. Then: {PROGRAM} reload"
        print(escape_unprintable(text), file=sys.stderr)
    return EXIT_OK if reload.is_done or not reload.is_running else EXIT_FAILURE


def _list(args: argparse.Namespace, state_dir: Path) -> int:
    keys = load_named_keys(state_dir)
    if args.json:
        print(json.dumps({"keys": [_facts(key) for key in keys]}))
    else:
        print("\n".join(_line(key) for key in keys) or f"no named keys; to make one: {PROGRAM} keys add NAME --read")
    return EXIT_OK


def _facts(key: NamedKey) -> dict[str, Any]:
    return {
        "name": key.name,
        "scope": key.scope.value,
        "created": key.created.isoformat(),
        "profiles": list(key.profiles),
        "app": key.app,
    }


def _line(key: NamedKey) -> str:
    reached = "" if key.profiles == (MAIN,) else f"  {', '.join(key.profiles)}"
    return f"{key.name:<32} {key.scope.value:<6} since {key.created:%Y-%m-%d %H:%M} UTC{reached}"


def _report_problem(text: str, *, as_json: bool) -> int:
    print(json.dumps({"error": text}) if as_json else text, file=sys.stdout if as_json else sys.stderr)
    return EXIT_FAILURE


VERBS: dict[str, Callable[[argparse.Namespace, Path], int]] = {
    "add": _add,
    "grant": _grant,
    "revoke": _revoke,
    "list": _list,
}
