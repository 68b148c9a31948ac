"""Stage `PenaltyGate`: IBKR refuses this endpoint, or everything, for a while."""

from __future__ import annotations

from http import HTTPStatus

from ibkr_bridge.calls.context import CallContext
from ibkr_bridge.calls.messages import Response, discard
from ibkr_bridge.calls.stage import Proceed
from ibkr_bridge.limits.penalty_box import PenaltyBox

MAX_DIGITS = 9  # of a Retry-After; longer values are ignored


class PenaltyGate:
    """Refuses calls that IBKR would refuse, and learns from each 429."""

    def __init__(self, penalty_box: PenaltyBox) -> None:
        self._penalty_box = penalty_box

    async def __call__(self, context: CallContext, proceed: Proceed) -> Response:
        """See `Stage`.

        Raises:
            RateLimited: IBKR refuses this endpoint for a while.
            InPenaltyBox: IBKR refuses everything from this address for a while.
        """
        self._check(context)
        context.preconditions.append(self._check)
        response = await proceed(context)
        if response.status != HTTPStatus.TOO_MANY_REQUESTS:
            return response
        discard(response)
        text = response.headers.get("Retry-After", "")
        retry_after_s = float(text[:MAX_DIGITS]) if text.isascii() and text.isdigit() else None  # it may be a date
        raise self._penalty_box.on_429(context.endpoint, retry_after_s)

    def _check(self, context: CallContext) -> None:
        self._penalty_box.check(context.endpoint)
