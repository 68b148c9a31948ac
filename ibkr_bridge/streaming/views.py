"""What of a message is for whom. Pure.

Everybody reads the same upstream subscription, whose arguments join the wishes of all; so each gets the part that was
asked for and nothing else. Readers that asked for the same share one `View`, for which a message is written once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ibkr_bridge.streaming.protocol import Args, Kind, Wish, days_of

Message = dict[str, Any]
DAY_MS = 24 * 3600 * 1000
MINUTE_MS = 60 * 1000  # readers who came within a minute of each other share what they want of trades

SECONDS = 1e11  # a time below this is one in seconds, whatever its name says

ALWAYS = frozenset({"topic", "conid", "conidEx", "_updated", "_age", "server_id", "6119", "6509"})
"""Members that every message about a quote has, whatever was asked for."""
HEAD = frozenset({"key", "timestamp", "acctCode", "secondKey"})
"""Members that every row of a summary or ledger has."""
ORDERED_BY = frozenset({"sort_by_time"})  # among the filters of orders, and no state


@dataclass(frozen=True)
class View:
    """What a reader wants of a topic; what is empty stands for everything."""

    names: frozenset[str] = frozenset()
    """Fields of quotes, keys of a summary or ledger, states of orders."""
    members: frozenset[str] = frozenset()
    """Of the rows of a summary or ledger."""
    since_ms: int = 0
    """Trades that were made before are not wanted, milliseconds since 1970."""


WHOLE = View()


def view_of(wish: Wish, now_ms: int) -> View:
    """What somebody is to get who wishes for a topic now."""
    made = VIEWS.get(wish.topic.kind)
    return made(wish.args, now_ms) if made is not None else WHOLE


def _listed(args: Args, name: str) -> frozenset[str]:
    return frozenset(args.get(name) or ())


def _trades(args: Args, now_ms: int) -> View:
    """Back to a moment, and a minute more: IBKR's clock may be behind ours, and a trade too many beats one too few."""
    back = 0 if args.get("realtimeUpdatesOnly") is True else days_of(args) * DAY_MS
    return View(since_ms=(now_ms - back) // MINUTE_MS * MINUTE_MS - MINUTE_MS)


def _rows(args: Args, _: int) -> View:
    return View(_listed(args, "keys"), _listed(args, "fields"))


VIEWS: Mapping[Kind, Callable[[Args, int], View]] = {
    Kind.QUOTES: lambda args, _: View(_listed(args, "fields")),
    Kind.ORDERS: lambda args, _: View(frozenset(map(_state, _listed(args, "filters") - ORDERED_BY))),
    Kind.TRADES: _trades,
    Kind.SUMMARY: _rows,
    Kind.LEDGER: _rows,
}


def part(kind: Kind, view: View, message: Message) -> Message | None:
    """The part of a message for a view; None where nothing of it is."""
    if view == WHOLE or kind not in PARTS:
        return message
    return PARTS[kind](view, message)


def _quote(view: View, message: Message) -> Message | None:
    kept = {name: value for name, value in message.items() if name in view.names or name in ALWAYS}
    return kept if any(name not in ALWAYS for name in kept) else None


def _keyed(view: View, message: Message) -> Message | None:
    def wanted(row: object) -> bool:
        key = row.get("key") if isinstance(row, dict) else None
        return isinstance(key, str) and (not view.names or key in view.names)

    kept = _kept(message, "result", wanted)
    if kept is None or not view.members or not isinstance(kept.get("result"), list):
        return kept
    rows = [{name: row[name] for name in row if name in HEAD | view.members} for row in kept["result"]]
    return {**kept, "result": rows}


def _orders(view: View, message: Message) -> Message | None:
    """By state; IBKR's own filters are never sent on, as they silence its stream."""
    return _kept(message, "args", lambda row: isinstance(row, dict) and _state(row.get("status")) in view.names)


def _made_since(view: View, message: Message) -> Message | None:
    def wanted(row: object) -> bool:
        at = row.get("trade_time_r") if isinstance(row, dict) else None
        if not isinstance(at, int | float) or not at > 0:
            return True
        return (at * 1000 if at < SECONDS else at) >= view.since_ms

    return _kept(message, "args", wanted)


def _kept(message: Message, where: str, wanted: Callable[[object], bool]) -> Message | None:
    """A message with those of its rows that are wanted; as it is where it has none by nature."""
    rows = message.get(where)
    if not isinstance(rows, list) or not rows:
        return message
    kept = [row for row in rows if wanted(row)]
    return {**message, where: kept} if kept else None


def _state(name: object) -> str:
    return str(name).replace("_", "").lower()


PARTS: Mapping[Kind, Callable[[View, Message], Message | None]] = {
    Kind.QUOTES: _quote,
    Kind.SUMMARY: _keyed,
    Kind.LEDGER: _keyed,
    Kind.ORDERS: _orders,
    Kind.TRADES: _made_since,
}


def is_covered(asked: Args, wanted: Args) -> bool:
    """Whether what IBKR was asked for already brings what is wanted."""
    return set(asked) == set(wanted) and all(_brings(asked[name], wanted[name]) for name in wanted)


def _brings(asked: object, wanted: object) -> bool:
    if isinstance(asked, list) and isinstance(wanted, list):
        return all(name in asked for name in wanted) and bool(wanted) == bool(asked)
    return asked == wanted
