"""Colours and the screen of `status --watch`, in a real pseudo-terminal."""

from __future__ import annotations

import fcntl
import io
import os
import pty
import re
import select
import signal
import struct
import sys
import termios
import time
from collections.abc import Iterator, Mapping

import pytest

from ibkr_bridge.cli.terminal import ENTER, HOME, LEAVE, REST, frame, has_color, paint
from tests.cli.command_runner import BRIDGE, TIMEOUT_S, Demo, Place


class Terminal(io.StringIO):
    """A stream that is a terminal."""

    def isatty(self) -> bool:
        """Whether it is one."""
        return True


class Pty:
    """A command in a pseudo-terminal of its own, as in a window."""

    def __init__(self, place: Place, words: tuple[str, ...], env: Mapping[str, str], rows: int = 40) -> None:
        self.pid, self.descriptor = pty.fork()
        if self.pid == 0:
            os.chdir(place.home)
            os.execve(sys.executable, [sys.executable, str(BRIDGE), *words], {**place.env, "TERM": "xterm", **env})  # noqa: S606  # our own file
        self.output = ""
        self.resize(rows)

    def resize(self, rows: int, columns: int = 100) -> None:
        """Change the size; the kernel sends SIGWINCH."""
        fcntl.ioctl(self.descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def wait_for(self, pattern: str, begin: int = 0) -> re.Match[str]:
        """Read until the output behind a position matches."""
        deadline = time.monotonic() + TIMEOUT_S
        while (match := re.compile(pattern, re.DOTALL).search(self.output, begin)) is None:
            assert select.select([self.descriptor], [], [], deadline - time.monotonic())[0], self.output
            text = self._read()
            assert text, f"it ended, and its output was only:\n{self.output}"
            self.output += text
        return match

    def _read(self) -> str:
        try:
            return os.read(self.descriptor, 65536).decode()
        except OSError:  # the command has ended
            return ""

    def end(self) -> int:
        """Wait for the end. Returns the exit status."""
        while text := self._read():
            self.output += text
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


@pytest.fixture
def watching(place: Place, running: Demo) -> Iterator[Pty]:
    """`status --watch` in a terminal."""
    terminal = Pty(place, ("status", "--watch"), running.env)
    yield terminal
    os.close(terminal.descriptor)


@pytest.mark.parametrize(
    ("mode", "env", "colored"),
    [
        ("auto", {"TERM": "xterm"}, True),
        ("auto", {"TERM": "xterm", "NO_COLOR": "1"}, False),
        ("auto", {"TERM": "xterm", "NO_COLOR": ""}, True),
        ("auto", {"TERM": "dumb"}, False),
        ("never", {}, False),
        ("always", {"NO_COLOR": "1"}, True),
    ],
)
def test_when_there_are_colours(mode: str, env: dict[str, str], colored: bool) -> None:
    """An empty NO_COLOR counts as none, as no-color.org says."""
    assert has_color(mode, Terminal(), env) is colored


def test_no_terminal_gets_no_colours() -> None:
    """A file with control characters cannot be searched."""
    assert not has_color("auto", io.StringIO(), {})
    assert paint("text", "red", in_color=False) == "text"


def test_a_frame_draws_over_the_former_one() -> None:
    """Nothing is cleared before it is written, which would flicker. What does not fit is left out."""
    assert frame("one\ntwo\nthree", 2) == f"{HOME}one\x1b[K\r\ntwo\x1b[K{REST}"


def test_ctrl_c_restores_the_terminal(watching: Pty) -> None:
    """The shell's own lines are back, and so are the cursor and the wrapping of lines."""
    watching.wait_for("READY.*Ctrl-C ends")
    os.write(watching.descriptor, b"\x03")
    watching.end()

    assert watching.output.startswith(ENTER)
    assert watching.output.rstrip("\r\n").endswith(LEAVE)
    assert "\x1b[2J" not in watching.output
    assert "Traceback" not in watching.output


def test_a_signal_restores_the_terminal_too(watching: Pty) -> None:
    """As `kill` sends it."""
    watching.wait_for("READY.*Ctrl-C ends")
    os.kill(watching.pid, signal.SIGTERM)

    assert watching.end() == 1
    assert watching.output.rstrip("\r\n").endswith(LEAVE)


def test_a_smaller_window_shows_the_first_lines(watching: Pty) -> None:
    """At once, not at the next check. The state stands first."""
    begin = watching.wait_for("READY.*Ctrl-C ends").end()
    watching.resize(3)

    redrawn = watching.wait_for(re.escape(HOME) + "(.*?)" + re.escape(REST), begin)[1]
    assert "READY" in redrawn
    assert redrawn.count("\r\n") == 2
    os.write(watching.descriptor, b"\x03")
    watching.end()


def test_many_resizes_do_no_harm(watching: Pty) -> None:
    """A window that is dragged is resized at any moment, also while a frame is being written."""
    begin = watching.wait_for("READY.*Ctrl-C ends").end()
    for number in range(300):
        watching.resize(5 + number % 30)
    watching.resize(2)

    watching.wait_for(re.escape(HOME) + "[^\n]*\n[^\n]*" + re.escape(REST), begin)
    os.write(watching.descriptor, b"\x03")
    watching.end()
    assert "Traceback" not in watching.output


def test_a_terminal_gets_colours(place: Place, running: Demo) -> None:
    """Unless NO_COLOR is set."""
    outputs = []
    for env in ({}, {"NO_COLOR": "1"}):
        terminal = Pty(place, ("status",), {**running.env, **env})
        terminal.end()
        os.close(terminal.descriptor)
        outputs.append(terminal.output)

    assert "\x1b[32mREADY" in outputs[0]
    assert "\x1b[" not in outputs[1]
