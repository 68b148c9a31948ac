"""The websocket for clients of the Gateway: IBKR's own text protocol, at `/v1/api/ws` and `/ws`.

A client sees what the Gateway would show it, in text frames, and three things less: nothing it says is lost because it
was early, no quote stops after fifteen minutes, and nothing has to be subscribed to again. Where the source is lost it
is told so, in a `system` message that clients who do not know it pass over.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

from aiohttp import WSCloseCode, WSMsgType, hdrs, web

from ibkr_bridge import events
from ibkr_bridge.api.stream_access import door_of, hub_of, last_word, note_begin, refuse_while_ending, trouble
from ibkr_bridge.api.stream_encoding import FRAMES, Outlet, frame
from ibkr_bridge.clock import utc_ms
from ibkr_bridge.errors import BadRequest, BridgeError
from ibkr_bridge.server.app_keys import BUS, CLOCK, VISIT
from ibkr_bridge.streaming.hub import Hub
from ibkr_bridge.streaming.protocol import Beat, Leave, Wish, farewell, read_command
from ibkr_bridge.streaming.subscriber import TOO_SLOW, Event, Reader

LARGEST = 64 * 1024  # bytes of one message of a client, as at the Gateway
CLOSE_WITHIN = 2.0  # seconds for a client to answer a farewell
BURST = 64  # commands that are done at a time
CLOSE_CODES = {
    TOO_SLOW: WSCloseCode.TRY_AGAIN_LATER,
    "stopping": WSCloseCode.GOING_AWAY,
    "internal": WSCloseCode.INTERNAL_ERROR,
}


async def opened(request: web.Request) -> web.StreamResponse:
    """One client's socket, until either side ends it."""
    if request.headers.get(hdrs.UPGRADE, "").lower() != "websocket":
        raise BadRequest(
            "this is a websocket", hint="open it with a websocket client, or read /stream/… with any other"
        )
    refuse_while_ending(request)
    hub, door, why = hub_of(request), door_of(request), None
    hub.check_room()
    socket = web.WebSocketResponse(max_msg_size=LARGEST, compress=False, timeout=CLOSE_WITHIN, autoclose=True)
    await socket.prepare(request)
    note_begin(request)
    try:
        async with asyncio.timeout(None) as limit:
            outlet = Outlet(door, lambda _: _end(limit), chunked=False)
            reader = Reader(outlet, FRAMES, trouble(request))
            door.on_clear = hub.soon
            await Visitor(hub, reader, lambda: utc_ms(request.app[CLOCK].utc())).listen(socket, outlet)
    except TimeoutError:
        why = reader.over or ""
    except ConnectionError:
        pass  # the client has gone; aiohttp noticed it while it answered a ping
    except Exception as exc:  # our own bug: an answer of HTTP would be no frame
        visit, why = request[VISIT], "internal"
        request.app[BUS].announce(events.RequestFailed(visit.request_id, type(exc).__name__, events.where(exc)))
    finally:
        door.on_clear = None
        hub.gone(reader)
    if why is not None:
        await _part(request, socket, why)
    return socket


def _end(limit: asyncio.Timeout) -> None:
    with suppress(RuntimeError):  # it is ending already
        limit.reschedule(asyncio.get_running_loop().time())


async def _part(request: web.Request, socket: web.WebSocketResponse, reason: str) -> None:
    code = CLOSE_CODES.get(reason, WSCloseCode.POLICY_VIOLATION)
    async with last_word(request, reason, 2 * CLOSE_WITHIN):
        await socket.close(code=code, message=reason.encode())


class Visitor:
    """One client, and what it says."""

    def __init__(self, hub: Hub, reader: Reader, ms: Callable[[], int]) -> None:
        self._hub = hub
        self._reader = reader
        self._ms = ms

    async def listen(self, socket: web.WebSocketResponse, outlet: Outlet) -> None:
        """Greet, and do what is said until nothing more is."""
        for message in self._hub.greeting():
            self._reader.put(Event(message))
        self._hub.enter(self._reader)
        outlet.is_open = True
        self._hub.soon()
        count = 0
        async for heard in socket:
            self._hear(heard.data if heard.type is WSMsgType.TEXT else "")
            self._hub.soon()
            count += 1
            if count % BURST == 0:
                await asyncio.sleep(0)  # what has come already would be done without a breath for anybody else

    def _hear(self, text: str) -> None:
        try:
            command = read_command(text)
            ACTS[type(command)](self, command)
        except BridgeError as exc:
            self._say({"topic": "error", "error": exc.detail, "code": exc.code, "hint": exc.hint})

    def _wish(self, wish: Wish) -> None:
        self._hub.join(self._reader, wish)

    def _leave(self, leave: Leave) -> None:
        self._hub.leave(self._reader, leave)
        if (said := farewell(leave)) is not None:
            self._say(said)

    def _beat(self, beat: Beat) -> None:
        if beat.word == "tic":
            self._say({"topic": "tic", "alive": True, "lastAccessed": self._ms()})
        else:
            self._reader.say(frame(beat.word.encode()))

    def _say(self, message: dict[str, object]) -> None:
        self._reader.put(Event(message))


ACTS: dict[type, Callable[..., None]] = {Wish: Visitor._wish, Leave: Visitor._leave, Beat: Visitor._beat}
