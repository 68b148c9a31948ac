"""Limits of a minute and longer, saved over a restart: IBKR still counts calls that were sent before it."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from ibkr_bridge.calls.upstream_port import UpstreamTraits
from ibkr_bridge.events import Bus
from ibkr_bridge.ibkr.catalogue import CATALOGUE
from ibkr_bridge.ibkr.endpoint import Endpoint
from ibkr_bridge.limits.admission import AdmissionController
from ibkr_bridge.state_file import load_text, save_json

MIN_PERIOD_S = 60.0  # seconds; a shorter limit is over by the time that the session is open again


class PersistentWindows:
    """When endpoints with long limits may be called again.

    Args:
        path: the file; None if there is no state directory.
        bus: where the events go.
        utc: returns the wall-clock time, since a restart must not shorten a period.
        traits: the limits of the endpoints.
    """

    def __init__(self, path: Path | None, bus: Bus, utc: Callable[[], datetime], traits: UpstreamTraits) -> None:
        self._path = path
        self._bus = bus
        self._utc = utc
        self._until: dict[str, float] = {}
        periods_s = {each.path: limit.period_s for each in CATALOGUE if (limit := traits.limit(each)) is not None}
        self._periods_s = {path: period_s for path, period_s in periods_s.items() if period_s >= MIN_PERIOD_S}
        """By path of the endpoints with long limits."""

    def __repr__(self) -> str:
        return f"<PersistentWindows {len(self._until)} rows>"

    def load(self, admission: AdmissionController) -> None:
        """Read the file of an earlier run; an unreadable file counts as empty, since IBKR will answer 429 again."""
        if self._path is None:
            return
        try:
            saved = {str(path): float(until) for path, until in json.loads(load_text(self._path)).items()}
        except (OSError, ValueError, TypeError, AttributeError, RecursionError):
            return
        now = self._utc().timestamp()
        for endpoint in CATALOGUE:
            left_s = min(saved.get(endpoint.path, 0.0) - now, self._periods_s.get(endpoint.path, 0.0))
            if left_s > 0 and endpoint.path not in self._until:
                self._until[endpoint.path] = now + left_s
                admission.occupy(endpoint, left_s)

    def record(self, endpoint: Endpoint) -> None:
        """Record that a call of this endpoint was sent, or answered."""
        if endpoint.path not in self._periods_s:
            return
        self._until[endpoint.path] = self._utc().timestamp() + self._periods_s[endpoint.path]
        save_json(
            self._path, self._until, self._bus, "the file of paces", "a limit of IBKR's will not outlive a restart"
        )
