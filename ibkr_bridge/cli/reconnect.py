"""`bridge.py reconnect`: check the session now, and request it if brokerage calls fail."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from ibkr_bridge.cli.one_call import run_call
from ibkr_bridge.cli.status import STATE_TEXT


def run(argv: Sequence[str]) -> int:
    """Check the session. Returns 0 if the bridge has checked it, whatever it found."""
    parser = argparse.ArgumentParser(
        prog="bridge.py reconnect",
        description="Check the session now, and request it if brokerage calls fail.",
        epilog="example: bridge.py reconnect && bridge.py status",
    )
    return run_call(parser, argv, lambda client, _: client.post("/gateway/reconnect"), describe)


def describe(answer: dict[str, Any]) -> str:
    """The session and what was done, one line each."""
    reopening = answer["reopening"]
    done = "the session was requested" if reopening["requested"] else f"nothing was requested: {reopening['reason']}"
    return f"{STATE_TEXT[answer['state']]}\n  {done}\n  next: {answer['next']}"
