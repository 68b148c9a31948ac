"""The error that a caller gets if the session does not allow its call now."""

from __future__ import annotations

import pytest

from ibkr_bridge.config.value_types import WeeklyWindow
from ibkr_bridge.errors import BridgeError, GatewayForbidden, GatewayUnreachable, Maintenance, SessionUnavailable
from ibkr_bridge.session.gateway_session_api import GATEWAY_HINTS
from ibkr_bridge.session.oauth_hints import OAUTH_HINTS
from ibkr_bridge.session.session_status import SessionHints
from ibkr_bridge.session.state_machine import Observation, Session, SessionState
from ibkr_bridge.session.unavailable import (
    OPENING_RETRY_AFTER_S,
    RETRY_AFTER_S,
    SELF_HEALING,
    STATE_DETAILS,
    unavailable_error,
)
from tests.session.statuses import KnownStatus

MAINTENANCE_NOW = (WeeklyWindow.parse("wed 11:00-13:00"),)


@pytest.mark.parametrize("state", SessionState)
@pytest.mark.parametrize("hints", [GATEWAY_HINTS, OAUTH_HINTS], ids=["gateway", "oauth"])
def test_every_state_has_a_detail_of_its_own(state: SessionState, hints: SessionHints) -> None:
    """With a hint for a person, and the seconds after which another try makes sense."""
    status = KnownStatus(state, hints=hints)

    error = unavailable_error(status)

    assert error.detail == status.words.details.get(state, STATE_DETAILS[state])
    assert error.hint == status.hint()
    assert error.retry_after is not None
    assert isinstance(error, GatewayUnreachable if state is SessionState.UNREACHABLE else SessionUnavailable)


@pytest.mark.parametrize("state", SessionState)
def test_a_state_that_ends_soon_has_a_short_retry_after(state: SessionState) -> None:
    """While the session is opened, or checked for the first time."""
    ends_soon = state in (SessionState.OPENING, SessionState.UNUSABLE, SessionState.STARTING)

    assert unavailable_error(KnownStatus(state)).retry_after == (OPENING_RETRY_AFTER_S if ends_soon else RETRY_AFTER_S)


@pytest.mark.parametrize("state", [SessionState.UNREACHABLE, SessionState.SILENT])
def test_a_forbidden_address_is_reported_in_every_state(state: SessionState) -> None:
    """The hint names the Gateway's own configuration file."""
    status = KnownStatus(state)
    status.set_state(state, Observation.FORBIDDEN)

    assert isinstance(unavailable_error(status), GatewayForbidden)


@pytest.mark.parametrize("state", SessionState)
def test_maintenance_explains_states_that_end_with_it(state: SessionState) -> None:
    """A login does not return by itself, so its loss is reported as it is."""
    error = unavailable_error(KnownStatus(state, maintenance=MAINTENANCE_NOW))

    expected = state in SELF_HEALING and state is not SessionState.UNREACHABLE
    assert isinstance(error, Maintenance) is expected
    if expected:
        assert (error.retry_after, "until 17:00 UTC" in error.detail) == (3600.0, True)


def test_a_session_checked_for_this_call_overrides_the_known_one() -> None:
    """A ready session whose new check got no response is reported as silent."""
    checked_session = Session(SessionState.SILENT, Observation.TIMEOUT, 0.0)

    error: BridgeError = unavailable_error(KnownStatus(), checked_session)

    assert error.detail == "the Gateway sends no usable response"


def test_without_a_gateway_no_word_names_one() -> None:
    """A person would look for a program that does not exist."""
    for state in SessionState:
        error = unavailable_error(KnownStatus(state, hints=OAUTH_HINTS))

        assert "Gateway" not in f"{error.detail} {error.hint}"
        assert not error.needs_sign_in
