"""One request about an order: the call, who sent it, and what its headers say."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Protocol

from ibkr_bridge.calls.context import CallContext, FirstByteHook
from ibkr_bridge.calls.facts import RequestFacts
from ibkr_bridge.calls.messages import Call, OnLateResponse, Response
from ibkr_bridge.ibkr.endpoint import OrderOperation
from ibkr_bridge.orders.journal.order_record import OrderRecord, digest

UNKNOWN_OPEN = "unknown-open"  # the word of X-Bridge-Confirm that lets an order pass while another one is unknown


class SendOrderCall(Protocol):
    """Sends one call about an order through all stages."""

    async def __call__(
        self,
        call: Call,
        facts: RequestFacts,
        before_first_byte: FirstByteHook,
        is_connected: Callable[[], bool],
        on_late_response: OnLateResponse,
    ) -> Response:
        """Send a call and return its response.

        Args:
            facts: the facts that the rules check, once more when the connection is open.
            before_first_byte: writes the journal entry; what it raises stops the call.
            is_connected: whether any caller still waits for it.
            on_late_response: receives a response that comes after the deadline.

        Raises:
            BridgeError: `OrderUnknown` if it was sent and its response was lost; others as their class says.
            CallerGone: nothing was sent, and no caller is left.
        """
        ...


async def _not_connected(
    call: Call,
    facts: RequestFacts,
    before_first_byte: FirstByteHook,
    is_connected: Callable[[], bool],
    on_late_response: OnLateResponse,
) -> Response:
    """Replaced by the order service."""
    raise RuntimeError("the request was not handed to the order service")


async def _no_rules() -> None:
    """Replaced by the order service."""


@dataclass(eq=False)
class OrderRequest:
    """One request about an order."""

    context: CallContext
    operation: OrderOperation
    owner: str = ""
    """Fingerprint of the key that it came with."""
    request_id: str = ""
    idempotency_key: str | None = None
    confirmations: frozenset[str] = frozenset()
    """The words of X-Bridge-Confirm."""
    account: str | None = None
    """The account that its path names."""
    identity: bytes = b""
    """What its caller wrote, if the body of the call was made from it and from what IBKR shows now."""
    path_id: str = ""
    """The last part of its path: the id of an order, or of a reply."""
    send: SendOrderCall = _not_connected
    check_rules: Callable[[], Awaitable[None]] = _no_rules
    """Applies the rules before anything else is done; raises what they say."""
    record: OrderRecord | None = None
    """The order that it is about, once that is known; shown in the headers of its response."""
    source: str = "gateway"
    started_at: float = field(default_factory=time.monotonic)
    """Monotonic seconds."""
    facts: RequestFacts = field(init=False)
    """The facts that the rules check; with the value of the order once it is known."""

    def __post_init__(self) -> None:
        self.facts = self.context.facts

    @property
    def call(self) -> Call:
        """The call as the caller wrote it."""
        return self.context.call

    @property
    def key_label(self) -> str:
        """The name of its key in the log."""
        return self.context.key_label

    def is_connected(self) -> bool:
        """Whether its caller is connected."""
        return self.context.is_connected()

    def remaining_wait(self) -> float:
        """Seconds that its caller still waits, counted from when the request came."""
        wait_s = self.context.max_wait_s if self.context.wait_s is None else self.context.wait_s
        return max(0.0, wait_s - (time.monotonic() - self.started_at))

    @property
    def fingerprint(self) -> str:
        """What it has in common with the same call sent again, and with no other."""
        return digest(self.call.method.encode(), self.call.target.encode(), self.identity or self.call.body)
