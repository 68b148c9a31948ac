"""The feed: IBKR's websocket. It is opened when the session is ready, and opened again whenever it ends.

The Gateway accepts every websocket at once and answers pings whether IBKR is connected or not; commands that are sent
before IBKR is connected are lost. So nothing is sent before `system … success`, and a websocket on which IBKR sends
nothing for a while is closed. IBKR replays nothing and keeps no subscriptions: on each new websocket everything is
requested again. IBKR's messages about the session (`sts`) make the keeper check at once: milliseconds instead of
seconds.
"""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, NoReturn, Protocol, TypeVar

from ibkr_bridge import events
from ibkr_bridge.calls.upstream_port import StreamSocket
from ibkr_bridge.clock import Clock
from ibkr_bridge.errors import GatewayError
from ibkr_bridge.streaming.clock_skew import ClockSkew
from ibkr_bridge.streaming.hub import Hub
from ibkr_bridge.streaming.stale_reasons import SESSION_LOST, STREAM_DISCONNECTED, STREAM_TIMEOUT

CONNECT_TIMEOUT_S = 10.0  # seconds from the opening of a websocket to IBKR's message that it is connected
SILENCE_TIMEOUT_S = 25.0  # seconds without a message; IBKR sends a heartbeat every 10 s
TIC_INTERVAL_S = 20.0  # seconds; IBKR wants one a minute
BURST = 64  # messages that are read without a pause
MIN_INTERVAL_S = 0.05  # seconds between two checks of the watchdog
STABLE_AFTER_S = 60.0  # seconds after which the end of a websocket does not count as a failed attempt
RECONNECT_DELAYS_S = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
"""Seconds after the first failure, the second, and all from the sixth on."""


class SessionChecker(Protocol):
    """The part of the session that the feed uses."""

    def request_check(self) -> None:
        """Request a check, as the session may have changed."""
        ...

    async def check_now(self) -> object:
        """Wait for a check that begins from now on."""
        ...


E = TypeVar("E", bound=BaseException)


