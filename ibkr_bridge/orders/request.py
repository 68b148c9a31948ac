"""What a caller wants done with an order, and the road it would take: all that the desk is told of a request."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from ibkr_bridge.calls.facts import RequestFacts
from ibkr_bridge.calls.messages import Call, OnLateResponse, Response
from ibkr_bridge.ibkr.endpoint import OrderOperation
from ibkr_bridge.orders.journal.order_record import OrderRecord, digest


@dataclass(eq=False)
class Departure:
    """What has to stand on disk before a call's first byte, and whether that byte has left."""

    write_entry: Callable[[], Awaitable[None]]
    """Awaited when the connection stands; what it raises stops the call. All is looked at once more behind it."""
    has_left: bool = False
    """Whether the first byte may have left; the line says so in the turn of the loop in which it writes it."""


class SendOrderCall(Protocol):
    """The road to IBKR, with all its checks."""

    async def __call__(
        self,
        call: Call,
        facts: RequestFacts,
        before_first_byte: Departure,
        is_connected: Callable[[], bool],
        on_late_response: OnLateResponse,
    ) -> Response:
        """Send a call and bring its answer.

        Args:
            asked: what the rules judge it by, once more when its connection stands.
            leaving: see `Departure`.
            is_there: whether anybody still waits for it.
            late: see `Late`.

        Raises:
            BridgeError: `OrderUnknown` where it left and its answer was lost; others say what they say.
            CallerGone: nothing was sent, and nobody is left to be told.
        """
        ...


@dataclass(eq=False)
class OrderRequest:
    """One request about an order."""

    operation: OrderOperation
    call: Call
    facts: RequestFacts
    send: SendOrderCall
    check_rules: Callable[[], Awaitable[None]]
    """Asks the rules, before anything else is done; raises what they say."""
    remaining_wait: Callable[[], float]
    """Seconds the caller would still wait for its turn."""
    is_connected: Callable[[], bool] = lambda: True
    account: str | None = None
    owner: str = ""
    """Which key it came with, without telling it."""
    key_label: str = ""
    """That key's name for the log."""
    request_id: str = ""
    """The request's id."""
    idempotency_key: str | None = None
    """Its Idempotency-Key."""
    confirmations: frozenset[str] = frozenset()
    """The words of X-Bridge-Confirm."""
    path_id: str = ""
    """The last part of its path: an order's id, or a reply's."""
    record: OrderRecord | None = None
    """The order it is about, once that is known; told in the headers of its answer."""
    source: str = "gateway"

    @property
    def fingerprint(self) -> str:
        """What it has in common with the same call sent again, and with no other."""
        return digest(self.call.method.encode(), self.call.target.encode(), self.call.body)
