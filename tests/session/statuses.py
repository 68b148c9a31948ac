"""A session status that a test sets itself, without a keeper."""

from __future__ import annotations

from ibkr_bridge.config.settings import Compete, Region
from ibkr_bridge.config.value_types import WeeklyWindow
from ibkr_bridge.session.gateway_session_api import GATEWAY_HINTS
from ibkr_bridge.session.session_status import Policy, SessionHints, SessionStatus
from ibkr_bridge.session.state_machine import Observation, Session, SessionState
from tests.clocks import ManualClock

OBSERVED = {
    SessionState.STARTING: None,
    SessionState.UNREACHABLE: Observation.NO_CONNECTION,
    SessionState.SILENT: Observation.TIMEOUT,
    SessionState.SIGNED_OUT: Observation.NO_LOGIN,
    SessionState.ACTIVATING: Observation.ACTIVATING,
    SessionState.CREDENTIAL_REFUSED: Observation.CREDENTIAL_REFUSED,
    SessionState.OPENING: Observation.LOGIN_ONLY,
    SessionState.COMPETING: Observation.COMPETING,
    SessionState.UNUSABLE: Observation.SESSION_UNUSABLE,
    SessionState.READY: Observation.SESSION,
}
"""The usual observation in each state."""


class KnownStatus(SessionStatus):
    """A status of the session; the test takes the part of the keeper."""

    def __init__(
        self,
        state: SessionState = SessionState.READY,
        *,
        clock: ManualClock | None = None,
        compete: Compete = Compete.RECLAIM,
        maintenance: tuple[WeeklyWindow, ...] = (),
        hints: SessionHints = GATEWAY_HINTS,
    ) -> None:
        self.clock = clock or ManualClock()
        super().__init__(Policy(3.0, compete, Region.AMERICA, maintenance), self.clock, hints)
        self.rounds = 0
        if state is not SessionState.STARTING:  # nothing was checked yet
            self.set_state(state)

    def set_state(self, state: SessionState, observation: Observation | None = None) -> None:
        """End a round of checks with this state, and wake all who wait for the end of a round."""
        self.session = Session(state, observation or OBSERVED[state], self.clock.now())
        self.end_round()

    def end_round(self, *, has_checked: bool = True) -> None:
        """End a round of the keeper."""
        self.rounds += 1
        self._rounds += 1
        if has_checked:
            self.checked_at = self.clock.now()
        self._round_over.set()
        self._round_over.clear()

    @property
    def has_check_request(self) -> bool:
        """Whether a check was requested."""
        return self._wake.is_set()
