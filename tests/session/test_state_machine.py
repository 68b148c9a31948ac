"""The session's state machine: it has a row for every pair, and its rules hold after every history."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ibkr_bridge.conditions.condition import KINDS
from ibkr_bridge.errors import GatewayTimeout
from ibkr_bridge.session.gateway_session_api import GATEWAY_HINTS
from ibkr_bridge.session.oauth_hints import OAUTH_HINTS
from ibkr_bridge.session.state_machine import (
    NO_ACCESS,
    REASONS,
    TRANSITIONS,
    Action,
    Observation,
    Session,
    SessionState,
    initial_session,
    observe_status,
    step,
)

WITH_LOGIN = (
    Observation.SESSION,
    Observation.SESSION_UNUSABLE,
    Observation.ESTABLISHING,
    Observation.LOGIN_ONLY,
    Observation.DISCONNECTED,
    Observation.COMPETING,
)
HISTORIES = st.lists(st.tuples(st.sampled_from(Observation), st.floats(0, 1000)), max_size=40)
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text()),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(), inner, max_size=3)),
    max_leaves=10,
)
FLAGS = st.dictionaries(st.sampled_from(["authenticated", "connected", "competing", "established", "error"]), JSON)


def steps_of(history: list[tuple[Observation, float]]) -> list[tuple[Session, Session, tuple[Action, ...], float]]:
    """Each step of a history: the session before and after it, the required actions, and the time."""
    now, session, steps = 0.0, initial_session(0.0), []
    for observation, passed_s in history:
        now += passed_s
        after, actions = step(session, observation, now)
        steps.append((session, after, actions, now))
        session = after
    return steps


def test_the_table_has_every_pair_of_state_and_observation() -> None:
    """An observation without a row would end a round of the keeper with an error."""
    assert set(TRANSITIONS) == set(itertools.product(SessionState, Observation))


def test_every_observation_has_a_reason_and_a_hint_of_its_own() -> None:
    """Programs switch on the reason, and a person follows the hint."""
    hints = GATEWAY_HINTS.by_observation
    assert set(REASONS) == set(OAUTH_HINTS.by_observation) == set(Observation) == {*hints, *NO_ACCESS}
    assert len(set(REASONS.values())) == len(set(OAUTH_HINTS.by_observation.values())) == len(Observation)
    assert len(set(hints.values())) == len(hints)


def test_a_silent_ibkr_is_no_reason_to_restart_the_gateway() -> None:
    """A restart costs the login. Every surface advises it only if the slots of the Gateway are known to be stuck."""
    advice = (
        GATEWAY_HINTS.by_observation[Observation.TIMEOUT],
        GatewayTimeout.hint,
        KINDS["gateway_timeout"].do,
    )
    for text in advice:
        assert text.startswith(("wait", "IBKR does not answer: wait")), text
        assert "costs the login" in text, text


def test_before_the_first_check_the_state_is_starting() -> None:
    """A state that no check has shown must not be reported."""
    session = initial_session(5.0)

    assert (session.state, session.reason, session.since, session.has_login) == (
        SessionState.STARTING,
        "starting",
        5.0,
        False,
    )


@pytest.mark.parametrize("observation", Observation)
def test_no_transition_leads_back_to_starting(observation: Observation) -> None:
    """STARTING means that there was no check yet."""
    assert not [
        state
        for state in SessionState
        if state is not SessionState.STARTING and TRANSITIONS[state, observation][0] is SessionState.STARTING
    ]


@given(HISTORIES)
def test_ready_means_that_the_last_check_showed_a_session(history: list[tuple[Observation, float]]) -> None:
    """Only a check that shows the session leads to READY, and any check that does not show it leads away.

    A 429 shows nothing of the session, so it changes nothing here.
    """
    observations = [each for each, _ in history if each is not Observation.RATE_LIMITED]
    steps = steps_of(history)

    ready = bool(steps) and steps[-1][1].state is SessionState.READY

    assert ready == (bool(observations) and observations[-1] is Observation.SESSION)


@given(HISTORIES)
def test_each_action_is_required_exactly_where_it_helps(history: list[tuple[Observation, float]]) -> None:
    """A missing OPEN costs the login within 30 s, and a useless one counts against the limit of attempts."""
    for before, after, actions, now in steps_of(history):
        is_lost = after.observation in (Observation.LOGIN_ONLY, Observation.DISCONNECTED)
        is_stuck = after.observation is Observation.ESTABLISHING and now - after.observed_since >= 20.0
        is_doubtful = after.observation is Observation.UNCLEAR and before.has_login
        is_refused = after.observation is Observation.SESSION_UNUSABLE
        opens = {Action.OPEN, Action.GRACE} & set(actions) != set()
        assert opens == (is_lost or is_stuck or is_doubtful or is_refused)
        assert (Action.GRACE in actions) == (is_lost and before.state is SessionState.SIGNED_OUT)
        assert (Action.RECLAIM in actions) == (after.observation is Observation.COMPETING)
        assert (Action.PREPARE in actions) == (
            after.state is SessionState.READY and before.state is not SessionState.READY
        )


@given(HISTORIES)
def test_since_is_the_time_at_which_the_state_began(history: list[tuple[Observation, float]]) -> None:
    """A person reads from it how long a loss has lasted."""
    for before, after, _, now in steps_of(history):
        assert after.since == (before.since if after.state is before.state else now)


@given(HISTORIES)
def test_has_login_means_that_the_last_check_showed_a_login(history: list[tuple[Observation, float]]) -> None:
    """Reads of the portfolio are sent while the brokerage session is reopened, and never without a login."""
    unclear = (Observation.RATE_LIMITED, Observation.UNCLEAR)
    for before, after, _, _ in steps_of(history):
        expected = before.has_login if after.observation in unclear else after.observation in WITH_LOGIN

        assert after.has_login == expected


def test_accounts_that_do_not_load_are_waited_for_only_twenty_seconds() -> None:
    """Seen in the field: `established` stays false until the session is requested again."""
    session, _ = step(Session(SessionState.READY, Observation.SESSION, 0.0, 0.0), Observation.ESTABLISHING, 100.0)

    actions_at = {}
    for now in (100.5, 119.9, 120.0, 123.0):
        session, actions_at[now] = step(session, Observation.ESTABLISHING, now)

    assert actions_at == {100.5: (), 119.9: (), 120.0: (Action.OPEN,), 123.0: (Action.OPEN,)}
    assert session.state is SessionState.OPENING


def test_another_observation_starts_the_twenty_seconds_anew() -> None:
    """IBKR loads the accounts of each brokerage session anew."""
    session = Session(SessionState.OPENING, Observation.ESTABLISHING, 0.0, 0.0)
    session, _ = step(session, Observation.LOGIN_ONLY, 19.0)
    session, _ = step(session, Observation.ESTABLISHING, 21.0)

    assert step(session, Observation.ESTABLISHING, 40.9)[1] == ()
    assert step(session, Observation.ESTABLISHING, 41.0)[1] == (Action.OPEN,)


def test_a_lost_brokerage_session_is_requested_at_once() -> None:
    """The Gateway logs itself out at its next tickle, at most 30 s later."""
    session, actions = step(Session(SessionState.READY, Observation.SESSION, 0.0), Observation.LOGIN_ONLY, 7.0)

    assert (session, actions) == (Session(SessionState.OPENING, Observation.LOGIN_ONLY, 7.0, 7.0), (Action.OPEN,))
    assert session.reason == "brokerage_lost"


def test_after_a_fresh_login_the_gateway_opens_the_session_first() -> None:
    """It does so by itself, and two attempts at the same time would end each other's session."""
    _, actions = step(Session(SessionState.SIGNED_OUT, Observation.NO_LOGIN, 0.0), Observation.LOGIN_ONLY, 7.0)

    assert actions == (Action.GRACE,)


