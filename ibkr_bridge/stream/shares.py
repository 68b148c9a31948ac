"""What of a message is for whom. Pure.

Everybody reads the same upstream subscription, whose arguments join the wishes of all; so each gets the part that was
asked for and nothing else. Readers that asked for the same share one `View`, for which a message is written once.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ibkr_bridge.stream.topics import Args, Kind, Wish

Message = dict[str, Any]
View = frozenset[str] | None
"""Names that were asked for; None for everything."""

ALWAYS = frozenset({"topic", "conid", "conidEx", "_updated", "_age", "server_id", "6119", "6509"})
"""Members that every message about a quote has, whatever was asked for."""
NAMED_BY = {Kind.QUOTES: "fields", Kind.SUMMARY: "keys", Kind.LEDGER: "keys", Kind.ORDERS: "filters"}
"""Which of a wish's arguments lists the parts of a message that are wanted."""
ORDERED_BY = frozenset({"sort_by_time"})  # among the filters of orders, and no state


def view_of(wish: Wish) -> View:
    """What a reader is to get of a topic."""
    name = NAMED_BY.get(wish.topic.kind)
    wanted = frozenset(wish.args.get(name) or ()) if name else frozenset()
    return wanted - ORDERED_BY or None


def part(kind: Kind, view: View, message: Message) -> Message | None:
    """The part of a message for a view; None where nothing of it is."""
    if view is None or kind not in PARTS:
        return message
    return PARTS[kind](view, message)


def _quote(view: frozenset[str], message: Message) -> Message | None:
    kept = {name: value for name, value in message.items() if name in view or name in ALWAYS}
    return kept if any(name not in ALWAYS for name in kept) else None


def _keyed(view: frozenset[str], message: Message) -> Message | None:
    rows = message.get("result")
    if not isinstance(rows, list):
        return message
    kept = [row for row in rows if isinstance(row, dict) and row.get("key") in view]
    return {**message, "result": kept} if kept else None


def _orders(view: frozenset[str], message: Message) -> Message | None:
    """By state, where a row says its state; IBKR's own filters are never sent on, as they silence its stream."""
    wanted = {_state(name) for name in view}
    rows = message.get("args")
    if not isinstance(rows, list):
        return message
    kept = [
        row for row in rows if not isinstance(row, dict) or "status" not in row or _state(str(row["status"])) in wanted
    ]
    return {**message, "args": kept} if kept else None


def _state(name: str) -> str:
    return name.replace("_", "").lower()


PARTS = {Kind.QUOTES: _quote, Kind.SUMMARY: _keyed, Kind.LEDGER: _keyed, Kind.ORDERS: _orders}


def is_covered(kind: Kind, asked: Args, wanted: Mapping[str, Any]) -> bool:
    """Whether what IBKR was asked for already brings what is wanted."""
    return all(_brings(asked.get(name), wanted[name]) for name in wanted)


def _brings(asked: object, wanted: object) -> bool:
    if isinstance(asked, list) and isinstance(wanted, list):
        return set(wanted) <= set(asked) and bool(wanted) == bool(asked)
    return asked == wanted
