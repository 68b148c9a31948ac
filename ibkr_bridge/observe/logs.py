"""The log: one line for each event; of requests only so many as `line_limits.py` admits, and sums of the others.

Events of the bus become lines. So do warnings of libraries; if they report an exception, without its text. The format
depends on where the lines go:
- On a terminal a line is text for people.
- In systemd's journal it is the same text, and every key is a field as well.
- Elsewhere it is one JSON object.
If the journal's own socket cannot be reached, or if JSON was chosen, a line for the journal goes to standard error with
its priority in front. It has no time, since the journal adds that.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping, MutableMapping
from contextlib import suppress
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, TextIO

import structlog

from ibkr_bridge.config.settings import AccessLog, LogFormat, LogLevel
from ibkr_bridge.events import Bus, Event, OrderChanged, RequestServed, traceback_places
from ibkr_bridge.observe.journald import JournaldSocket
from ibkr_bridge.observe.line_limits import SUMMARY_INTERVAL_S, LineLimits
from ibkr_bridge.redaction import Redactor, escape_unprintable

PRIORITY = {"critical": 2, "error": 3, "warning": 4, "notice": 5, "info": 6, "debug": 7}
"""Of syslog, which the journal uses."""
NOTICE = 25  # between info and warning: a change of state that is no fault, as the return of the session
LEVELS = {name: NOTICE if name == "notice" else getattr(logging, name.upper()) for name in PRIORITY}

MAX_UNSENT = 1000  # lines of orders that wait for the journal
EventDict = MutableMapping[str, Any]


def console_renderer(*, colors: bool, **options: Any) -> structlog.dev.ConsoleRenderer:
    """Lines for a terminal; structlog itself has no level notice."""
    styles = structlog.dev.ConsoleRenderer.get_default_level_styles(colors)
    return structlog.dev.ConsoleRenderer(colors=colors, level_styles={**styles, "notice": styles["info"]}, **options)


def leads_to_journal(stream: TextIO, env: Mapping[str, str]) -> bool:
    """Whether systemd connected this stream to the journal: JOURNAL_STREAM has the stream's device and inode."""
    try:
        status = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return env.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"


def resolve_format(chosen: LogFormat, stream: TextIO) -> LogFormat:
    """The chosen format; for `AUTO` console on a terminal and JSON elsewhere."""
    if chosen is not LogFormat.AUTO:
        return chosen
    return LogFormat.CONSOLE if stream.isatty() else LogFormat.JSON


def processors(form: LogFormat, stream: TextIO, *, journal: bool) -> list[structlog.typing.Processor]:
    """The steps that turn a log line into text."""
    is_console = form is LogFormat.CONSOLE
    stamp = structlog.processors.TimeStamper(fmt="%H:%M:%S", utc=False) if is_console else _add_timestamp
    text = console_renderer(colors=stream.isatty()) if is_console else _as_json
    last_steps: list[structlog.typing.Processor] = [stamp, text]
    if journal:  # it has its own time, and reads `<N>` at the beginning of a line as its priority
        last_steps = [text, lambda _, level, line: f"<{PRIORITY[level]}>{line}"]
    first_steps: list[structlog.typing.Processor] = [_escape_values] if is_console else []  # JSON escapes by itself
    return [*first_steps, structlog.processors.add_log_level, *last_steps]


def is_wanted(event: RequestServed, access_log: AccessLog) -> bool:
    """Whether the line of a request is written, as the setting says. An error is a status from 400 on."""
    is_error = event.status >= HTTPStatus.BAD_REQUEST
    return access_log is AccessLog.ALL or (access_log is AccessLog.ERRORS and is_error)


