"""The bench of the operator's surfaces measures what it says; no test measures time."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bench import wrk
from bench.operator_page import main, measure_counting_us, open_page, read_ms, watch
from bench.programs import RunningProgram
from tests.harness import KEY


def test_a_process_is_watched() -> None:
    """This one waits meanwhile, so it wakes at least once."""
    percent, wake_ups = watch(os.getpid(), 0.05)

    assert percent >= 0.0
    assert wake_ups > 0.0


def test_counting_costs_something() -> None:
    """A figure of zero would show that nothing was counted."""
    assert measure_counting_us() > 0.0


def test_a_program_that_refuses_is_no_measurement(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A fast 404 would be a good figure of nothing."""

    class Answer:
        status = 404

        def read(self) -> bytes:
            return b""

    class Connection:
        def __init__(self, *_: object, **__: object) -> None: ...

        def request(self, *_: object, **__: object) -> None: ...

        def getresponse(self) -> Answer:
            return Answer()

        def close(self) -> None: ...

    monkeypatch.setattr("http.client.HTTPConnection", Connection)

    with pytest.raises(wrk.InvalidMeasurement):
        read_ms(RunningProgram("x", f"http://127.0.0.1:1/{KEY}", 0), "/metrics")


def test_its_help_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    """It says how long it takes."""
    with pytest.raises(SystemExit):
        main(["--help"])

    assert "--seconds" in capsys.readouterr().out
    assert callable(open_page)