class FeedClosed(Exception):  # the usual end of every websocket, not an error
    """The websocket has ended; `reason` is a code."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class UpstreamFeed:
    """The websocket of one profile.

    Args:
        profile: the name of the profile.
        open_socket: opens a websocket.
        hub: receives the messages, and decides what is requested.
        session: the keeper.
    """

    def __init__(
        self,
        profile: str,
        open_socket: Callable[[], AbstractAsyncContextManager[StreamSocket]],
        hub: Hub,
        session: SessionChecker,
        clock: Clock,
        bus: events.Bus,
    ) -> None:
        self._profile = profile
        self._open_socket = open_socket
        self._hub = hub
        self._session = session
        self._clock = clock
        self._bus = bus
        self._is_ready = False
        self._reason = "starting"
        self._session_losses = self._session_of_socket = 0
        """How often the session was lost: a websocket belongs to the session in which it was opened."""
        self._changed = asyncio.Event()
        """Set when the session becomes ready, and when it is no longer ready."""
        self._frames: asyncio.Queue[str] = asyncio.Queue()
        self._is_up = False
        self._opened_at = self._received_at = 0.0
        self._failures = 0
        self._is_cut_by_request = False
        self.clock_skew = ClockSkew()
        self.opened_count = 0
        """How many websockets were connected to IBKR so far."""

    def __repr__(self) -> str:
        return f"<UpstreamFeed {self._profile} {'up' if self._is_up else 'down'}>"

    def on_session_change(self, reason: str, *, ready: bool) -> None:
        """Follow a change of the session."""
        self._reason = reason
        if not ready:
            self._hub.mark_stale(reason)
        if ready != self._is_ready:
            self._is_ready, self._failures = ready, 0
            self._session_losses += not ready
            self._changed.set()

    async def run_loop(self) -> NoReturn:
        """Open one websocket after the other, until cancelled."""
        while True:
            while not self._is_ready:
                self._changed.clear()
                await self._changed.wait()
            self._changed.clear()
            reason = await self._run_socket()
            self._is_up = False
            self.clock_skew.reset()
            self._hub.mark_stale(reason if self._is_ready else self._reason)
            if self._is_ready:
                await self._on_closed(reason)

    async def _on_closed(self, reason: str) -> None:
        """A websocket ended while the session counts as ready: request a check and wait before the next attempt."""
        lived = self._clock.now() - self._opened_at
        if not self._is_cut_by_request:  # one caller's request says nothing of IBKR: the others wait no longer for it
            self._failures = 1 if lived > STABLE_AFTER_S else self._failures + 1
        pause = RECONNECT_DELAYS_S[max(0, min(self._failures, len(RECONNECT_DELAYS_S)) - 1)]
        self._bus.publish(events.FeedLost(reason, round(lived, 1), pause))
        self._session.request_check()
        if reason == SESSION_LOST:
            await self._session.check_now()  # a websocket of the lost session would connect and send nothing
        await self._clock.wait(self._changed, pause)

    async def _run_socket(self) -> str:
        """Run one websocket from its opening to its end. Returns the reason."""
        self._opened_at = self._received_at = self._clock.now()
        self._frames = asyncio.Queue()
        self._session_of_socket = self._session_losses
        reason = STREAM_DISCONNECTED
        try:
            async with self._open_socket() as socket:
                await self._run_parts(socket)
        except* FeedClosed as ended:
            reason = _first_error(ended).reason
        except* GatewayError as errors:
            reason = _first_error(errors).code  # it cannot be opened
        return reason

    async def _run_parts(self, socket: StreamSocket) -> None:
        """Receive, send and watch, until one of these ends."""
        was_cut = True
        try:
            async with asyncio.TaskGroup() as parts:
                for part in (self._receive_loop(socket), self._send_loop(socket), self._watchdog()):
                    parts.create_task(part)
        except* FeedClosed as ended:
            was_cut = _first_error(ended).reason == STREAM_DISCONNECTED
            raise
        finally:
            self._is_cut_by_request = self._hub.on_socket_closed(was_cut=was_cut)

    async def _receive_loop(self, socket: StreamSocket) -> NoReturn:
        for number in itertools.count(1):
            data = await socket.receive()
            if data is None:
                raise FeedClosed(STREAM_DISCONNECTED)
            self._received_at = self._clock.now()
            self._handle(data)
            if number % BURST == 0:
                await asyncio.sleep(0)  # let other tasks run; buffered messages are read without waiting
        raise AssertionError

    def _handle(self, data: bytes) -> None:
        """Handle one message; an unexpected error is published, and the next message is handled as usual."""
        try:
            self._dispatch_message(data)
        except FeedClosed:
            raise
        except Exception as exc:
            self._bus.publish(events.FeedMessageFailed(type(exc).__name__, events.traceback_places(exc)))

    async def _send_loop(self, socket: StreamSocket) -> NoReturn:
        while True:
            try:
                await socket.send(await self._frames.get())
            except GatewayError as exc:
                raise FeedClosed(STREAM_DISCONNECTED) from exc

    async def _watchdog(self) -> NoReturn:
        """Close the websocket when IBKR has sent nothing for too long, or the session is a new one; else send `tic`."""
        tic_sent_at = self._clock.now()
        while True:
            now = self._clock.now()
            max_wait_s = SILENCE_TIMEOUT_S if self._is_up else CONNECT_TIMEOUT_S
            since = self._received_at if self._is_up else self._opened_at
            self._check_session()
            if now - since >= max_wait_s:
                raise FeedClosed(STREAM_TIMEOUT)
            if self._is_up and now - tic_sent_at >= TIC_INTERVAL_S:
                tic_sent_at = now
                self._frames.put_nowait("tic")
            self._changed.clear()
            await self._clock.wait(
                self._changed, max(MIN_INTERVAL_S, min(since + max_wait_s, tic_sent_at + TIC_INTERVAL_S) - now)
            )

    def _check_session(self) -> None:
        """Close a websocket of a lost session: it stays connected but brings nothing, even after the session is open
        again.
        """
        if self._session_of_socket != self._session_losses:
            raise FeedClosed(SESSION_LOST)

    def _dispatch_message(self, data: bytes) -> None:
        message = _parse_message(data)
        if message is None:
            return  # unreadable messages are skipped
        topic = message.get("topic")
        if topic == "system":
            self._on_system(message)
        elif topic != "tic":
            self._hub.on_message(message)
            if topic == "sts":
                self._on_status(message.get("args"))

    def _on_system(self, message: dict[str, Any]) -> None:
        if "hb" in message:
            self.clock_skew.observe(message["hb"], self._clock.utc())
        if "success" in message and not self._is_up:
            self._check_session()
            self._is_up = True
            self.opened_count += 1
            self._changed.set()  # the watchdog has another deadline from now on
            self._bus.publish(events.FeedUp(self._hub.counts["topics"]))
            self._hub.mark_fresh(self._frames.put_nowait, str(message["success"]))

    def _on_status(self, args: object) -> None:
        """Close the websocket if IBKR reports a lost or competing session, and request a check."""
        if isinstance(args, dict) and (args.get("authenticated") is False or args.get("competing") is True):
            self._session.request_check()
            raise FeedClosed(SESSION_LOST)


def is_greeting(data: bytes) -> bool:
    """Whether a message is IBKR's own, which shows that the websocket is connected to IBKR."""
    message = _parse_message(data)
    return message is not None and message.get("topic") == "system" and "success" in message


def _parse_message(data: bytes) -> dict[str, Any] | None:
    try:
        message = json.loads(data, parse_constant=lambda _: None)  # NaN is not JSON, and does not equal itself
    except (ValueError, RecursionError):
        return None
    return message if isinstance(message, dict) else None


def _first_error(group: BaseExceptionGroup[E]) -> E:
    first = group.exceptions[0]
    return _first_error(first) if isinstance(first, BaseExceptionGroup) else first
