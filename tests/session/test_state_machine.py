"""The session's rules: every state answers every observation, and no history confuses them."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ibkr_bridge.session.session_api import GATEWAY_HINTS
from ibkr_bridge.session.state_machine import (
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

HISTORIES = st.lists(st.tuples(st.sampled_from(Observation), st.floats(0, 1000)), max_size=40)
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text()),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(), inner, max_size=3)),
    max_leaves=10,
)
FLAGS = st.dictionaries(st.sampled_from(["authenticated", "connected", "competing", "established", "error"]), JSON)


def walked(history: list[tuple[Observation, float]]) -> list[tuple[Session, Session, tuple[Action, ...], float]]:
    """Each step of a history: before, after, what it asks for, when."""
    now, session, steps = 0.0, initial_session(0.0), []
    for saw, passed in history:
        now += passed
        after, acts = step(session, saw, now)
        steps.append((session, after, acts, now))
        session = after
    return steps


def test_every_state_answers_every_observation() -> None:
    """There is nothing the keeper could see and not know what to do."""
    assert set(TRANSITIONS) == set(itertools.product(SessionState, Observation))


def test_every_observation_has_words_for_programs_and_people() -> None:
    """A code of its own each, and a hint that can be followed."""
    hints = GATEWAY_HINTS.by_observation
    assert set(REASONS) == set(hints) == set(Observation)
    assert len(set(REASONS.values())) == len(set(hints.values())) == len(Observation)


def test_before_anything_was_seen_it_says_so() -> None:
    """Nobody is told a state that nobody has looked at."""
    session = initial_session(5.0)

    assert (session.state, session.reason, session.since, session.has_login) == (
        SessionState.STARTING,
        "starting",
        5.0,
        False,
    )


@pytest.mark.parametrize("saw", Observation)
def test_nothing_leads_back_to_starting(saw: Observation) -> None:
    """Once something was seen, something is known."""
    assert not [
        state
        for state in SessionState
        if state is not SessionState.STARTING and TRANSITIONS[state, saw][0] is SessionState.STARTING
    ]


@settings(deadline=None)
@given(HISTORIES)
def test_ready_means_that_the_last_look_showed_a_session(history: list[tuple[Observation, float]]) -> None:
    """The one truth: no way leads to READY but seeing it, and nothing but losing it leads away.

    A 429 says nothing about the session, so it neither gives nor takes.
    """
    told = [saw for saw, _ in history if saw is not Observation.RATE_LIMITED]
    steps = walked(history)

    ready = bool(steps) and steps[-1][1].state is SessionState.READY

    assert ready == (bool(told) and told[-1] is Observation.SESSION)


@settings(deadline=None)
@given(HISTORIES)
def test_acts_are_asked_for_where_they_help_and_nowhere_else(history: list[tuple[Observation, float]]) -> None:
    """Openings are rationed: each must be worth it. A lost one left alone costs the login within 30 s."""
    for before, after, acts, _ in walked(history):
        assert ({Action.OPEN, Action.GRACE} & set(acts) != set()) == (after.observation is Observation.LOGIN_ONLY)
        assert (Action.GRACE in acts) == (
            after.observation is Observation.LOGIN_ONLY and before.state is SessionState.SIGNED_OUT
        )
        assert (Action.RECLAIM in acts) == (after.observation is Observation.COMPETING)
        assert (Action.PREPARE in acts) == (
            after.state is SessionState.READY and before.state is not SessionState.READY
        )


@settings(deadline=None)
@given(HISTORIES)
def test_since_is_the_moment_the_state_began(history: list[tuple[Observation, float]]) -> None:
    """A person reads from it how long the trouble has lasted."""
    for before, after, _, now in walked(history):
        assert after.since == (before.since if after.state is before.state else now)


@settings(deadline=None)
@given(HISTORIES)
def test_the_login_counts_where_somebody_is_signed_in(history: list[tuple[Observation, float]]) -> None:
    """Portfolio reads pass while the brokerage session is reopened, and never while nobody is signed in."""
    signed_in = (Observation.SESSION, Observation.ESTABLISHING, Observation.LOGIN_ONLY, Observation.COMPETING)
    told = [saw for saw, _ in history if saw is not Observation.RATE_LIMITED]
    steps = walked(history)

    login = bool(steps) and steps[-1][1].has_login

    assert login == (bool(told) and told[-1] in signed_in)


def test_a_lost_brokerage_session_is_asked_for_at_once() -> None:
    """The Gateway logs itself out at its next tickle: every second counts."""
    session, acts = step(Session(SessionState.READY, Observation.SESSION, 0.0), Observation.LOGIN_ONLY, 7.0)

    assert (session, acts) == (Session(SessionState.OPENING, Observation.LOGIN_ONLY, 7.0), (Action.OPEN,))
    assert session.reason == "brokerage_lost"


def test_a_fresh_login_is_left_to_the_gateway_first() -> None:
    """It opens the brokerage session by itself; two openings would kick each other."""
    _, acts = step(Session(SessionState.SIGNED_OUT, Observation.NO_LOGIN, 0.0), Observation.LOGIN_ONLY, 7.0)

    assert acts == (Action.GRACE,)


UP = {"authenticated": True, "connected": True, "competing": False}


@pytest.mark.parametrize(
    ("status", "body", "saw"),
    [
        (200, UP, Observation.SESSION),
        (200, {**UP, "established": True}, Observation.SESSION),
        (200, {**UP, "established": False}, Observation.ESTABLISHING),
        (200, {**UP, "competing": True}, Observation.COMPETING),
        (200, {"authenticated": False, "connected": True, "competing": True}, Observation.COMPETING),
        (200, {"authenticated": False, "connected": True, "competing": False}, Observation.LOGIN_ONLY),
        (200, {"authenticated": False, "connected": False, "competing": False}, Observation.NO_LOGIN),
        (200, {"authenticated": True, "connected": False}, Observation.NO_LOGIN),
        (200, {"authenticated": "true", "connected": True}, Observation.LOGIN_ONLY),
        (200, {"authenticated": 1, "connected": 1}, Observation.NO_LOGIN),
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
def test_what_an_answer_shows(status: int, body: object, saw: Observation) -> None:
    """Only a plain yes is a yes; what says nothing is trouble, never a session."""
    assert observe_status(status, body) is saw


@settings(deadline=None)
@given(st.one_of(st.integers(), st.sampled_from([200, 401, 429, 500])), st.one_of(JSON, FLAGS))
def test_no_answer_crashes_the_reader(status: int, body: object) -> None:
    """Whatever IBKR sends is an observation, and a session is only what says so in every word."""
    saw = observe_status(status, body)

    if saw is Observation.SESSION:
        assert status == 200
        assert isinstance(body, dict)
        assert (body["authenticated"], body["connected"]) == (True, True)
        assert body.get("competing") is not True
