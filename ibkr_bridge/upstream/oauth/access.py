"""The access to IBKR's Web API: made when it is needed, renewed before it ends, and never twice at a time.

Access is what signs calls: a live session token of OAuth 1.0a, or a bearer token of OAuth 2.0. It is in memory only. A
second one may end the first one, which nobody documents, so all callers share one attempt.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from ibkr_bridge import events
from ibkr_bridge.calls.messages import noop
from ibkr_bridge.clock import Clock
from ibkr_bridge.errors import GatewayError
from ibkr_bridge.oauth.handshake_ration import HandshakeRation
from ibkr_bridge.oauth.refusals import AccessProblem, Refusal

RENEWED_BEFORE = timedelta(hours=1)
MAX_JITTER = timedelta(minutes=20)
"""Profiles that started together must not all renew in the same second."""


class Access(Protocol):
    """What signs calls until it ends."""

    @property
    def made(self) -> datetime:
        """When IBKR gave it."""
        ...

    @property
    def ends(self) -> datetime:
        """When it ends."""
        ...

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must not be shown, as text."""
        ...

    def prepare(self, method: str, url: str) -> Callable[[], str]:
        """A function that makes the value of `Authorization` for one call; it cannot fail.

        Args:
            url: with scheme and host, without its query.
        """
        ...

    def websocket_query(self) -> dict[str, str]:
        """The parameters with which a websocket is opened."""
        ...


class AccessMaker(Protocol):
    """Gets access from IBKR."""

    async def make(self) -> Access:
        """Get access.

        Raises:
            AccessRefused: IBKR gives none.
            GatewayError: IBKR did not answer, or nothing usable.
        """
        ...


class AccessRefused(Exception):
    """IBKR gives no access.

    Args:
        refusal: what it means.
        words: IBKR's words, not redacted.
    """

    def __init__(self, refusal: Refusal, words: str = "") -> None:
        super().__init__(refusal.value)
        self.refusal = refusal
        self.words = words


@dataclass
class _Current:
    access: Access
    renew_at: datetime


class AccessKeeper:
    """The one access of a profile.

    Args:
        maker: gets it from IBKR.
        add_secret: registers its texts for redaction.
        ration: says when IBKR may be asked; the usual one if it is left out.
    """

    def __init__(
        self,
        maker: AccessMaker,
        clock: Clock,
        bus: events.Bus,
        add_secret: Callable[[str], None] = lambda _: None,
        ration: HandshakeRation | None = None,
    ) -> None:
        self._maker = maker
        self._clock = clock
        self._bus = bus
        self._add_secret = add_secret
        self._ration = ration or HandshakeRation()
        self._current: _Current | None = None
        self._running: asyncio.Task[None] | None = None
        self._has_worked = False
        self._is_ended = False
        self.problem: AccessProblem | None = None
        """Why the last attempt failed; None if it did not."""
        self.on_another: Callable[[], None] = noop
        """Called when an access took the place of an earlier one: the session may be another one now."""

    def __repr__(self) -> str:
        return f"<AccessKeeper {'has access' if self.current else 'no access'}, {self.problem}>"

    @property
    def current(self) -> Access | None:
        """The present access; None if there is none, or it is over."""
        if self._current is None or self._clock.utc() >= self._current.access.ends:
            return None
        return self._current.access

    @property
    def wait_s(self) -> float:
        """Seconds until IBKR may be asked for access."""
        return self._ration.wait_s(self._clock.now())

    async def ensure(self) -> Access | None:
        """The present access, a renewed one if it is time, or a new one if IBKR may be asked; None if there is none."""
        access = self.current
        if self._is_ended or (access is not None and not self._is_renewal_due):
            return access
        if self._running is not None or self.wait_s <= 0:
            await self._join(is_replacement=False)
        return self.current

    async def for_call(self, *, is_change: bool) -> Access | None:
        """The access for one call. A call never waits for a renewal, unless it is a change: a new token may end the
        present one while the call is on its way, and a change that is refused is not sent again.
        """
        if is_change and self._running is not None:
            await self._join(is_replacement=False)
        return self.current or await self.ensure()

    async def replace(self, refused: Access) -> Access | None:
        """Another access than the one that IBKR refused; None if IBKR may not be asked now, or gives none.

        Args:
            refused: the access with which the refused call was signed. If it is not the present one any more, another
                caller has replaced it.
        """
        if self._is_ended:
            return None
        access = self.current
        if access is not refused and access is not None:
            return access
        if self._running is None and self._ration.replacement_wait_s(self._clock.now()) > 0:
            return None
        await self._join(is_replacement=True)
        access = self.current
        return access if access is not refused else None

    def request(self, *, is_new_credential: bool = False) -> None:
        """A person wants access now; it also ends what `end` began. An access of an earlier credential is forgotten."""
        self._is_ended = False
        if is_new_credential:
            self._current, self._has_worked = None, False
        self._ration.request(is_new_credential=is_new_credential)
        if self.problem is not None and self.problem.refusal is Refusal.SIGNED_OUT:
            self.problem = None

    def end(self) -> None:
        """Somebody ended the session at IBKR: forget the access, and make none until `request`."""
        self._current, self._is_ended = None, True
        self.problem = AccessProblem(Refusal.SIGNED_OUT)

    async def close(self) -> None:
        """End a running attempt."""
        if self._running is not None:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)

    @property
    def _is_renewal_due(self) -> bool:
        return self._current is not None and self._clock.utc() >= self._current.renew_at

    async def _join(self, *, is_replacement: bool) -> None:
        """Wait for the running attempt, or begin one. It goes on if a caller leaves."""
        if self._running is None:
            self._ration.record_attempt(self._clock.now(), is_replacement=is_replacement)
            self._running = asyncio.create_task(self._attempt(), name="access")  # outlives the caller that began it
        await asyncio.shield(self._running)

    async def _attempt(self) -> None:
        try:
            access = await self._maker.make()
        except AccessRefused as exc:
            self._on_problem(AccessProblem(self._refined(exc.refusal), exc.words))
        except GatewayError as exc:
            self._on_problem(AccessProblem(REFUSAL_OF_ERROR.get(exc.code, Refusal.UNREADABLE), hint=exc.hint))
        else:
            self._on_success(access)
        finally:
            self._running = None

    def _on_success(self, access: Access) -> None:
        for secret in access.secrets:
            self._add_secret(secret)
        self._ration.record_success()
        self._has_worked, self.problem = True, None
        had_access = self._current is not None
        if not self._is_ended:
            self._current = _Current(access, renewal_time(access.made, access.ends, secrets.randbelow(1000) / 1000))
        self._bus.publish(events.AccessGranted(round((access.ends - access.made).total_seconds())))
        if had_access:
            self.on_another()

    def _on_problem(self, problem: AccessProblem) -> None:
        self._ration.record_refusal(problem.refusal)
        self.problem = problem
        self._bus.publish(events.AccessRefused(problem.refusal.value, round(self.wait_s)))

    def _refined(self, refusal: Refusal) -> Refusal:
        return Refusal.REVOKED if refusal is Refusal.SECRET_LOST and self._has_worked else refusal


REFUSAL_OF_ERROR = {"gateway_unreachable": Refusal.UNREACHABLE, "gateway_timeout": Refusal.SILENT}


def renewal_time(made: datetime, ends: datetime, share: float) -> datetime:
    """When an access is renewed: an hour before its end and a little earlier, but not in the first half of its life.

    Args:
        share: of the jitter, from 0 to 1.
    """
    return max(ends - RENEWED_BEFORE - MAX_JITTER * share, made + (ends - made) / 2)
