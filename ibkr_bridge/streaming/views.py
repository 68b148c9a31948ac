"""Views: the part of a message that a subscriber gets. Pure.

All subscribers of a topic share one subscription at IBKR with merged arguments, so each gets only the part that it
requested. Subscribers with the same request share one `View`, for which a message is encoded once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ibkr_bridge.streaming.protocol import Args, Subscribe, TopicKind, trade_days

Message = dict[str, Any]
DAY_MS = 24 * 3600 * 1000
MINUTE_MS = 60 * 1000  # subscribers that came within the same minute share a view of trades

MAX_SECONDS_VALUE = 1e11  # a time below this is in seconds, whatever its name says

ALWAYS_INCLUDED = frozenset({"topic", "conid", "conidEx", "_updated", "_age", "server_id", "6119", "6509"})
"""Members that every message about a quote has, whatever was requested."""
ROW_HEADER = frozenset({"key", "timestamp", "acctCode", "secondKey"})
"""Members that every row of a summary or ledger has."""
ORDERED_BY = frozenset({"sort_by_time"})  # among the filters of orders, but not a state


@dataclass(frozen=True)
class View:
    """The part of a topic that a subscriber requested; an empty field means everything."""

    names: frozenset[str] = frozenset()
    """Fields of quotes, keys of a summary or ledger, states of orders."""
    members: frozenset[str] = frozenset()
    """Members of the rows of a summary or ledger."""
    since_ms: int = 0
    """Earlier trades are left out; milliseconds since 1970."""


FULL_VIEW = View()


def view_of(subscribe: Subscribe, now_ms: int) -> View:
    """The view of a subscription that begins now."""
    make_view = VIEWS.get(subscribe.topic.kind)
    return make_view(subscribe.args, now_ms) if make_view is not None else FULL_VIEW


def _names_of(args: Args, name: str) -> frozenset[str]:
    return frozenset(args.get(name) or ())


def _trades_view(args: Args, now_ms: int) -> View:
    """Trades since a time, minus one minute: IBKR's clock may be behind ours, and an extra trade is better than a
    missing one.
    """
    back = 0 if args.get("realtimeUpdatesOnly") is True else trade_days(args) * DAY_MS
    return View(since_ms=(now_ms - back) // MINUTE_MS * MINUTE_MS - MINUTE_MS)


def _rows_view(args: Args, _: int) -> View:
    return View(_names_of(args, "keys"), _names_of(args, "fields"))


VIEWS: Mapping[TopicKind, Callable[[Args, int], View]] = {
    TopicKind.QUOTES: lambda args, _: View(_names_of(args, "fields")),
    TopicKind.ORDERS: lambda args, _: View(frozenset(map(_normalise_state, _names_of(args, "filters") - ORDERED_BY))),
    TopicKind.TRADES: _trades_view,
    TopicKind.SUMMARY: _rows_view,
    TopicKind.LEDGER: _rows_view,
}


def project(kind: TopicKind, view: View, message: Message) -> Message | None:
    """The part of a message for a view; None if there is none."""
    if view == FULL_VIEW or kind not in PROJECTIONS:
        return message
    return PROJECTIONS[kind](view, message)


def _project_quote(view: View, message: Message) -> Message | None:
    projected = {name: value for name, value in message.items() if name in view.names or name in ALWAYS_INCLUDED}
    return projected if any(name not in ALWAYS_INCLUDED for name in projected) else None


def _project_keyed(view: View, message: Message) -> Message | None:
    def wanted(row: object) -> bool:
        key = row.get("key") if isinstance(row, dict) else None
        return isinstance(key, str) and (not view.names or key in view.names)

    projected = _filter_rows(message, "result", wanted)
    if projected is None or not view.members or not isinstance(projected.get("result"), list):
        return projected
    rows = [{name: row[name] for name in row if name in ROW_HEADER | view.members} for row in projected["result"]]
    return {**projected, "result": rows}


def _project_orders(view: View, message: Message) -> Message | None:
    """Filter by state; IBKR's own filters are never sent to it, as they stop its stream."""
    return _filter_rows(
        message, "args", lambda row: isinstance(row, dict) and _normalise_state(row.get("status")) in view.names
    )


def _project_trades(view: View, message: Message) -> Message | None:
    def wanted(row: object) -> bool:
        at = row.get("trade_time_r") if isinstance(row, dict) else None
        if not isinstance(at, int | float) or not at > 0:
            return True
        return (at * 1000 if at < MAX_SECONDS_VALUE else at) >= view.since_ms

    return _filter_rows(message, "args", wanted)


def _filter_rows(message: Message, places: str, wanted: Callable[[object], bool]) -> Message | None:
    """A message with the requested rows only; unchanged if it has no rows."""
    rows = message.get(places)
    if not isinstance(rows, list) or not rows:
        return message
    matching = [row for row in rows if wanted(row)]
    return {**message, places: matching} if matching else None


def _normalise_state(name: object) -> str:
    return str(name).replace("_", "").lower()


PROJECTIONS: Mapping[TopicKind, Callable[[View, Message], Message | None]] = {
    TopicKind.QUOTES: _project_quote,
    TopicKind.SUMMARY: _project_keyed,
    TopicKind.LEDGER: _project_keyed,
    TopicKind.ORDERS: _project_orders,
    TopicKind.TRADES: _project_trades,
}


def is_covered(requested: Args, wanted: Args) -> bool:
    """Whether the arguments of the last request cover what is needed."""
    return set(requested) == set(wanted) and all(_covers(requested[name], wanted[name]) for name in wanted)


def _covers(requested: object, wanted: object) -> bool:
    if isinstance(requested, list) and isinstance(wanted, list):
        return all(name in requested for name in wanted) and bool(wanted) == bool(requested)
    return requested == wanted
