"""Stage `MarketDataGate`: calls that use or free market data lines.

IBKR sends a hundred contracts at a time, to streams and quote snapshots together. A snapshot opens a market data line.
IBKR's `unsubscribe` and `unsubscribeall` close a contract for everybody, so the bridge answers them for the caller
alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from urllib.parse import parse_qs

from ibkr_bridge.calls.context import CallContext
from ibkr_bridge.calls.messages import Response, json_response
from ibkr_bridge.calls.stage import Proceed
from ibkr_bridge.ibkr.bodies import parse_object
from ibkr_bridge.ibkr.catalogue import SNAPSHOT, UNSUBSCRIBE, UNSUBSCRIBE_ALL
from ibkr_bridge.streaming.upstream_subscriptions import UpstreamSubscriptions


class MarketDataGate:
    """Counts the market data lines that calls use.

    Args:
        subscriptions: what is requested from IBKR, and who uses which line.
    """

    def __init__(self, subscriptions: UpstreamSubscriptions) -> None:
        self._subscriptions = subscriptions

    async def __call__(self, context: CallContext, proceed: Proceed) -> Response:
        """See `Stage`.

        Raises:
            MarketDataLimit: streams use all lines that a quote snapshot needs.
        """
        intercept = INTERCEPTED_CALLS.get(context.endpoint.segments)
        response = intercept(self, context) if intercept is not None else None
        if response is None:
            return await proceed(context)
        context.source = "bridge"
        return response

    def _on_snapshot(self, context: CallContext) -> None:
        requested = parse_qs(context.call.target.partition("?")[2]).get("conids", [""])[-1]
        conids = list(filter(str.isdigit, (part.partition("@")[0].strip() for part in requested.split(","))))
        self._subscriptions.free_market_data_lines(conids)
        usage, streamed = self._subscriptions.line_usage, self._subscriptions.streamed_conids
        is_reduced = context.has_reduced_share and not context.serves_order
        reduced = self._subscriptions.reduced_conids if is_reduced else None
        usage.opened_by_call(context.key_label, conids, streamed, reduced)

    def _on_unsubscribe(self, context: CallContext) -> Response:
        self._release_line(context.key_label, str(parse_object(context.call.body).get("conid", "")))
        return json_response({"success": True})

    def _on_unsubscribe_all(self, context: CallContext) -> Response:
        for conid in self._subscriptions.line_usage.conids_of(context.key_label):
            self._release_line(context.key_label, conid)
        return json_response({"unsubscribed": True})

    def _release_line(self, owner: str, conid: str) -> None:
        """Release a line on IBKR's websocket, where messages stay in order, unless another call or stream uses it."""
        if self._subscriptions.line_usage.release(owner, conid):
            self._subscriptions.release_market_data_line(conid)


Intercept = Callable[[MarketDataGate, CallContext], Response | None]
INTERCEPTED_CALLS: Mapping[tuple[str, ...], Intercept] = {
    SNAPSHOT: MarketDataGate._on_snapshot,
    UNSUBSCRIBE: MarketDataGate._on_unsubscribe,
    UNSUBSCRIBE_ALL: MarketDataGate._on_unsubscribe_all,
}
