"""Requests the brokerage session at IBKR as often as the backoff allows, and says why it does not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from ibkr_bridge import events
from ibkr_bridge.clock import Clock
from ibkr_bridge.config.settings import Compete
from ibkr_bridge.session.backoff import ReopenBackoff
from ibkr_bridge.session.ibkr_message import shorten
from ibkr_bridge.session.session_api import SessionApi

FAILURES_BEFORE_CAUSES = 3  # failed openings after which the hint names the usual causes instead of "wait"


@dataclass(frozen=True)
class OpeningReport:
    """What a request of a caller to open the session led to."""

    requested: bool = field(metadata={"doc": "Whether the brokerage session was requested at IBKR."})
    reason: str = field(metadata={"doc": "What IBKR answered, or why nothing was sent."})


class SessionOpener:
    """Sends `ssodh/init`.

    Args:
        is_in_maintenance: whether IBKR is in a known maintenance window.
        redact: removes secrets from IBKR's words.
    """

    def __init__(
        self,
        api: SessionApi,
        compete: Compete,
        clock: Clock,
        bus: events.Bus,
        is_in_maintenance: Callable[[], bool],
        redact: Callable[[str], str],
    ) -> None:
        self._api = api
        self._compete = compete
        self._clock = clock
        self._bus = bus
        self._is_in_maintenance = is_in_maintenance
        self._redact = redact
        self._backoff = ReopenBackoff()
        self.request_count = 0
        """How often the session was requested since the start."""
        self.requested_at = float("-inf")
        """When the session was requested last, in seconds of the clock."""
        self.message = ""
        """IBKR's words about the last request, redacted; empty if the session opened or IBKR said nothing."""
        self._last_status = 0

    @property
    def keeps_failing(self) -> bool:
        """Whether so many requests in a row failed that waiting alone seldom helps."""
        return self._backoff.failed_in_a_row >= FAILURES_BEFORE_CAUSES

    @property
    def wait_s(self) -> float:
        """Seconds until the session may be requested."""
        backoff_s = self._backoff.wait_to_open(self._clock.now(), maintenance=self._is_in_maintenance())
        return max(backoff_s, self._api.opening_wait_s)

    @property
    def reclaim_wait_s(self) -> float:
        """Seconds until the session may be taken back from a competing program."""
        return max(self._backoff.wait_to_reclaim(self._clock.now()), self._api.opening_wait_s)

    @property
    def are_reclaims_exhausted(self) -> bool:
        """Whether the session is left to the competing program for now."""
        return self._backoff.reclaims_exhausted(self._clock.now())

    async def open(self) -> None:
        """Request the session, if the backoff allows it and no earlier request is still being worked on."""
        if self.wait_s <= 0 and not self._api.is_opening:
            await self._request(reclaim=False)

    async def reclaim(self) -> None:
        """Take the session back from a competing program, if the settings and the backoff allow it."""
        may_reclaim = self._compete is Compete.RECLAIM and not self._api.is_opening
        if may_reclaim and self.reclaim_wait_s <= 0:
            await self._request(reclaim=True)

    async def grant_grace(self) -> None:
        """After a fresh login a Gateway opens the session itself: leave it some seconds for that."""
        self._backoff.grant_grace(self._clock.now(), self._api.grace_s)

    def record_success(self) -> None:
        """The session is open."""
        self._backoff.record_success()
        self.message = ""

    def report_of(self, earlier_count: int) -> OpeningReport:
        """The report for a caller.

        Args:
            earlier_count: `request_count` before the caller's request.
        """
        if self.request_count > earlier_count:
            return OpeningReport(requested=True, reason=f"IBKR answered {self._last_status or 'nothing in time'}")
        if self._api.is_opening:
            return OpeningReport(requested=False, reason="IBKR has not answered the last request yet")
        if (wait_s := self.wait_s) > 0:
            return OpeningReport(requested=False, reason=f"requested too often; the next time is in {wait_s:.0f} s")
        return OpeningReport(requested=False, reason="another request would change nothing now")

    async def _request(self, *, reclaim: bool) -> None:
        self.requested_at = self._clock.now()
        attempt = self._backoff.record_attempt(self.requested_at, reclaim=reclaim)
        compete = self._compete is Compete.RECLAIM
        self.request_count += 1
        self._last_status = 0  # a caller may read the report before IBKR answers
        answer = await self._api.open_session(compete=compete)
        self._last_status, self.message = answer.status, shorten(self._redact(answer.message))
        wait_s = round(self.wait_s, 1)
        self._bus.publish(events.SessionOpening(compete, attempt, answer.status, wait_s, self.message))
