"""IBKR's penalty box: first for one endpoint, then for the whole address. Saved over a restart.

A 429 closes its own endpoint for its period, as a burst of one kind may mean no more. If a second endpoint is refused
while the first is closed, or if the keeper's own check is refused, it is the penalty box: for fifteen minutes IBKR
refuses everything, and each call makes the period longer. Reads stop and new orders are refused; cancels are still
sent, so that a caller can always get out.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from math import ceil
from pathlib import Path

from ibkr_bridge.calls.messages import noop
from ibkr_bridge.calls.upstream_port import UpstreamTraits
from ibkr_bridge.errors import InPenaltyBox, RateLimited
from ibkr_bridge.events import Bus, EndpointRateLimited, PenaltyBoxEntered
from ibkr_bridge.ibkr.endpoint import Endpoint, OrderOperation
from ibkr_bridge.state_file import load_text, save_json

DEFAULT_CLOSED_S = 15.0  # seconds for which an endpoint without a known limit is closed
MAX_RETRY_AFTER_S = 3600.0  # seconds; a longer Retry-After is not a rate limit


@dataclass(frozen=True)
class PenaltyStatus:
    """What IBKR refuses now."""

    box_s: int = field(
        metadata={"doc": "How long IBKR still refuses everything; 0 if it does not.", "unit": "s, rounded up"}
    )
    endpoints: Mapping[str, int] = field(
        metadata={"doc": "How long each endpoint that IBKR refuses stays closed, by its path.", "unit": "s, rounded up"}
    )


class PenaltyBox:
    """What IBKR refuses for now.

    Args:
        path: the file that keeps it over a restart; None without a state directory.
        bus: where the events go.
        utc: returns the wall time: a restart must not shorten the penalty.
        traits: the limits of the endpoints, and how long the penalty lasts if IBKR sends no Retry-After.
    """

    def __init__(self, path: Path | None, bus: Bus, utc: Callable[[], datetime], traits: UpstreamTraits) -> None:
        self._path = path
        self._bus = bus
        self._utc = utc
        self._traits = traits
        self._closed_until: dict[str, float] = {}
        self._box_until = 0.0
        self.on_refused: Callable[[], None] = noop
        """Called after each 429: other profiles at this address must know."""
        self.on_entered: Callable[[], None] = noop
        """Called when the box was entered, or became longer."""

    def __repr__(self) -> str:
        return f"<PenaltyBox box {self.box_left_s:.0f} s, {len(self._closed_until)} rows>"

    def load(self) -> None:
        """Read the file of an earlier run; an unreadable file counts as empty, since IBKR will answer 429 again."""
        if self._path is None:
            return
        try:
            saved = json.loads(load_text(self._path))
            latest = self._now() + MAX_RETRY_AFTER_S
            self._box_until = min(float(saved["box"]), latest)
            self._closed_until = {str(row)[:200]: min(float(until), latest) for row, until in saved["rows"].items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return

    @property
    def box_left_s(self) -> float:
        """Seconds until the penalty ends; 0 if there is none."""
        return max(0.0, self._box_until - self._now())

    @property
    def closed_endpoints(self) -> dict[str, float]:
        """The endpoints that IBKR refuses, with the seconds left."""
        now = self._now()
        return {row: until - now for row, until in self._closed_until.items() if until > now}

    def status(self) -> PenaltyStatus:
        """What IBKR refuses now, in whole seconds."""
        endpoints = {path: ceil(left_s) for path, left_s in self.closed_endpoints.items()}
        return PenaltyStatus(ceil(self.box_left_s), endpoints)

    def check(self, endpoint: Endpoint) -> None:
        """Check that a call may be sent now.

        Raises:
            InPenaltyBox: the whole address is in the penalty box.
            RateLimited: this endpoint is closed for a moment.
        """
        if endpoint.operation is OrderOperation.CANCEL or not (self._box_until or self._closed_until):
            return
        if left_s := self.box_left_s:
            raise InPenaltyBox(f"IBKR refuses all calls for another {left_s:.0f} s", retry_after=left_s)
        if left_s := self.closed_endpoints.get(endpoint.path, 0.0):
            raise RateLimited("IBKR answered that this call was sent too often", retry_after=left_s)

    def on_429(self, endpoint: Endpoint, retry_after_s: float | None) -> RateLimited | InPenaltyBox:
        """Record a 429. Returns the error for the caller.

        Args:
            endpoint: the endpoint that was refused.
            retry_after_s: the Retry-After of the response.
        """
        now, others = self._now(), {path for path in self.closed_endpoints if path != endpoint.path}
        limit = self._traits.limit(endpoint)
        period = min(retry_after_s or (limit.period_s if limit else DEFAULT_CLOSED_S), MAX_RETRY_AFTER_S)
        self._closed_until = {**{path: self._closed_until[path] for path in others}, endpoint.path: now + period}
        self._bus.publish(EndpointRateLimited(endpoint.path, round(period, 1)))
        if others:
            self.enter(retry_after_s)
            return InPenaltyBox("IBKR put this address into its penalty box", retry_after=self.box_left_s)
        self._save()
        self.on_refused()
        return RateLimited("IBKR answered that this call was sent too often", retry_after=period)

    def enter(self, retry_after_s: float | None = None) -> None:
        """Enter the penalty box, or make the penalty longer."""
        is_new = not self.box_left_s
        penalty_s = min(retry_after_s or self._traits.penalty_s, MAX_RETRY_AFTER_S)
        self._box_until = max(self._box_until, self._now() + penalty_s)
        if is_new:
            self._bus.publish(PenaltyBoxEntered(round(self.box_left_s)))
        self._save()
        self.on_entered()

    def end_penalty(self) -> None:
        """Forget all penalties, as after a simulated one: IBKR itself would refuse calls until the time is over."""
        self._closed_until, self._box_until = {}, 0.0
        self._save()

    def _now(self) -> float:
        return self._utc().timestamp()

    def _save(self) -> None:
        state = {"box": self._box_until, "rows": self._closed_until}
        save_json(self._path, state, self._bus, "the penalty file", "the penalty box will not be known after a restart")
