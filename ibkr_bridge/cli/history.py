"""`bridge.py history`: what has happened to the bridge and its session, and how much of the time it was ready."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from ibkr_bridge.cli.command_parser import new_parser
from ibkr_bridge.cli.one_call import add_json_option, run_call
from ibkr_bridge.client import BridgeClient
from ibkr_bridge.clock import span_text

PERIODS = {1: "the last day", 7: "the last week"}
EXAMPLES = {"history": "the last week", "history --days 30": "a longer time"}
NOTHING = "No condition has been recorded."


def run(argv: Sequence[str]) -> int:
    """Print the conditions of the last days and the availability. Returns 0, or 1 if the bridge does not answer."""
    return run_call(build_parser(), argv, _fetch, format_history)


def build_parser() -> argparse.ArgumentParser:
    """The parser of this command."""
    parser = new_parser(
        "history", "Print what has happened, and how much of the trading hours the session was ready.", EXAMPLES
    )
    parser.add_argument("--days", type=int, default=7, help="how many days, 1 to 90 (default: 7)")
    return add_json_option(parser)


def _fetch(client: BridgeClient, args: argparse.Namespace) -> Any:
    return client.request("GET", "/gateway/history", params={"days": args.days}).json()


def format_history(history: dict[str, Any]) -> str:
    """The history as lines of text: the figures, then each condition."""
    days = round((_time(history["to"]) - _time(history["from"])) / timedelta(days=1))
    lines = [f"In {PERIODS.get(days, f'the last {days} days')}: {history['availability']['text']}"]
    if history["problem"]:
        lines.append(f"!! the history is not complete: {history['problem']}")
    return "\n".join((*lines, *(map(_line, history["conditions"]) if history["conditions"] else (NOTHING,))))


def _line(condition: dict[str, Any]) -> str:
    began = _time(condition["began"])
    lasted = "lasts" if condition["ended"] is None else span_text((_time(condition["ended"]) - began).total_seconds())
    what = f"{condition['severity']:<8}  {condition['id']}: {condition['text']}"
    return f"  {began:%Y-%m-%d %H:%M:%S} UTC  {lasted:>9}  {what}"


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)
