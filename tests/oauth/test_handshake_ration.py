"""How often IBKR is asked for access."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ibkr_bridge.oauth.handshake_ration import GAPS_S, HOUR_S, REPLACEMENT_GAPS_S, REQUEST_GAP_S, HandshakeRation
from ibkr_bridge.oauth.refusals import FOR_A_PERSON, Refusal


def test_the_first_attempt_is_made_at_once() -> None:
    """A bridge that starts needs access."""
    assert HandshakeRation().wait_s(0.0) == 0.0


def test_the_pauses_grow() -> None:
    """IBKR may be down for hours."""
    ration, now, pauses = HandshakeRation(), 0.0, []
    for _ in range(10):
        now += ration.wait_s(now)
        ration.record_attempt(now)
        ration.record_refusal(Refusal.SILENT)
        pauses.append(ration.wait_s(now))

    assert pauses == [*GAPS_S[1:], GAPS_S[-1], GAPS_S[-1], GAPS_S[-1]]


@pytest.mark.parametrize("refusal", [*FOR_A_PERSON, Refusal.INACTIVE])
def test_what_only_a_person_or_a_night_ends_is_asked_about_once_an_hour(refusal: Refusal) -> None:
    """More attempts change nothing, and could shut out the others at this address."""
    ration = HandshakeRation()
    ration.record_attempt(0.0)
    ration.record_refusal(refusal)

    assert ration.wait_s(0.0) == ration.wait_s(1.0) + 1.0 == HOUR_S


def test_a_person_may_ask_earlier_but_not_again_and_again() -> None:
    """He has probably changed something."""
    ration = HandshakeRation()
    ration.record_attempt(0.0)
    ration.record_refusal(Refusal.SECRET_LOST)

    ration.request()
    assert (ration.wait_s(0.0), ration.wait_s(REQUEST_GAP_S)) == (REQUEST_GAP_S, 0.0)
    ration.record_attempt(REQUEST_GAP_S)
    ration.record_refusal(Refusal.SECRET_LOST)

    assert ration.wait_s(REQUEST_GAP_S) == HOUR_S


def test_success_ends_the_pauses() -> None:
    """The next loss is answered at once."""
    ration = HandshakeRation()
    for now in range(5):
        ration.record_attempt(float(now))
    ration.record_success()

    assert ration.wait_s(5.0) == 0.0


def test_replacements_have_pauses_although_each_succeeds() -> None:
    """Two programs with one token would end each other's sessions for ever."""
    ration, now, pauses = HandshakeRation(), 0.0, []
    for _ in range(6):
        now += ration.replacement_wait_s(now)
        ration.record_attempt(now, is_replacement=True)
        ration.record_success()
        pauses.append(ration.replacement_wait_s(now))

    assert pauses == [*REPLACEMENT_GAPS_S[1:], REPLACEMENT_GAPS_S[-1], REPLACEMENT_GAPS_S[-1]]


def test_an_hour_ends_the_pauses_of_replacements() -> None:
    """A day has at most a few losses."""
    ration = HandshakeRation()
    ration.record_attempt(0.0, is_replacement=True)
    ration.record_success()

    assert ration.replacement_wait_s(HOUR_S) == 0.0


@given(st.lists(st.tuples(st.sampled_from([None, *Refusal]), st.floats(0, 100), st.booleans()), max_size=60))
def test_no_schedule_asks_more_than_a_few_times_an_hour(history: list[tuple[Refusal | None, float, bool]]) -> None:
    """However IBKR answers, and however often a person asks, while it refuses."""
    ration, now, attempts = HandshakeRation(), 0.0, list[float]()
    for refusal, pause, is_requested in history:
        now += pause
        if is_requested:
            ration.request()
        if ration.replacement_wait_s(now) > 0:
            continue
        ration.record_attempt(now, is_replacement=True)
        attempts.append(now)
        if refusal is None:
            ration.record_success()
        else:
            ration.record_refusal(refusal)

    assert all(sum(at - HOUR_S < each <= at for each in attempts) <= HOUR_S / REQUEST_GAP_S + 5 for at in attempts)


def test_a_demo_asks_sooner_for_a_key_that_is_activated() -> None:
    """Other refusals have their usual gap."""
    ration = HandshakeRation(inactive_gap_s=7.0)
    waits = []
    for refusal in (Refusal.INACTIVE, Refusal.MISMATCH):
        ration.record_attempt(0.0)
        ration.record_refusal(refusal)
        waits.append(ration.wait_s(0.0))

    assert waits == [7.0, HOUR_S]
