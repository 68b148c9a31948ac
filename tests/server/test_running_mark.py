"""The mark of the bridge that runs on a state directory."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ibkr_bridge.server.running_mark import FILE, ReloadOutcome, RunningMark, find_running, read_outcome

HOLDER = """
import sys
from pathlib import Path
from ibkr_bridge.server.running_mark import RunningMark
mark = RunningMark(Path(sys.argv[1]))
mark.open()
print("ready", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the mark."""
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process
        process.kill()


def test_the_kernel_tells_which_process_runs(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    """It is sent a signal, so it must be no other one."""
    assert find_running(tmp_path) == holder.pid


def test_a_killed_bridge_does_not_run_any_more(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    """Its file stays; its number may belong to another program soon."""
    holder.kill()
    holder.wait()

    assert (tmp_path / FILE).exists()
    assert find_running(tmp_path) is None


def test_a_second_bridge_takes_no_mark(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    """The first one goes on to own it, with its outcomes."""
    second = RunningMark(tmp_path)
    second.open()
    second.count_reload("of the second")

    assert find_running(tmp_path) == holder.pid
    assert read_outcome(tmp_path) == ReloadOutcome(0, None)


def test_each_reload_has_an_outcome(tmp_path: Path) -> None:
    """The number tells the command that its own reload is over."""
    mark = RunningMark(tmp_path)
    mark.open()
    outcomes = [read_outcome(tmp_path)]
    for refusal in ("IBKR_BRIDGE_KEY: a long text that is shorter the next time", None):
        mark.count_reload(refusal)
        outcomes.append(read_outcome(tmp_path))
    mark.close()

    assert [each and each.number for each in outcomes] == [0, 1, 2]
    assert [each and each.refusal is not None for each in outcomes] == [False, True, False]


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"reloads": "x"}', "null"])
def test_an_incomplete_outcome_is_none(tmp_path: Path, content: str) -> None:
    """The file is written in place; a reader may come in between."""
    (tmp_path / FILE).write_text(content)

    assert read_outcome(tmp_path) is None


def test_without_a_state_directory_there_is_no_mark(tmp_path: Path) -> None:
    """The bridge runs all the same."""
    mark = RunningMark(None)
    mark.open()
    mark.count_reload(None)
    mark.close()

    assert find_running(tmp_path) is None


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    """A planted link would be overwritten otherwise."""
    (tmp_path / "other").write_text("precious")
    (tmp_path / FILE).symlink_to(tmp_path / "other")
    mark = RunningMark(tmp_path)

    mark.open()
    mark.count_reload(None)

    assert (tmp_path / "other").read_text() == "precious"
