"""A session status in the test's hand: what is known of the session, without a keeper."""

from __future__ import annotations

from ibkr_bridge.config.settings import Compete, Region
from ibkr_bridge.config.value_types import WeeklyWindow
from ibkr_bridge.session.session_status import Policy, SessionStatus
from ibkr_bridge.session.state_machine import Observation, Session, SessionState
from tests.clocks import ManualClock

OBSERVED = {
    SessionState.STARTING: None,
    SessionState.UNREACHABLE: Observation.NO_CONNECTION,
    SessionState.SILENT: Observation.TIMEOUT,
    SessionState.SIGNED_OUT: Observation.NO_LOGIN,
    SessionState.OPENING: Observation.LOGIN_ONLY,
    SessionState.COMPETING: Observation.COMPETING,
    SessionState.READY: Observation.SESSION,
}
"""What was seen in each state, most often."""


class KnownStatus(SessionStatus):
    """What is known of the session; the test plays the keeper."""

    def __init__(
        self,
        state: SessionState = SessionState.READY,
        *,
        clock: ManualClock | None = None,
        compete: Compete = Compete.RECLAIM,
        maintenance: tuple[WeeklyWindow, ...] = (),
    ) -> None:
        self.clock = clock or ManualClock()
        super().__init__(Policy(3.0, compete, Region.AMERICA, maintenance), self.clock)
        self.rounds = 0
        self.become(state)

    def become(self, state: SessionState, saw: Observation | None = None) -> None:
        """One look shows this; everybody who waits for a look is told."""
        self.session = Session(state, saw or OBSERVED[state], self.clock.now())
        self.end_round()

    def end_round(self, *, looked: bool = True) -> None:
        """One look is over."""
        self.rounds += 1
        self._rounds += 1
        if looked:
            self.checked_at = self.clock.now()
        self._round_over.set()
        self._round_over.clear()

    @property
    def is_doubted(self) -> bool:
        """Whether somebody asked for a look."""
        return self._wake.is_set()