class Log:
    """Writes log lines.

    Args:
        stream: usually standard error.
        form: how a line on the stream looks.
        level: the least important level that is written; the attribute may be changed, `access_log` too.
        redactor: removes secrets and account numbers.
        leads_to_journal: whether the stream is connected to the journal.
        journal: the journal's own socket, if lines should go there.
        now: returns monotonic seconds.
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
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.level = level
        self.access_log = AccessLog.ALL
        self._stream = stream
        self._redactor = redactor
        self._journal = journal
        self._now = now
        self._limits = LineLimits(now())
        self._summary_timer: asyncio.TimerHandle | None = None
        self._unsent: deque[tuple[str, EventDict]] = deque(maxlen=MAX_UNSENT)
        self._lost = 0  # lines since the journal last accepted one; the next accepted line has the number
        self._chain = processors(form, stream, journal=leads_to_journal)
        self._writer = structlog.WriteLogger(stream)

    def __repr__(self) -> str:
        return f"<Log to {self._stream.name}>"

    def _redacted_line(self, line: EventDict) -> EventDict:
        """The line without secrets. All texts are searched together; only if something is found, each is redacted."""
        texts = "\0".join([value for value in line.values() if isinstance(value, str)])
        if not self._redactor.contains_secret(texts):
            return line
        return {key: self._redactor.redact(value) if isinstance(value, str) else value for key, value in line.items()}

    def on_event(self, event: Event) -> None:
        """Write the line of an event, or count it if there are too many. A line that cannot be written must not stop
        the bridge.
        """
        self.write_summaries()
        if isinstance(event, RequestServed) and not is_wanted(event, self.access_log):
            return
        if self._limits.admit(event, self._now()):
            self._write_event(event)
        elif self._summary_timer is None:
            self._schedule_summary()

    def write_summaries(self) -> None:
        """Write the sums of lines that were not written, if it is time."""
        for summary in self._limits.due_summaries(self._now()):
            self._write_event(summary)

    def _schedule_summary(self) -> None:
        """Write the sum even if no other event follows."""
        with suppress(RuntimeError):  # no event loop runs; the next event writes it
            loop = asyncio.get_running_loop()
            self._summary_timer = loop.call_later(SUMMARY_INTERVAL_S, self._on_summary_timer)

    def _on_summary_timer(self) -> None:
        self._summary_timer = None
        self.write_summaries()
        if self._limits.has_summed:
            self._schedule_summary()

    def _write_event(self, event: Event) -> None:
        fields = {key: value for key, value in vars(event).items() if value is not None}
        if (profile := fields.pop("profile", None)) is not None:
            fields["profile"] = profile  # last: it is the same on nearly every line
        self._write(event.level, {"event": event.event, **fields}, must_arrive=isinstance(event, OrderChanged))

    def log(self, level: str, event: str, **keys: object) -> None:
        """Write one line."""
        self._write(level, {"event": event, **keys})

    def _write(self, level: str, fields: EventDict, *, must_arrive: bool = False) -> None:
        if LEVELS[level] < LEVELS[self.level.value]:
            return
        line = self._redacted_line(fields)
        if self._journal is None or not self._send_to_journal(self._journal, level, line, must_arrive):
            self._write_line(level, line)

    def _send_to_journal(self, journal: JournaldSocket, level: str, line: EventDict, must_arrive: bool) -> bool:
        """Send a line to the journal; False if it must go to the stream instead.

        If the queue of the journal is full, the line is lost: the bridge does not wait for the journal. The line of an
        order is kept and sent before the next line.
        """
        try:
            while self._unsent:
                self._send_line(journal, *self._unsent[0])
                self._unsent.popleft()
            self._send_line(journal, level, line)
        except BlockingIOError:
            if must_arrive:
                self._unsent.append((level, line))
            else:
                self._lost += 1
        except OSError:
            return False
        return True

    def _send_line(self, journal: JournaldSocket, level: str, line: EventDict) -> None:
        fields = _escape_values(None, level, {**line, "lost": self._lost} if self._lost else line)
        journal.send(str(CONSOLE_RENDERER(None, level, dict(fields))), PRIORITY[level], fields)
        self._lost = 0

    def _write_line(self, level: str, line: Any) -> None:
        try:
            for step in self._chain:
                line = step(None, level, line)
            self._writer.msg(line)
        except (OSError, ValueError):
            return  # the terminal was closed, or the disk is full

    def attach(self, bus: Bus) -> None:
        """Write every later event of the bus and every warning of a library."""
        bus.subscribe(self.on_event)
        root = logging.getLogger()
        root.handlers[:] = [_LibraryHandler(self)]
        root.setLevel(logging.WARNING)


ENCODER = json.JSONEncoder(default=repr)  # made once; `json.dumps` with a default would make one for each line


def _add_timestamp(_: object, __: str, line: EventDict) -> EventDict:
    """Add the time in UTC. structlog's own stamper takes several times as long for every line."""
    line["timestamp"] = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    return line


def _escape_values(_: object, __: str, line: EventDict) -> EventDict:
    """Escape what would control a terminal, also when `journalctl` shows the line."""
    plain = (bool, int, float)
    return {key: value if isinstance(value, plain) else escape_unprintable(str(value)) for key, value in line.items()}


def _as_json(_: object, __: str, line: EventDict) -> str:
    return ENCODER.encode(line)


CONSOLE_RENDERER = console_renderer(colors=False, pad_event_to=0, sort_keys=False)


class _LibraryHandler(logging.Handler):
    """Writes the records of aiohttp and asyncio. An exception's text may have a secret and is left out."""

    def __init__(self, log: Log) -> None:
        super().__init__()
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        exc = record.exc_info[1] if record.exc_info else None
        details = (
            {"error": type(exc).__name__, "places": traceback_places(exc)}
            if exc
            else {"template": str(record.msg)[:200]}
        )
        level = record.levelname.lower()
        self._log.log(level if level in PRIORITY else "warning", "library.said", logger=record.name, **details)


def open_log(form: LogFormat, level: LogLevel, redactor: Redactor, env: Mapping[str, str]) -> Log:
    """The log of this process, on standard error."""
    stream = sys.stderr
    is_journal = leads_to_journal(stream, env)
    if is_journal:
        os.set_blocking(stream.fileno(), False)  # a journal that is stuck must not stop the bridge
    journal = JournaldSocket() if is_journal and form is LogFormat.AUTO else None
    return Log(stream, resolve_format(form, stream), level, redactor, leads_to_journal=is_journal, journal=journal)