UP = {"authenticated": True, "connected": True, "competing": False}


@pytest.mark.parametrize(
    ("status", "body", "observation"),
    [
        (200, UP, Observation.SESSION),
        (200, {**UP, "established": True}, Observation.SESSION),
        (200, {**UP, "established": False}, Observation.ESTABLISHING),
        (200, {**UP, "competing": True}, Observation.COMPETING),
        (200, {"authenticated": False, "connected": True, "competing": True}, Observation.COMPETING),
        (200, {"authenticated": False, "connected": True, "competing": False}, Observation.LOGIN_ONLY),
        (200, {"authenticated": False, "connected": False, "competing": False}, Observation.UNCLEAR),
        (200, {"authenticated": True, "connected": False}, Observation.UNCLEAR),
        (200, {"authenticated": "true", "connected": True}, Observation.LOGIN_ONLY),
        (200, {"authenticated": 1, "connected": 1}, Observation.UNCLEAR),
        (200, {"error": "no session"}, Observation.NO_LOGIN),
        (500, {"error": "no session"}, Observation.NO_LOGIN),
        (401, None, Observation.NO_LOGIN),
        (401, UP, Observation.NO_LOGIN),
        (601, None, Observation.NO_LOGIN),
        (429, None, Observation.RATE_LIMITED),
        (429, UP, Observation.RATE_LIMITED),
        (200, None, Observation.UNUSABLE_RESPONSE),
        (200, [], Observation.UNUSABLE_RESPONSE),
        (200, {}, Observation.UNUSABLE_RESPONSE),
        (200, {"connected": True}, Observation.UNUSABLE_RESPONSE),
        (500, UP, Observation.UNUSABLE_RESPONSE),
        (302, None, Observation.UNUSABLE_RESPONSE),
        (503, None, Observation.UNUSABLE_RESPONSE),
        (404, None, Observation.UNUSABLE_RESPONSE),
    ],
)
def test_each_response_of_auth_status_is_one_observation(status: int, body: object, observation: Observation) -> None:
    """Only a response that clearly shows a session counts as one; an unclear response never does."""
    assert observe_status(status, body) is observation


@given(st.one_of(st.integers(), st.sampled_from([200, 401, 429, 500])), st.one_of(JSON, FLAGS))
def test_every_response_is_an_observation(status: int, body: object) -> None:
    """No response may raise an error, and a session is reported only if every flag of the response shows it."""
    observation = observe_status(status, body)

    if observation is Observation.SESSION:
        assert status == 200
        assert isinstance(body, dict)
        assert (body["authenticated"], body["connected"]) == (True, True)
        assert body.get("competing") is not True
