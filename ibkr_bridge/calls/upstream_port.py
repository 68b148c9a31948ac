"""The port to IBKR: what every upstream offers. The Gateway is one; everything above knows only this protocol."""

from __future__ import annotations

from typing import Protocol

from ibkr_bridge.calls.messages import Call, OnReleased, Precondition, Response, noop, noop_precondition


class Upstream(Protocol):
    """A road to IBKR."""

    async def send(
        self, call: Call, on_released: OnReleased = noop, precondition: Precondition = noop_precondition
    ) -> Response:
        """Send one call and bring its answer.

        Raises:
            GatewayUnreachable: no connection; nothing was sent.
            GatewaySilent: no answer within the deadline. The call may still be at work over there.
            GatewayGarbled: the connection broke, or what came is not HTTP.
        """
        ...
