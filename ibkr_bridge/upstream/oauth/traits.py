"""What is fixed for IBKR's Web API without a Gateway."""

from __future__ import annotations

import math

from ibkr_bridge.calls.upstream_port import UpstreamTraits
from ibkr_bridge.ibkr.catalogue import CATALOGUE
from ibkr_bridge.ibkr.endpoint import Layer, Priority, RateLimit

SHARES = {Priority.SESSION: 0.75, Priority.ORDERS: 0.9, Priority.READS: 0.75}
"""Parts of the rate, so that orders never stop the reads completely, and no read delays an order."""
SPARED = 0.8
"""The part of IBKR's rate that the bridge uses; the websocket, handshakes and other programs spend the rest."""
ANSWER_LIMIT_S = 10.0
"""Seconds after which IBKR itself answers 503 with an empty body."""
PORTFOLIO_ONLY = (
    "this profile is portfolio only (IBKR_BRIDGE_PORTFOLIO_ONLY=yes): it never opens a brokerage session, so it has no "
    "orders, quotes and contracts"
)


def oauth_traits(rate: int, *, is_portfolio_only: bool) -> UpstreamTraits:
    """The traits for a profile.

    Args:
        rate: calls a second that IBKR allows its username.
        is_portfolio_only: whether the brokerage session is never opened.
    """
    total = max(1, math.floor(rate * SPARED))
    closed = [each.path for each in CATALOGUE if each.layer is Layer.BROKERAGE] if is_portfolio_only else []
    return UpstreamTraits(
        name="oauth",
        slots=None,  # no limit is published, and nothing holds a place there
        slots_for_orders=0,
        total=RateLimit(total, 1.0, "CAMPUS"),
        by_priority={each: RateLimit(max(1, math.floor(total * share)), 1.0, "ours") for each, share in SHARES.items()},
        abandoned_for_s=2 * ANSWER_LIMIT_S,  # IBKR gives up before; a call counts as long as its answer may come
        penalty_s=900.0,
        has_stream=not is_portfolio_only,
        missing=dict.fromkeys(closed, PORTFOLIO_ONLY),
    )
