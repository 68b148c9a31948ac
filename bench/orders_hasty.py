"""The bridge of the order story: `bridge.py` as it is, but in a hurry where the story would take days otherwise.

It asks as often as it is asked, looks for lost orders for seconds instead of minutes, takes a call that was never
answered to have left the Gateway after three seconds instead of two minutes, and waits half a second for the reply to a
question instead of sixty. What it does, and in which order, is untouched. The product has no setting for any of it and
must not have one: this launcher changes its own process alone.
"""

from __future__ import annotations

import dataclasses
import functools
import sys

from bench.wide import run
from ibkr_bridge.orders import serialization
from ibkr_bridge.orders.reconciliation.schedule import ReconcileSchedule
from ibkr_bridge.profiles import factory
from ibkr_bridge.upstream.gateway.client import GatewayClient
from tests.unlimited import UNLIMITED

GHOST_FOR = 3.0  # seconds
ANSWER_WITHIN = 0.4  # seconds
SEARCH = ReconcileSchedule(
    give_up_after_s=2.5,
    first_delay_s=0.1,
    interval_s=0.3,
    refresh_delay_s=0.15,
    late_checks_s=(3.0, 4.0, 5.0, 7.0, 10.0, 20.0),
    startup_block_s=5.0,
)
"""All in seconds; IBKR's list of orders takes 0.1 s to fill in the story."""


if __name__ == "__main__":
    factory.GatewayClient = functools.partial(GatewayClient, abandoned_for_s=GHOST_FOR)  # type: ignore[assignment, attr-defined]  # in this process alone
    serialization.REPLY_TIMEOUT_S = ANSWER_WITHIN
    sys.exit(run(dataclasses.replace(UNLIMITED, reconcile_schedule=SEARCH), sys.argv[1:]))
