"""Colours, and a screen that is redrawn in place. Without a terminal, neither writes a control character."""

from __future__ import annotations

import os
import select
import shutil
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import TextIO

COLOR_MODES = ("auto", "always", "never")
STYLES: Mapping[str, str] = {"red": "1;31", "yellow": "33", "green": "32", "blue": "36", "dim": "2", "plain": ""}
ENTER = "\x1b[?1049h\x1b[?25l\x1b[?7l"  # the other screen, no cursor, and long lines are cut off instead of wrapped
LEAVE = "\x1b[?7h\x1b[?25h\x1b[?1049l"
HOME, END_OF_LINE, REST = "\x1b[H", "\x1b[K", "\x1b[J"


def has_color(mode: str, stream: TextIO, env: Mapping[str, str]) -> bool:
    """Whether to write colours. `NO_COLOR` (no-color.org) and a dumb terminal count where nothing was said.

    Args:
        mode: what `--color` says.
        stream: where the text goes.
        env: the environment.
    """
    if mode != "auto":
        return mode == "always"
    return stream.isatty() and not env.get("NO_COLOR") and env.get("TERM") != "dumb"


def paint(text: str, style: str, *, in_color: bool) -> str:
    """The text in a style of `STYLES`."""
    return f"\x1b[{STYLES[style]}m{text}\x1b[0m" if in_color and STYLES[style] else text


class Screen:
    """The whole terminal, redrawn in place: each frame is one write, so nothing flickers.

    Args:
        stream: the terminal.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._text = ""
        self._wakeup = -1

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Use the terminal's other screen; at the end the former one is back, also after a signal."""
        self._wakeup, signals = os.pipe()
        os.set_blocking(signals, False)  # a handler of a signal must not wait
        # A signal handler must not write: the signal may interrupt a write to the same stream.
        former = signal.set_wakeup_fd(signals, warn_on_full_buffer=False)
        handlers = signal.signal(signal.SIGTERM, _end), signal.signal(signal.SIGWINCH, _ignore)
        self._write(ENTER)
        try:
            yield
        finally:
            self._write(LEAVE)
            signal.signal(signal.SIGTERM, handlers[0])
            signal.signal(signal.SIGWINCH, handlers[1])
            signal.set_wakeup_fd(former)
            os.close(self._wakeup)
            os.close(signals)

    def show(self, text: str) -> None:
        """Replace what is shown. Lines that do not fit are left out, from the end."""
        self._text = text
        self._write(frame(text, shutil.get_terminal_size().lines))

    def wait(self, seconds: float) -> None:
        """Wait; if the window is resized meanwhile, draw the text again at once."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            if select.select([self._wakeup], [], [], left)[0]:
                os.read(self._wakeup, 4096)
                self.show(self._text)

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()


def frame(text: str, rows: int) -> str:
    """The bytes that draw a text over the former one: each line is written and cleared behind its end."""
    lines = text.splitlines()[:rows]
    return HOME + "\r\n".join(f"{line}{END_OF_LINE}" for line in lines) + REST


def _ignore(_: int, __: FrameType | None) -> None:
    """A signal without a handler wakes nobody."""


def _end(_: int, __: FrameType | None) -> None:
    sys.exit(1)  # so that the terminal is restored on the way out
