"""The websocket for clients of the Gateway: IBKR's own text protocol, at `/v1/api/ws` and `/ws`.

A client gets the same messages as from the Gateway, in text frames. Three faults of the Gateway are missing: early
commands are not lost, quotes do not stop after fifteen minutes, and no topic must be subscribed again after a reconnect
to IBKR. If the source is lost, the client gets a `system` message. Clients that do not know it ignore it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

from aiohttp import WSCloseCode, WSMessage, WSMsgType, hdrs, web

from ibkr_bridge import events
from ibkr_bridge.api.stream_access import (
    check_not_ending,
    closing,
    connection_of,
    hub_of,
    new_subscriber,
    publish_opened,
)
from ibkr_bridge.api.stream_encoding import WEBSOCKET_ENCODING, ConnectionSink, websocket_frame
from ibkr_bridge.clock import utc_ms
from ibkr_bridge.errors import BadRequest, BridgeError
from ibkr_bridge.server.app_keys import BUS, CLOCK, REQUEST_CONTEXT
from ibkr_bridge.streaming.hub import Hub
from ibkr_bridge.streaming.protocol import (
    Heartbeat,
    SessionMessage,
    Subscribe,
    Unsubscribe,
    read_command,
    unsubscribe_reply,
)
from ibkr_bridge.streaming.subscriber import SLOW_CLIENT, StreamEvent, Subscriber

MAX_MESSAGE_BYTES = 64 * 1024  # of one message of a client, as at the Gateway
CLOSE_TIMEOUT_S = 2.0  # for a client to answer a close frame
MAX_BURST = 64  # commands of one client that are handled before others get a turn
CLOSE_CODES = {
    SLOW_CLIENT: WSCloseCode.TRY_AGAIN_LATER,
    "shutting_down": WSCloseCode.GOING_AWAY,
    "internal": WSCloseCode.INTERNAL_ERROR,
}


async def open_websocket(request: web.Request) -> web.StreamResponse:
    """Serve one client's websocket until either side closes it."""
    if request.headers.get(hdrs.UPGRADE, "").lower() != "websocket":
        raise BadRequest("this is a websocket", hint="open it with a websocket client, or use /stream/… with any other")
    check_not_ending(request)
    hub, connection, reason = hub_of(request), connection_of(request), None
    hub.check_capacity(has_reduced_share=request[REQUEST_CONTEXT].has_reduced_share)
    socket = web.WebSocketResponse(
        max_msg_size=MAX_MESSAGE_BYTES, compress=False, timeout=CLOSE_TIMEOUT_S, autoclose=True
    )
    await socket.prepare(request)
    publish_opened(request)
    try:
        async with asyncio.timeout(None) as timeout:
            sink = ConnectionSink(connection, lambda _: _expire(timeout), chunked=False)
            subscriber = new_subscriber(request, sink, WEBSOCKET_ENCODING)
            connection.on_writable = hub.schedule_flush
            await WebSocketSession(hub, subscriber, lambda: utc_ms(request.app[CLOCK].utc())).receive_loop(socket, sink)
    except TimeoutError:
        reason = subscriber.closed_reason or ""
    except ConnectionError:
        pass  # the client has disconnected; aiohttp noticed it while answering a ping
    except Exception as exc:  # a bug of the bridge; an HTTP error cannot be sent on a websocket
        request_context, reason = request[REQUEST_CONTEXT], "internal"
        request.app[BUS].publish(
            events.RequestFailed(request_context.request_id, type(exc).__name__, events.traceback_places(exc))
        )
    finally:
        connection.on_writable = None
        hub.remove_subscriber(subscriber)
    if reason is not None:
        await _close(request, socket, reason)
    return socket


def _expire(timeout: asyncio.Timeout) -> None:
    """Let the timeout expire now, which ends the loop that receives."""
    with suppress(RuntimeError):  # it has expired already
        timeout.reschedule(asyncio.get_running_loop().time())


async def _close(request: web.Request, socket: web.WebSocketResponse, reason: str) -> None:
    code = CLOSE_CODES.get(reason, WSCloseCode.POLICY_VIOLATION)
    async with closing(request, reason, 2 * CLOSE_TIMEOUT_S):
        await socket.close(code=code, message=reason.encode())


class WebSocketSession:
    """Handles the commands of one client.

    Args:
        hub: sends the events.
        subscriber: the client, as the hub knows it.
        now_ms: returns the wall time in milliseconds.
    """

    def __init__(self, hub: Hub, subscriber: Subscriber, now_ms: Callable[[], int]) -> None:
        self._hub = hub
        self._subscriber = subscriber
        self._now_ms = now_ms

    async def receive_loop(self, socket: web.WebSocketResponse, sink: ConnectionSink) -> None:
        """Send the greeting, then handle commands until the client closes the socket."""
        for message in self._hub.greeting():
            self._subscriber.enqueue(StreamEvent(message))
        self._hub.add_subscriber(self._subscriber)
        sink.is_open = True
        self._hub.schedule_flush()
        count = 0
        async for received in socket:
            self._handle_text(_text_of(received))
            self._hub.schedule_flush()
            count += 1
            if count % MAX_BURST == 0:
                await asyncio.sleep(0)  # messages that are already here are read without yielding to other tasks

    def _handle_text(self, text: str) -> None:
        try:
            command = read_command(text)
            HANDLERS[type(command)](self, command)
        except BridgeError as exc:
            self._send({"topic": "error", "error": exc.detail, "code": exc.code, "hint": exc.hint})

    def _subscribe(self, subscribe: Subscribe) -> None:
        self._hub.subscribe(self._subscriber, subscribe)

    def _unsubscribe(self, unsubscribe: Unsubscribe) -> None:
        self._hub.unsubscribe(self._subscriber, unsubscribe)
        if (reply := unsubscribe_reply(unsubscribe)) is not None:
            self._send(reply)

    def _heartbeat(self, heartbeat: Heartbeat) -> None:
        if heartbeat.word == "tic":
            self._send({"topic": "tic", "alive": True, "lastAccessed": self._now_ms()})
        else:
            self._subscriber.enqueue_bytes(websocket_frame(heartbeat.word.encode()))

    def _accept_session(self, _: SessionMessage) -> None:
        """The key or token of the handshake has identified the client; as at the Gateway there is no answer to this."""

    def _send(self, message: dict[str, object]) -> None:
        self._subscriber.enqueue(StreamEvent(message))


def _text_of(received: WSMessage) -> str:
    """The text of a message, in a text frame or, as many clients of the Gateway send it, in a binary one."""
    if received.type is WSMsgType.TEXT:
        return str(received.data)
    return bytes(received.data).decode(errors="replace") if received.type is WSMsgType.BINARY else ""


HANDLERS: dict[type, Callable[..., None]] = {
    Subscribe: WebSocketSession._subscribe,
    Unsubscribe: WebSocketSession._unsubscribe,
    Heartbeat: WebSocketSession._heartbeat,
    SessionMessage: WebSocketSession._accept_session,
}
