"""`bridge.py resume`: allow new orders again."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from ibkr_bridge.cli.command_parser import new_parser
from ibkr_bridge.cli.one_call import add_json_option, run_call

EXAMPLES = {"resume": "the end of a pause", "resume --json": "as JSON"}


def run(argv: Sequence[str]) -> int:
    """Allow new orders. Returns 0 if they are allowed."""
    return run_call(build_parser(), argv, lambda client, _: client.post("/gateway/resume"), describe)


def build_parser() -> argparse.ArgumentParser:
    """The parser of this command."""
    return add_json_option(new_parser("resume", "Allow new orders again.", EXAMPLES))


def describe(answer: dict[str, Any]) -> str:
    """The end of the pause in one line."""
    duration = "" if answer["kept"] else ", until a restart: the pause file cannot be removed"
    return f"New orders are allowed again{duration}."
