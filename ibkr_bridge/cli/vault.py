"""`bridge.py vault`: the sealed credentials of profiles, and the keys that seal them."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from ibkr_bridge.cli import EXIT_FAILURE, EXIT_MISCONFIGURED, EXIT_OK
from ibkr_bridge.cli.bridge_access import settings_or_report
from ibkr_bridge.cli.command_parser import new_parser
from ibkr_bridge.config.settings import Settings
from ibkr_bridge.program_name import PROGRAM
from ibkr_bridge.redaction import escape_unprintable
from ibkr_bridge.vault.key_file import new_key_line
from ibkr_bridge.vault.opening import file_store, open_store, open_vault
from ibkr_bridge.vault.postgres_store import PostgresStore
from ibkr_bridge.vault.store_port import StoreError
from ibkr_bridge.vault.vault import Checked, CredentialUnreadable, VaultLocked

EXAMPLES = {
    "vault key": "make a key; it is shown once",
    "vault check": "open every credential, and say which cannot be opened",
    "vault rotate": "seal everything with the first key of the file",
    "vault move --to database": "from files into IBKR_BRIDGE_DATABASE_URL",
    "vault migrate": "make or update the table; standard input has the address of an administrator",
}
MORE = f"""To replace the key: put the line of a new one first in the file that IBKR_BRIDGE_VAULT_KEYS names, then
  {PROGRAM} vault rotate
  {PROGRAM} vault check
and remove the old line when every credential is sealed with the newest key."""
Outcome = tuple[bool, dict[str, Any], list[str]]
"""Whether it is good, the facts for `--json`, and lines for a person."""


def run(argv: Sequence[str]) -> int:
    """Run one of the verbs. Returns 0 if it is good, 1 if not, 78 if the settings cannot be used."""
    args = build_parser().parse_args(argv)
    if args.verb == "key":
        print(new_key_line())
        return EXIT_OK
    settings = settings_or_report()
    if settings is None:
        return EXIT_MISCONFIGURED
    try:
        is_good, facts, lines = asyncio.run(VERBS[args.verb](args, settings))
    except (StoreError, VaultLocked, CredentialUnreadable) as exc:
        is_good, facts, lines = False, {"error": str(exc)}, [str(exc)]
    print(json.dumps(facts) if args.json else "\n".join(map(escape_unprintable, lines)))
    return EXIT_OK if is_good else EXIT_FAILURE


def build_parser() -> argparse.ArgumentParser:
    """The parser of this command."""
    parser = new_parser("vault", "The sealed credentials of profiles, and the keys that seal them.", EXAMPLES, MORE)
    verbs = parser.add_subparsers(dest="verb", metavar="key | check | rotate | move | migrate", required=True)
    texts = {
        "key": "make a key for the file of keys",
        "check": "open every credential",
        "rotate": "seal every credential with the newest key",
        "move": "move every credential to files or to the database",
        "migrate": "make or update the table; standard input has the address of an administrator",
    }
    for verb, text in texts.items():
        each = verbs.add_parser(
            verb, help=text, epilog=f"example: {PROGRAM} vault {verb}{' --to database' if verb == 'move' else ''}"
        )
        each.add_argument("--json", action="store_true", help="as JSON")
        if verb == "move":
            each.add_argument("--to", choices=["files", "database"], required=True, help="where they go")
    return parser


async def _check(_: argparse.Namespace, settings: Settings) -> Outcome:
    store = open_store(settings)
    vault = open_vault(settings, store)
    try:
        found = await vault.check()
    finally:
        await store.close()
    facts = [_facts(each) for each in found]
    lines = [f"{each.listed.owner.profile:<16} {each.listed.kind:<20} {_verdict(each)}" for each in found]
    is_good = not vault.locked and all(each.problem is None for each in found)
    head = vault.locked or f"{len(found)} credentials in {store.place}"
    return is_good, {"credentials": facts, "locked": vault.locked}, [head, *lines]


def _facts(checked: Checked) -> dict[str, Any]:
    listed = checked.listed
    return {
        "profile": listed.owner.profile,
        "kind": listed.kind,
        "problem": checked.problem,
        "newest": checked.is_newest,
    }


def _verdict(checked: Checked) -> str:
    if checked.problem is not None:
        return checked.problem
    return "sealed with the newest key" if checked.is_newest else "sealed with an older key: vault rotate"


async def _rotate(_: argparse.Namespace, settings: Settings) -> Outcome:
    store = open_store(settings)
    try:
        changed = await open_vault(settings, store).rotate()
    finally:
        await store.close()
    return True, {"changed": changed}, [f"{changed} credentials are sealed with the newest key now"]


async def _move(args: argparse.Namespace, settings: Settings) -> Outcome:
    if settings.database_url is None:
        raise StoreError("no database is named: set IBKR_BRIDGE_DATABASE_URL")
    files, database = file_store(settings.state_dir), PostgresStore(settings.database_url)
    source, target = (files, database) if args.to == "database" else (database, files)
    try:
        moved = await open_vault(settings, source).move(target)
    finally:
        await database.close()
    return True, {"moved": moved}, [f"{moved} credentials were moved to {target.place}"]


async def _migrate(_: argparse.Namespace, __: Settings) -> Outcome:
    import asyncpg

    from ibkr_bridge.vault.schema import migrate

    try:
        connection = await asyncpg.connect(sys.stdin.readline().strip())
        done = await migrate(connection)
        await connection.close()
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, ValueError) as exc:
        raise StoreError(f"the database cannot be changed ({type(exc).__name__})") from exc
    return True, {"migrations": done}, [f"{done} migrations ran; the table is in its newest form"]


VERBS: dict[str, Callable[[argparse.Namespace, Settings], Coroutine[Any, Any, Outcome]]] = {
    "check": _check,
    "rotate": _rotate,
    "move": _move,
    "migrate": _migrate,
}
