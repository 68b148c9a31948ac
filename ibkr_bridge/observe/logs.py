"""What a person reads at three in the morning: one line for each fact.

Facts of the bus become lines; so do the warnings of libraries, without their words where they speak of an exception.
On a terminal lines are for eyes; in systemd's journal too, with every key a field besides; elsewhere each is one JSON
object. Where the journal cannot be reached by its own socket, or JSON is asked for, standard error takes the line, with
the priority in front. The journal knows the time, so no line repeats it there.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Mapping, MutableMapping
from datetime import UTC, datetime
from typing import Any, TextIO

import structlog

from ibkr_bridge.config.settings import LogFormat, LogLevel
from ibkr_bridge.events import Bus, Event, traceback_places
from ibkr_bridge.observe.journald import JournaldSocket
from ibkr_bridge.redaction import Redactor

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


def resolve_format(wanted: LogFormat, stream: TextIO) -> LogFormat:
    """Console for people, JSON for programs."""
    if wanted is not LogFormat.AUTO:
        return wanted
    return LogFormat.CONSOLE if stream.isatty() else LogFormat.JSON


def processors(form: LogFormat, stream: TextIO, *, journal: bool) -> list[structlog.typing.Processor]:
    """What makes a text of a line, step after step."""
    console = form is LogFormat.CONSOLE
    stamp = structlog.processors.TimeStamper(fmt="%H:%M:%S", utc=False) if console else _add_timestamp
    text = structlog.dev.ConsoleRenderer(colors=stream.isatty()) if console else _as_json
    last: list[structlog.typing.Processor] = [text, _with_priority] if journal else [stamp, text]
    return [structlog.processors.add_log_level, *last]


class Log:
    """Where lines go, and how they look.

    Args:
        stream: usually standard error.
        level: the least important line that is written; can be changed.
        scrubber: what must never be shown.
        leads_to_journal: the stream does.
        journal: its own socket, where lines are to go that way.
    """

    def __init__(
        self,
        stream: TextIO,
        form: LogFormat,
        level: LogLevel,
        redactor: Redactor,
        *,
        leads_to_journal: bool = False,
        journal: JournaldSocket | None = None,
    ) -> None:
        self.level = level
        self._stream = stream
        self._redactor = redactor
        self._journal = journal
        self._lost = 0  # lines since the journal last took one; told with the next that it takes
        self._chain = processors(form, stream, journal=leads_to_journal)
        self._writer = structlog.WriteLogger(stream)

    def __repr__(self) -> str:
        return f"<Log to {self._stream.name}>"

    def _redacted_line(self, line: EventDict) -> EventDict:
        """The last line of defence. One look at all texts together; where something is found, each is cleaned."""
        texts = "\0".join([value for value in line.values() if isinstance(value, str)])
        if not self._redactor.contains_secret(texts):
            return line
        return {key: self._redactor.redact(value) if isinstance(value, str) else value for key, value in line.items()}

    def on_event(self, event: Event) -> None:
        """One fact, one line; a line that cannot be written must not stop the bridge."""
        told = {key: value for key, value in vars(event).items() if value is not None}
        self._write(event.level, {"event": event.event, **told})

    def log(self, level: str, event: str, **keys: object) -> None:
        """Write one line."""
        self._write(level, {"event": event, **keys})

    def _write(self, level: str, told: EventDict) -> None:
        if LEVELS[level] < LEVELS[self.level.value]:
            return
        line = self._redacted_line(told)
        if self._journal is None or not self._send_to_journal(self._journal, level, line):
            self._write_line(level, line)

    def _send_to_journal(self, journal: JournaldSocket, level: str, line: EventDict) -> bool:
        """Whether the journal took a line, or cannot take any now: the bridge does not wait for it."""
        told = {**line, "lost": self._lost} if self._lost else line
        try:
            journal.send(str(CONSOLE_RENDERER(None, level, dict(told))), PRIORITY[level], told)
        except BlockingIOError:
            self._lost += 1
        except OSError:
            return False
        else:
            self._lost = 0
        return True

    def _write_line(self, level: str, line: Any) -> None:
        try:
            for step in self._chain:
                line = step(None, level, line)
            self._writer.msg(line)
        except (OSError, ValueError):
            return  # the terminal was closed, or the disk is full

    def attach(self, bus: Bus) -> None:
        """Write every fact from now on, and what libraries have to say."""
        bus.subscribe(self.on_event)
        root = logging.getLogger()
        root.handlers[:] = [_LibraryHandler(self)]
        root.setLevel(logging.WARNING)


ENCODER = json.JSONEncoder(default=repr)  # made once: `json.dumps` with a default makes one for each line


def _add_timestamp(_: object, __: str, line: EventDict) -> EventDict:
    """The time in UTC; structlog's own takes several times as long, for every line."""
    line["timestamp"] = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    return line


def _as_json(_: object, __: str, line: EventDict) -> str:
    return ENCODER.encode(line)


def _with_priority(_: object, level: str, line: Any) -> str:
    """The journal takes `<N>` at a line's beginning for its priority."""
    return f"<{PRIORITY[level]}>{line}"


CONSOLE_RENDERER = structlog.dev.ConsoleRenderer(colors=False, pad_event_to=0, sort_keys=False)


class _LibraryHandler(logging.Handler):
    """Records of aiohttp and asyncio. The text of an exception may repeat a secret, so only its places are told."""

    def __init__(self, log: Log) -> None:
        super().__init__()
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        exc = record.exc_info[1] if record.exc_info else None
        told = (
            {"error": type(exc).__name__, "where": traceback_places(exc)}
            if exc
            else {"template": str(record.msg)[:200]}
        )
        level = record.levelname.lower()
        self._log.log(level if level in PRIORITY else "warning", "library.said", logger=record.name, **told)


def open_log(form: LogFormat, level: LogLevel, redactor: Redactor, env: Mapping[str, str]) -> Log:
    """The log of this process, on standard error."""
    stream = sys.stderr
    leads = leads_to_journal(stream, env)
    if leads:
        os.set_blocking(stream.fileno(), False)  # a journal that is stuck must not stop the bridge
    journal = JournaldSocket() if leads and form is LogFormat.AUTO else None
    chosen = resolve_format(form, stream)
    return Log(stream, chosen, level, redactor, leads_to_journal=leads, journal=journal)
