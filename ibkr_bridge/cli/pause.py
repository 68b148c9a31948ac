"""`bridge.py pause`: stop new orders. Cancels are still sent, and the pause outlives a restart."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from ibkr_bridge.cli.one_call import run_call

EPILOG = "example: bridge.py pause   (bridge.py resume allows new orders again)"


def run(argv: Sequence[str]) -> int:
    """Stop new orders. Returns 0 if they are stopped."""
    parser = argparse.ArgumentParser(
        prog="bridge.py pause", description="Stop new orders; cancels are still sent.", epilog=EPILOG
    )
    return run_call(parser, argv, lambda client, _: client.post("/gateway/pause"), describe)


def describe(answer: dict[str, Any]) -> str:
    """The pause in one line."""
    duration = "also after a restart" if answer["kept"] else "but not after a restart: the pause file cannot be written"
    return f"New orders are stopped, {duration}. Set by {answer['by']} at {answer['since']}."
