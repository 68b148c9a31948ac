"""`bridge.py resume`: allow new orders again."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from ibkr_bridge.cli.one_call import run_call


def run(argv: Sequence[str]) -> int:
    """Allow new orders. Returns 0 if they are allowed."""
    parser = argparse.ArgumentParser(
        prog="bridge.py resume", description="Allow new orders again.", epilog="example: bridge.py resume"
    )
    return run_call(parser, argv, lambda client, _: client.post("/gateway/resume"), describe)


def describe(answer: dict[str, Any]) -> str:
    """The end of the pause in one line."""
    duration = "" if answer["kept"] else ", until a restart: the pause file cannot be removed"
    return f"New orders are allowed again{duration}."
