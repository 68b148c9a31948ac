"""What follows when IBKR cannot open the brokerage session: two quick tries, then once an hour."""

from __future__ import annotations

from ibkr_bridge.session.dh_token_failures import HOUR_S, RETRY_S, DhTokenFailures


def failed(times: int) -> DhTokenFailures:
    """So many failures in a row, the last one at 100 s."""
    failures = DhTokenFailures()
    for _ in range(times):
        failures.record(100.0, has_failed=True)
    return failures


def test_without_a_failure_nothing_is_held_back() -> None:
    """The usual case."""
    failures = DhTokenFailures()

    assert failures.wait_s(0.0) == 0.0
    assert not (failures.wants_tickle or failures.forbids_compete or failures.needs_person)


def test_the_second_request_has_a_tickle_before_it() -> None:
    """Users report that it helps."""
    assert failed(1).wants_tickle
    assert (failed(1).wait_s(100.0), failed(1).wait_s(100.0 + RETRY_S)) == (RETRY_S, 0.0)


def test_the_third_request_does_not_compete() -> None:
    """Another session may be in the way."""
    assert failed(2).forbids_compete
    assert not failed(2).wants_tickle
    assert failed(2).wait_s(100.0) == RETRY_S


def test_then_only_a_person_can_help() -> None:
    """So IBKR is asked once an hour, or when he wants it."""
    failures = failed(3)
    assert (failures.needs_person, failures.wait_s(100.0)) == (True, HOUR_S)

    failures.request()
    assert failures.wait_s(100.0) == 0.0
    failures.record(100.0, has_failed=True)

    assert failures.wait_s(100.0) == HOUR_S


def test_any_other_answer_ends_the_row() -> None:
    """The next failure begins a new one."""
    failures = failed(5)
    failures.record(100.0, has_failed=False)

    assert (failures.wait_s(100.0), failures.forbids_compete) == (0.0, False)
