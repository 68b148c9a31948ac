"""`bridge.py reconnect`: check the session now, and request it if brokerage calls fail."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from ibkr_bridge.cli.command_parser import new_parser
from ibkr_bridge.cli.one_call import add_json_option, run_call
from ibkr_bridge.cli.status import STATE_TEXT

EXAMPLES = {"reconnect": "after trouble at the Gateway", "reconnect --json": "as JSON"}


def run(argv: Sequence[str]) -> int:
    """Check the session. Returns 0 if the bridge has checked it, whatever it found."""
    return run_call(build_parser(), argv, lambda client, _: client.post("/gateway/reconnect"), describe)


def build_parser() -> argparse.ArgumentParser:
    """The parser of this command."""
    return add_json_option(
        new_parser("reconnect", "Check the session now, and request it if brokerage calls fail.", EXAMPLES)
    )


def describe(answer: dict[str, Any]) -> str:
    """The session and what was done, one line each."""
    reopening = answer["reopening"]
    done = "the session was requested" if reopening["requested"] else f"nothing was requested: {reopening['reason']}"
    return f"{STATE_TEXT[answer['state']]}\n  {done}\n  next: {answer['next']}"
