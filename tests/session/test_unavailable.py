"""What a caller is told when a call makes no sense now."""

from __future__ import annotations

import pytest

from ibkr_bridge.config.value_types import WeeklyWindow
from ibkr_bridge.errors import BridgeError, GatewayForbidden, GatewayUnreachable, Maintenance, SessionUnavailable
from ibkr_bridge.session.state_machine import Observation, Session, SessionState
from ibkr_bridge.session.unavailable import (
    OPENING_RETRY_AFTER_S,
    RETRY_AFTER_S,
    SELF_HEALING,
    STATE_DETAILS,
    unavailable_error,
)
from tests.session.statuses import KnownStatus

NOW = (WeeklyWindow.parse("wed 11:00-13:00"),)


@pytest.mark.parametrize("state", SessionState)
def test_every_state_has_words_of_its_own(state: SessionState) -> None:
    """With what a person should do, and when asking again makes sense."""
    status = KnownStatus(state)

    error = unavailable_error(status)

    assert error.detail == STATE_DETAILS[state]
    assert error.hint == status.hint()
    assert error.retry_after is not None
    assert isinstance(error, GatewayUnreachable if state is SessionState.UNREACHABLE else SessionUnavailable)


@pytest.mark.parametrize("state", SessionState)
def test_a_state_that_ends_soon_is_asked_again_soon(state: SessionState) -> None:
    """While the session is opened or looked at for the first time."""
    soon = state in (SessionState.OPENING, SessionState.STARTING)

    assert unavailable_error(KnownStatus(state)).retry_after == (OPENING_RETRY_AFTER_S if soon else RETRY_AFTER_S)


@pytest.mark.parametrize("state", [SessionState.UNREACHABLE, SessionState.SILENT])
def test_an_address_that_is_shut_out_is_told_as_such(state: SessionState) -> None:
    """Whatever the state: the hint is about the Gateway's own file."""
    status = KnownStatus(state)
    status.set_state(state, Observation.FORBIDDEN)

    assert isinstance(unavailable_error(status), GatewayForbidden)


@pytest.mark.parametrize("state", SessionState)
def test_maintenance_explains_what_ends_with_it(state: SessionState) -> None:
    """A login does not come back by itself, so its loss is told as it is."""
    error = unavailable_error(KnownStatus(state, maintenance=NOW))

    expected = state in SELF_HEALING and state is not SessionState.UNREACHABLE
    assert isinstance(error, Maintenance) is expected
    if expected:
        assert (error.retry_after, "until 17:00 UTC" in error.detail) == (3600.0, True)


def test_a_session_that_was_looked_at_for_this_call_counts_before_the_known_one() -> None:
    """A ready session that could not be looked at again is told as silent."""
    told = Session(SessionState.SILENT, Observation.TIMEOUT, 0.0)

    error: BridgeError = unavailable_error(KnownStatus(), told)

    assert error.detail == STATE_DETAILS[SessionState.SILENT]
