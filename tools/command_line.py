"""Write the commands with their options into docs/command-line.md: `python -m tools.command_line`."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

from ibkr_bridge.cli import COMMANDS
from ibkr_bridge.cli.command_parser import parser_of
from ibkr_bridge.cli.exit_statuses import EXIT_STATUSES
from tools.marked_section import write_section

PAGE = Path(__file__).resolve().parents[1] / "docs" / "command-line.md"
STATUSES, TABLE, OPTIONS = "exit statuses", "commands", "options"


def status_table() -> str:
    """The exit statuses."""
    rows = (f"| {status} | {text} |\n" for status, text in EXIT_STATUSES.items())
    return "\n| status | meaning |\n|---|---|\n" + "".join(rows) + "\n"


def command_table() -> str:
    """One row for each command."""
    rows = (f"| `{command}` | {text} |\n" for command, text in COMMANDS.items())
    return "\n| command | what it does |\n|---|---|\n" + "".join(rows) + "\n"


def option_tables() -> str:
    """The arguments of each command, and of each verb of it."""
    return "\n" + "".join(text for command in COMMANDS for text in _sections(command, parser_of(command)))


def _sections(words: str, parser: argparse.ArgumentParser) -> Iterator[str]:
    rows = "".join(_row(action) for action in parser._actions if not _is_left_out(action))
    yield f"### {words}\n\n" + (f"| argument | meaning |\n|---|---|\n{rows}\n" if rows else "No arguments.\n\n")
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for verb, inner in action.choices.items():
                yield from _sections(f"{words} {verb}", inner)


def _is_left_out(action: argparse.Action) -> bool:
    return isinstance(action, argparse._HelpAction)


def _row(action: argparse.Action) -> str:
    names = ", ".join(action.option_strings) or str(action.metavar or action.dest)
    value = f" {action.metavar or action.dest.upper()}" if action.option_strings and action.nargs != 0 else ""
    text = (action.help or "one of the verbs below").replace("|", "\\|")
    return f"| `{names.replace('|', '/')}{value}` | {text} |\n"


if __name__ == "__main__":
    for section, content in ((TABLE, command_table()), (STATUSES, status_table()), (OPTIONS, option_tables())):
        write_section(PAGE, section, content)
