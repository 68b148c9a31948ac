"""Stage `ComposeReads`: responses that are made of several calls, or of a part of one.

Some of IBKR's calls have side effects or are incomplete: `filters` on the list of orders stops its order stream, and
positions come in pages of unknown length. The bridge sends other calls instead and makes the response of them. Each
part passes the following stages by itself.

How long a caller waits counts for each part anew: thirty pages at IBKR's rate take longer than the five seconds that
callers usually wait for one call. All parts together have a minute.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping

from ibkr_bridge.calls.context import CallContext, CallTiming
from ibkr_bridge.calls.messages import Call, FetchCall, Response
from ibkr_bridge.calls.parameters import check_list_sizes
from ibkr_bridge.calls.stage import Proceed
from ibkr_bridge.calls.upstream_port import UpstreamTraits
from ibkr_bridge.errors import NotSupported, RateLimited
from ibkr_bridge.ibkr.catalogue import endpoint_of
from ibkr_bridge.ibkr.endpoint import Composition
from ibkr_bridge.quirks.order_filters import fetch_filtered_orders
from ibkr_bridge.quirks.position_pages import fetch_all_positions

MAX_TOTAL_S = 60.0  # for all parts of a response; also the longest that a caller can wait for one call

Composer = Callable[[FetchCall, Call], Awaitable[Response]]
COMPOSERS: Mapping[Composition, Composer] = {
    Composition.FILTERED: fetch_filtered_orders,
    Composition.PAGES: fetch_all_positions,
}


class ComposeReads:
    """Makes responses of several calls.

    Args:
        traits: which endpoints the upstream has, and which of its responses are made of several calls.
        now: the monotonic time in seconds.
    """

    def __init__(self, traits: UpstreamTraits, now: Callable[[], float] = time.monotonic) -> None:
        self._traits = traits
        self._now = now
        self._composers = {each: composer for each, composer in COMPOSERS.items() if each in traits.compositions}

    async def __call__(self, context: CallContext, proceed: Proceed) -> Response:
        """See `Stage`.

        Raises:
            NotSupported: the upstream does not have this endpoint.
            BadRequest: a list in the query or body is longer than IBKR takes, or a filter is unknown.
        """
        if not self._traits.has(context.endpoint):
            raise NotSupported(self._traits.missing[context.endpoint.path])
        check_list_sizes(context.endpoint, context.call)
        composition = context.endpoint.composition
        composer = self._composers.get(composition) if composition is not None else None
        if composer is None:
            return await proceed(context)
        return await composer(self._part_sender(context, proceed), context.call)

    def _part_sender(self, context: CallContext, proceed: Proceed) -> FetchCall:
        """Sends one of the calls that the response is made of.

        Raises:
            RateLimited: the parts took longer than a minute.
        """
        max_wait_s, deadline = context.remaining_wait(), self._now() + MAX_TOTAL_S

        async def send(call: Call) -> Response:
            remaining_s = deadline - self._now()
            if remaining_s <= 0:
                raise RateLimited("the calls for this response took longer than a minute", retry_after=MAX_TOTAL_S)
            part = context.part(call, endpoint_of(call.method, call.target))
            part.timing, part.wait_s = CallTiming(), min(max_wait_s, remaining_s)
            try:
                return await proceed(part)
            finally:
                context.merge_part(part)
                context.timing.waited_s += part.timing.waited_s
                context.timing.upstream_s += part.timing.upstream_s

        return send
