"""IBKR's penalty box: first for one endpoint, then for the whole address. Saved over a restart.

A 429 closes its own endpoint for its period, as a burst of one kind may mean no more. If a second endpoint is refused
while the first is closed, or the keeper's own check is, it is the penalty box: fifteen minutes in which every call
makes
it longer. Reads stop and new orders are refused; cancels are still sent, so that a caller can always get out.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from math import ceil
from pathlib import Path

from ibkr_bridge.errors import InPenaltyBox, RateLimited
from ibkr_bridge.events import Bus, EndpointRateLimited, PenaltyBoxEntered
from ibkr_bridge.ibkr.endpoint import Endpoint, OrderOperation
from ibkr_bridge.state_file import save_json

BOX_S = 900.0  # seconds, by IBKR's own page; another one says ten minutes
DEFAULT_CLOSED_S = 15.0  # seconds for which an endpoint without a known limit is closed
MAX_RETRY_AFTER_S = 3600.0  # seconds; a longer Retry-After is not a rate limit


@dataclass(frozen=True)
class PenaltyStatus:
    """What IBKR refuses now."""

    box_s: int = field(
        metadata={"doc": "How long IBKR still refuses everything; 0 where it does not.", "unit": "s, rounded up"}
    )
    endpoints: Mapping[str, int] = field(
        metadata={"doc": "How long each endpoint that IBKR refuses stays closed, by its path.", "unit": "s, rounded up"}
    )


class PenaltyBox:
    """What IBKR refuses for now.

    Args:
        path: where it is kept; None where there is no state directory.
        utc: the wall's time, since a restart must not shorten it.
        box_s: how long the box lasts where IBKR does not say.
    """

    def __init__(self, path: Path | None, bus: Bus, utc: Callable[[], datetime], box_s: float = BOX_S) -> None:
        self._path = path
        self._bus = bus
        self._utc = utc
        self._box_s = box_s
        self._rows: dict[str, float] = {}
        self._box = 0.0

    def __repr__(self) -> str:
        return f"<PenaltyBox box {self.box_left_s:.0f} s, {len(self._rows)} rows>"

    def load(self) -> None:
        """Read the file of an earlier run; an unreadable file counts as empty, since IBKR will answer 429 again."""
        if self._path is None:
            return
        try:
            kept = json.loads(self._path.read_text("utf-8"))
            latest = self._now() + MAX_RETRY_AFTER_S
            self._box = min(float(kept["box"]), latest)
            self._rows = {str(row)[:200]: min(float(until), latest) for row, until in kept["rows"].items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return

    @property
    def box_left_s(self) -> float:
        """Seconds until the penalty ends; 0 if there is none."""
        return max(0.0, self._box - self._now())

    @property
    def closed_endpoints(self) -> dict[str, float]:
        """The endpoints that IBKR refuses, with the seconds left."""
        now = self._now()
        return {row: until - now for row, until in self._rows.items() if until > now}

    def status(self) -> PenaltyStatus:
        """What IBKR refuses now, in whole seconds."""
        return PenaltyStatus(ceil(self.box_left_s), {row: ceil(left) for row, left in self.closed_endpoints.items()})

    def check(self, endpoint: Endpoint) -> None:
        """Check that a call may be sent now.

        Raises:
            InPenaltyBox: the whole address is in the penalty box.
            RateLimited: this endpoint is closed for a moment.
        """
        if endpoint.operation is OrderOperation.CANCEL or not (self._box or self._rows):
            return
        if left := self.box_left_s:
            raise InPenaltyBox(f"IBKR refuses all calls for another {left:.0f} s", retry_after=left)
        if left := self.closed_endpoints.get(endpoint.path, 0.0):
            raise RateLimited("IBKR answered that this call was sent too often", retry_after=left)

    def on_429(self, endpoint: Endpoint, said: float | None) -> RateLimited | InPenaltyBox:
        """Record a 429. Returns the error for the caller.

        Args:
            said: its Retry-After in seconds.
        """
        now, others = self._now(), {path for path in self.closed_endpoints if path != endpoint.path}
        period = min(
            said or (endpoint.rate_limit.period_s if endpoint.rate_limit else DEFAULT_CLOSED_S), MAX_RETRY_AFTER_S
        )
        self._rows = {**{path: self._rows[path] for path in others}, endpoint.path: now + period}
        self._bus.publish(EndpointRateLimited(endpoint.path, round(period, 1)))
        if others:
            self.enter(said)
            return InPenaltyBox("IBKR put this address into its penalty box", retry_after=self.box_left_s)
        self._save()
        return RateLimited("IBKR answered that this is asked too often", retry_after=period)

    def enter(self, said: float | None = None) -> None:
        """Enter the penalty box."""
        was_open = not self.box_left_s
        self._box = max(self._box, self._now() + min(said or self._box_s, MAX_RETRY_AFTER_S))
        if was_open:
            self._bus.publish(PenaltyBoxEntered(round(self.box_left_s)))
        self._save()

    def _now(self) -> float:
        return self._utc().timestamp()

    def _save(self) -> None:
        told, otherwise = {"box": self._box, "rows": self._rows}, "the penalty box will not outlive a restart"
        save_json(self._path, told, self._bus, "the penalty file", otherwise)
