"""What a person reads at three in the morning: one line for each fact.

Facts of the bus become lines; so do the warnings of libraries, without their words where they speak of an exception.
On a terminal lines are for eyes; elsewhere each is one JSON object, with the journal's priority in front where
standard error leads to the journal (which then knows the time, so the line does not repeat it).
"""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any, TextIO

import structlog

from ibkr_bridge.events import Bus, Fact, where
from ibkr_bridge.masking import Scrubber
from ibkr_bridge.settings import LogFormat, LogLevel

PRIORITY = {"critical": 2, "error": 3, "warning": 4, "info": 6, "debug": 7}  # syslog's, as the journal reads them
LEVELS = {name: getattr(logging, name.upper()) for name in PRIORITY}
EventDict = MutableMapping[str, Any]


def leads_to_journal(stream: TextIO, env: Mapping[str, str]) -> bool:
    """Whether systemd connected this stream to the journal: it names the stream's device and inode."""
    try:
        found = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return env.get("JOURNAL_STREAM") == f"{found.st_dev}:{found.st_ino}"


def chosen_format(wanted: LogFormat, stream: TextIO) -> LogFormat:
    """Console for people, JSON for programs."""
    if wanted is not LogFormat.AUTO:
        return wanted
    return LogFormat.CONSOLE if stream.isatty() else LogFormat.JSON


class Log:
    """Where lines go, and how they look.

    Args:
        stream: usually standard error.
        journal: the stream leads to the journal.
        scrubber: what must never be shown.
    """

    def __init__(
        self, stream: TextIO, form: LogFormat, level: LogLevel, scrubber: Scrubber, *, journal: bool = False
    ) -> None:
        self._stream = stream
        self._scrubber = scrubber
        console = form is LogFormat.CONSOLE
        chain: list[structlog.typing.Processor] = [structlog.processors.add_log_level, self._scrubbed]
        if not journal:
            chain.append(structlog.processors.TimeStamper(fmt="iso" if not console else "%H:%M:%S", utc=not console))
        chain.append(structlog.dev.ConsoleRenderer(colors=stream.isatty()) if console else _as_json)
        if journal:
            chain.append(_with_priority)
        self._chain = chain
        self._writer = structlog.WriteLogger(stream)
        self._least = LEVELS[level.value]

    def __repr__(self) -> str:
        return f"<Log to {self._stream.name}>"

    def _scrubbed(self, _: object, __: str, line: EventDict) -> EventDict:
        """The last line of defence. One look at all texts together; where something is found, each is cleaned."""
        texts = "\0".join([value for value in line.values() if isinstance(value, str)])
        if not self._scrubber.holds_secret(texts):
            return line
        return {key: self._scrubber.scrub(value) if isinstance(value, str) else value for key, value in line.items()}

    def hear(self, fact: Fact) -> None:
        """One fact, one line; a line that cannot be written must not stop the bridge."""
        self.say(fact.level, fact.event, **{key: value for key, value in vars(fact).items() if value is not None})

    def say(self, level: str, event: str, **keys: object) -> None:
        """Write one line."""
        if LEVELS[level] < self._least:
            return
        line: Any = {"event": event, **keys}
        try:
            for step in self._chain:
                line = step(None, level, line)
            self._writer.msg(line)
        except (OSError, ValueError):
            return  # the terminal was closed, or the disk is full

    def listen(self, bus: Bus) -> None:
        """Write every fact from now on, and what libraries have to say."""
        bus.listen(self.hear)
        root = logging.getLogger()
        root.handlers[:] = [_Library(self)]
        root.setLevel(logging.WARNING)


ENCODER = json.JSONEncoder(default=repr)  # made once: `json.dumps` with a default makes one for each line


def _as_json(_: object, __: str, line: EventDict) -> str:
    return ENCODER.encode(line)


def _with_priority(_: object, __: str, line: Any) -> str:
    """The journal takes `<N>` at a line's beginning for its priority."""
    found = next((name for name in PRIORITY if f'"level": "{name}"' in line), "info")
    return f"<{PRIORITY[found]}>{line}"


class _Library(logging.Handler):
    """Records of aiohttp and asyncio. The text of an exception may repeat a secret, so only its places are told."""

    def __init__(self, log: Log) -> None:
        super().__init__()
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        exc = record.exc_info[1] if record.exc_info else None
        told = {"error": type(exc).__name__, "where": where(exc)} if exc else {"template": str(record.msg)[:200]}
        level = record.levelname.lower()
        self._log.say(level if level in PRIORITY else "warning", "library.said", logger=record.name, **told)


def open_log(form: LogFormat, level: LogLevel, scrubber: Scrubber, env: Mapping[str, str]) -> Log:
    """The log of this process, on standard error."""
    stream = sys.stderr
    return Log(stream, chosen_format(form, stream), level, scrubber, journal=leads_to_journal(stream, env))
