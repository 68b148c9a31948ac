"""What is fixed for the Client Portal Gateway: its slots, and how much of IBKR's rate the bridge uses."""

from __future__ import annotations

from ibkr_bridge.calls.upstream_port import UpstreamTraits
from ibkr_bridge.ibkr.endpoint import Priority, RateLimit

GATEWAY_TRAITS = UpstreamTraits(
    name="gateway",
    slots=4,  # the Gateway works on five calls at a time; one stays free for IBeam and the Gateway itself
    slots_for_orders=1,
    total=RateLimit(8, 1.0, "GUIDE"),  # IBKR allows ten a second; the Gateway, IBeam and the keeper spend the rest
    by_priority={  # so that orders never stop the reads completely, and no read delays an order
        Priority.SESSION: RateLimit(6, 1.0, "ours"),
        Priority.ORDERS: RateLimit(7, 1.0, "ours"),
        Priority.READS: RateLimit(6, 1.0, "ours"),
    },
    abandoned_for_s=120.0,  # after that, a call without a response has left the Gateway (observed)
    penalty_s=900.0,  # IBKR's own page says fifteen minutes; another one says ten
)
