"""The session's rules: every state answers every observation, and no history confuses them."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ibkr_bridge.session.state_machine import MOVES, REASONS, Act, Saw, Session, State, begin, read_status, step

HISTORIES = st.lists(st.tuples(st.sampled_from(Saw), st.floats(0, 1000)), max_size=40)
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text()),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(), inner, max_size=3)),
    max_leaves=10,
)
FLAGS = st.dictionaries(st.sampled_from(["authenticated", "connected", "competing", "established", "error"]), JSON)


def walked(history: list[tuple[Saw, float]]) -> list[tuple[Session, Session, tuple[Act, ...], float]]:
    """Each step of a history: before, after, what it asks for, when."""
    now, session, steps = 0.0, begin(0.0), []
    for saw, passed in history:
        now += passed
        after, acts = step(session, saw, now)
        steps.append((session, after, acts, now))
        session = after
    return steps


def test_every_state_answers_every_observation() -> None:
    """There is nothing the keeper could see and not know what to do."""
    assert set(MOVES) == set(itertools.product(State, Saw))


def test_every_observation_has_words_for_programs_and_people() -> None:
    """A code of its own each, and a hint that can be followed."""
    assert set(REASONS) == set(Saw)
    assert len({reason.code for reason in REASONS.values()}) == len(Saw)
    assert all(len(reason.hint) > 3 for reason in REASONS.values())


def test_before_anything_was_seen_it_says_so() -> None:
    """Nobody is told a state that nobody has looked at."""
    session = begin(5.0)

    assert (session.state, session.reason, session.since, session.login) == (State.STARTING, "starting", 5.0, False)
    assert session.hint


@pytest.mark.parametrize("saw", Saw)
def test_nothing_leads_back_to_starting(saw: Saw) -> None:
    """Once something was seen, something is known."""
    assert not [state for state in State if state is not State.STARTING and MOVES[state, saw][0] is State.STARTING]


@settings(deadline=None)
@given(HISTORIES)
def test_ready_means_that_the_last_look_showed_a_session(history: list[tuple[Saw, float]]) -> None:
    """The one truth: no way leads to READY but seeing it, and nothing but losing it leads away.

    A 429 says nothing about the session, so it neither gives nor takes.
    """
    told = [saw for saw, _ in history if saw is not Saw.PACED]
    steps = walked(history)

    ready = bool(steps) and steps[-1][1].state is State.READY

    assert ready == (bool(told) and told[-1] is Saw.SESSION)


@settings(deadline=None)
@given(HISTORIES)
def test_acts_are_asked_for_where_they_help_and_nowhere_else(history: list[tuple[Saw, float]]) -> None:
    """Openings are rationed: each must be worth it. A lost one left alone costs the login within 30 s."""
    for before, after, acts, _ in walked(history):
        assert ({Act.OPEN, Act.GRACE} & set(acts) != set()) == (after.saw is Saw.LOGIN_ONLY)
        assert (Act.GRACE in acts) == (after.saw is Saw.LOGIN_ONLY and before.state is State.SIGNED_OUT)
        assert (Act.RECLAIM in acts) == (after.saw is Saw.RIVAL)
        assert (Act.PREPARE in acts) == (after.state is State.READY and before.state is not State.READY)


@settings(deadline=None)
@given(HISTORIES)
def test_since_is_the_moment_the_state_began(history: list[tuple[Saw, float]]) -> None:
    """A person reads from it how long the trouble has lasted."""
    for before, after, _, now in walked(history):
        assert after.since == (before.since if after.state is before.state else now)


@settings(deadline=None)
@given(HISTORIES)
def test_the_login_counts_where_somebody_is_signed_in(history: list[tuple[Saw, float]]) -> None:
    """Portfolio reads pass while the brokerage session is reopened, and never while nobody is signed in."""
    signed_in = (Saw.SESSION, Saw.ESTABLISHING, Saw.LOGIN_ONLY, Saw.RIVAL)
    told = [saw for saw, _ in history if saw is not Saw.PACED]
    steps = walked(history)

    login = bool(steps) and steps[-1][1].login

    assert login == (bool(told) and told[-1] in signed_in)


def test_a_lost_brokerage_session_is_asked_for_at_once() -> None:
    """The Gateway logs itself out at its next tickle: every second counts."""
    session, acts = step(Session(State.READY, Saw.SESSION, 0.0), Saw.LOGIN_ONLY, 7.0)

    assert (session, acts) == (Session(State.OPENING, Saw.LOGIN_ONLY, 7.0), (Act.OPEN,))
    assert session.reason == "brokerage_lost"


def test_a_fresh_login_is_left_to_the_gateway_first() -> None:
    """It opens the brokerage session by itself; two openings would kick each other."""
    _, acts = step(Session(State.SIGNED_OUT, Saw.NO_LOGIN, 0.0), Saw.LOGIN_ONLY, 7.0)

    assert acts == (Act.GRACE,)


UP = {"authenticated": True, "connected": True, "competing": False}


@pytest.mark.parametrize(
    ("status", "body", "saw"),
    [
        (200, UP, Saw.SESSION),
        (200, {**UP, "established": True}, Saw.SESSION),
        (200, {**UP, "established": False}, Saw.ESTABLISHING),
        (200, {**UP, "competing": True}, Saw.RIVAL),
        (200, {"authenticated": False, "connected": True, "competing": True}, Saw.RIVAL),
        (200, {"authenticated": False, "connected": True, "competing": False}, Saw.LOGIN_ONLY),
        (200, {"authenticated": False, "connected": False, "competing": False}, Saw.NO_LOGIN),
        (200, {"authenticated": True, "connected": False}, Saw.NO_LOGIN),
        (200, {"authenticated": "true", "connected": True}, Saw.LOGIN_ONLY),
        (200, {"authenticated": 1, "connected": 1}, Saw.NO_LOGIN),
        (200, {"error": "no session"}, Saw.NO_LOGIN),
        (500, {"error": "no session"}, Saw.NO_LOGIN),
        (401, None, Saw.NO_LOGIN),
        (401, UP, Saw.NO_LOGIN),
        (601, None, Saw.NO_LOGIN),
        (429, None, Saw.PACED),
        (429, UP, Saw.PACED),
        (200, None, Saw.TROUBLE),
        (200, [], Saw.TROUBLE),
        (200, {}, Saw.TROUBLE),
        (200, {"connected": True}, Saw.TROUBLE),
        (500, UP, Saw.TROUBLE),
        (302, None, Saw.TROUBLE),
        (503, None, Saw.TROUBLE),
        (404, None, Saw.TROUBLE),
    ],
)
def test_what_an_answer_shows(status: int, body: object, saw: Saw) -> None:
    """Only a plain yes is a yes; what says nothing is trouble, never a session."""
    assert read_status(status, body) is saw


@settings(deadline=None)
@given(st.one_of(st.integers(), st.sampled_from([200, 401, 429, 500])), st.one_of(JSON, FLAGS))
def test_no_answer_crashes_the_reader(status: int, body: object) -> None:
    """Whatever IBKR sends is an observation, and a session is only what says so in every word."""
    saw = read_status(status, body)

    if saw is Saw.SESSION:
        assert status == 200
        assert isinstance(body, dict)
        assert (body["authenticated"], body["connected"]) == (True, True)
        assert body.get("competing") is not True
