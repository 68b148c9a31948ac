"""The bridge of the order bench: `bridge.py` as it is, with shorter waits, as the bench would otherwise take days.

It sends calls without IBKR's rate limits and searches for lost orders for seconds instead of minutes. It assumes for
three seconds instead of two minutes that a call without a response still occupies the Gateway, and it waits 0.4 s
instead of 60 s for the reply to a question. What it does, and in which order, is unchanged. The product has no setting
for any of this and must not have one: this launcher replaces the values in its own process alone.
"""

from __future__ import annotations

import dataclasses
import functools
import os
import re
import signal
import sys
from pathlib import Path

from bench.orders_setup import hand_over_file
from bench.wide import replace_name, run
from ibkr_bridge.orders import serialization
from ibkr_bridge.orders.reconciliation.schedule import ReconcileSchedule
from ibkr_bridge.profiles import roads
from ibkr_bridge.upstream.gateway.client import GatewayClient
from ibkr_bridge.upstream.http import connection_pool
from ibkr_bridge.upstream.http.connection import HttpConnection
from tests.unlimited import UNLIMITED

ORDER = re.compile(rb"POST /v1/api/iserver/(account/[^/ ]+/orders|reply/[^/ ]+) ")
GHOST_CALL_S = 3.0
REPLY_TIMEOUT_S = 0.4
SCHEDULE = ReconcileSchedule(
    give_up_after_s=2.5,
    first_delay_s=0.1,
    interval_s=0.3,
    refresh_delay_s=0.15,
    late_checks_s=(3.0, 4.0, 5.0, 7.0, 10.0, 20.0),
    startup_block_s=5.0,
)
"""In the bench, IBKR's list of orders takes 0.1 s to fill."""


class SelfKillingConnection(HttpConnection):
    """Kills its own process when it hands over an order, if the bench has asked for it."""

    def send(self, request: bytes) -> None:
        """See `HttpConnection.send`."""
        order_file = hand_over_file(Path(os.environ["IBKR_BRIDGE_STATE_DIR"]))
        if not ORDER.match(request) or not order_file.is_file():
            super().send(request)
            return
        moment = order_file.read_text()
        order_file.unlink()
        if moment == "after":
            super().send(request)
        os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    replace_name(connection_pool, "HttpConnection", SelfKillingConnection)
    replace_name(roads, "GatewayClient", functools.partial(GatewayClient, abandoned_for_s=GHOST_CALL_S))
    replace_name(serialization, "REPLY_TIMEOUT_S", REPLY_TIMEOUT_S)
    sys.exit(run(dataclasses.replace(UNLIMITED, reconcile_schedule=SCHEDULE), sys.argv[1:]))
