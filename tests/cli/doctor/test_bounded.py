"""Work in bounded time, whatever hangs."""

from __future__ import annotations

import os
import threading
import time

import pytest

from ibkr_bridge.cli.doctor.bounded import Child, UserIds, run_together

NOBODY = UserIds(65534, 65534)
FOR_EVER_S = 60.0


def test_a_task_that_hangs_delays_no_other() -> None:
    """A Gateway that accepts and never answers is the usual fault."""
    hanging = threading.Event()

    results = run_together({"quick": lambda: 1, "hanging": lambda: hanging.wait(FOR_EVER_S)}, 0.5)

    assert results == {"quick": 1}
    hanging.set()


def test_an_unexpected_error_is_not_swallowed() -> None:
    """A check that failed by a bug must not look like one that passed."""

    def fail() -> None:
        raise KeyError("a bug")

    with pytest.raises(KeyError):
        run_together({"failing": fail}, 5.0)


def test_a_child_returns_its_result() -> None:
    """As JSON."""
    with Child(lambda: {"entries": 3}) as child:
        assert child.result(5.0) == {"entries": 3}


def test_a_child_that_hangs_is_given_up() -> None:
    """A disk may hang for minutes."""
    begin = time.monotonic()

    with Child(lambda: time.sleep(FOR_EVER_S)) as child:
        assert child.result(0.1) is None

    assert time.monotonic() - begin < FOR_EVER_S / 2


def test_a_child_that_fails_has_no_result() -> None:
    """Its traceback is of no use to a person."""

    def fail() -> None:
        raise SystemExit(3)

    with Child(fail) as child:
        assert child.result(5.0) is None


@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes another user")
def test_a_child_runs_as_the_user_of_the_service() -> None:
    """So that files are seen as the service sees them, and no further group helps."""
    with Child(lambda: [os.geteuid(), os.getegid(), os.getgroups()], NOBODY) as child:
        assert child.result(5.0) == [65534, 65534, [65534]]
