"""The request context: what is known of one request, for the headers of its response and for the log."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from dataclasses import dataclass, field

from ibkr_bridge.calls.context import CallTiming
from ibkr_bridge.ibkr.endpoint import Endpoint
from ibkr_bridge.orders.journal.order_record import OrderRecord
from ibkr_bridge.redaction import Redactor
from ibkr_bridge.server.keyring import Principal
from ibkr_bridge.server.request_target import Target, UpstreamTarget

WELL_FORMED = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,63}")


@dataclass
class RequestContext:
    """What is known of one request so far."""

    request_id: str
    started_at: float
    """Monotonic seconds."""
    principal: Principal | None = None
    chosen_profile: str | None = None
    """The profile that a header chose among those of the key; None if there was nothing to choose."""
    target: Target | None = None
    route: str = "?"
    """The pattern that its path matched, never the path itself: paths contain account numbers."""
    endpoint: Endpoint | None = None
    upstream_target: UpstreamTarget | None = None
    """Where a proxied call goes; None for everything else."""
    source: str = "bridge"
    is_head_sent: bool = False
    """Whether the head of its response has left, so that no other response may follow."""
    code: str | None = None
    age_s: float | None = None
    """Age of a cached response."""
    order_record: OrderRecord | None = None
    """The record of the order call that it was."""
    on_delivered: Callable[[bool], None] | None = None
    """Called with whether the response reached its caller, if somebody needs to know."""
    on_finished: list[Callable[[], None]] = field(default_factory=list)
    """Called when it is answered: gives back what it took of what all callers share."""
    body: bytes = field(default=b"", repr=False)
    """The body of the request, as far as a handler has read it."""
    warning: str = ""
    """What the caller of an order should know, for the header X-Bridge-Warning; empty if there is nothing."""
    timing: CallTiming | None = None
    """How long a proxied call took so far; None for everything else."""
    ibkr_message: str | None = None
    """IBKR's own words, redacted, if IBKR refused; for the log."""
    refused: str | None = None
    """What the bridge refused, where naming it is harmless; for the log."""
    no_content_type: bool = False
    """Whether the response has no content type, as the Gateway sent none; aiohttp would add octet-stream."""

    @property
    def profile(self) -> str | None:
        """The profile that it concerns; None without a valid key, and if the key reaches none or chose none."""
        if self.chosen_profile is not None or self.principal is None or self.principal.is_app:
            return self.chosen_profile
        return next(iter(self.principal.profiles), None)

    @property
    def key_label(self) -> str:
        """The name of its key, for admission; empty without a valid key."""
        return self.principal.label if self.principal else ""

    @property
    def shown_order(self) -> OrderRecord | None:
        """The record of its order call, if the journal has a line of it; its caller may then ask for it by its id."""
        record = self.order_record
        return record if record is not None and record.state is not None else None

    @property
    def has_reduced_share(self) -> bool:
        """Whether it takes part of what callers share only within the reduced share; so does a request without key."""
        return self.principal is None or self.principal.has_reduced_share

    @property
    def server_timing(self) -> str:
        """The value of Server-Timing: milliseconds of waiting for the session and for admission, and at the
        Gateway; empty for what is not proxied.
        """
        if self.timing is None:
            return ""
        return f"wait;dur={self.timing.waited_s * 1000:.1f}, gateway;dur={self.timing.upstream_s * 1000:.1f}"


def choose_request_id(header: str | None, redactor: Redactor) -> str:
    """The caller's X-Request-ID if it is well-formed and contains no secret, else a new one."""
    if header and WELL_FORMED.fullmatch(header) and not redactor.contains_secret(header):
        return header
    return f"{random.getrandbits(128):032x}"  # an identifier, not a secret
