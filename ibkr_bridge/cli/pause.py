"""`bridge.py pause`: stop new orders. Cancels are still sent, and the pause outlives a restart."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from ibkr_bridge.cli.command_parser import new_parser
from ibkr_bridge.cli.one_call import add_json_option, run_call

EXAMPLES = {"pause": "until resume, also after a restart", "pause --json": "as JSON"}


def run(argv: Sequence[str]) -> int:
    """Stop new orders. Returns 0 if they are stopped."""
    return run_call(build_parser(), argv, lambda client, _: client.post("/gateway/pause"), describe)


def build_parser() -> argparse.ArgumentParser:
    """The parser of this command."""
    return add_json_option(new_parser("pause", "Stop new orders; cancels are still sent.", EXAMPLES))


def describe(answer: dict[str, Any]) -> str:
    """The pause in one line."""
    duration = "also after a restart" if answer["kept"] else "but not after a restart: the pause file cannot be written"
    return f"New orders are stopped, {duration}. Set by {answer['by']} at {answer['since']}."
