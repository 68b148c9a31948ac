"""One request's stay in the bridge: what is found out about it on its way, for the reply's headers and the log."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from dataclasses import dataclass

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
    target: Target | None = None
    route: str = "?"
    """The pattern it met, never the path itself: account numbers stand in paths."""
    endpoint: Endpoint | None = None
    upstream_target: UpstreamTarget | None = None
    """Where a bridged call goes; None for everything else."""
    source: str = "bridge"
    code: str | None = None
    age_s: float | None = None
    """Seconds since a remembered answer was had."""
    order_record: OrderRecord | None = None
    """The order it was about, where it was about one."""
    on_delivered: Callable[[bool], None] | None = None
    """Is told whether the reply reached its caller, where somebody minds."""
    waited_s: float | None = None
    upstream_s: float | None = None
    no_content_type: bool = False
    """The Gateway named no content type, so we name none: aiohttp would say octet-stream."""

    @property
    def spans(self) -> tuple[tuple[str, float | None], ...]:
        """Where the time went, seconds: waiting for our turn, and at the Gateway."""
        return ("wait", self.waited_s), ("gateway", self.upstream_s)


def choose_request_id(given: str | None, redactor: Redactor) -> str:
    """The caller's id where it is well-formed and holds no secret, else one of ours."""
    if given and WELL_FORMED.fullmatch(given) and not redactor.contains_secret(given):
        return given
    return f"{random.getrandbits(128):032x}"  # it names a request and guards nothing
