"""How the market spoils a response when a fault requires it: one table.

All of this happens at IBKR's end, so the call holds its slot in the Gateway meanwhile, as with the real IBKR.
"""

from __future__ import annotations

import asyncio
import gzip
import socket
import struct
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace

from aiohttp import web

from ibkr_bridge.sim.clock import SimClock
from ibkr_bridge.sim.faults import Fault
from ibkr_bridge.sim.market.dispatch import MarketResponse

NOT_CARRIED_OUT = MarketResponse(503, b"")


@dataclass(frozen=True)
class FaultyCall:
    """One call with a fault; `response` is the correct response if the call is carried out in spite of the fault."""

    fault: Fault
    request: web.BaseRequest
    response: MarketResponse
    clock: SimClock
    trigger_event: Callable[[Fault], None]
    """Causes the event that a fault names."""
    released: asyncio.Future[None]
    """Is done when the calls that are held are to end."""


def web_response(market_response: MarketResponse) -> web.Response:
    """Return aiohttp's response for a market's response: in one piece, with its length."""
    response = web.Response(status=market_response.status, body=market_response.body)
    response.headers["Content-Type"] = market_response.content_type
    for name, value in market_response.headers:
        response.headers.add(name, value)
    return response


async def _hold_without_answer(call: FaultyCall) -> web.StreamResponse:
    if call.fault.seconds:
        await call.clock.sleep(call.fault.seconds)
        return await _close_connection(call)
    await asyncio.shield(call.released)
    return web_response(call.response if call.fault.done else NOT_CARRIED_OUT)


async def _wait_forever() -> web.StreamResponse:
    await asyncio.get_running_loop().create_future()
    raise AssertionError("nothing sets this future")


async def _respond(call: FaultyCall) -> web.StreamResponse:
    return web_response(call.response)


async def _respond_late(call: FaultyCall) -> web.StreamResponse:
    await call.clock.sleep(call.fault.seconds)
    return web_response(call.response)


async def _respond_instead(call: FaultyCall) -> web.StreamResponse:
    fault = call.fault
    if fault.seconds:
        await call.clock.sleep(fault.seconds)
    return web_response(
        MarketResponse(fault.status, fault.body.encode(), fault.content_type, tuple(fault.headers.items()))
    )


async def _respond_compressed(call: FaultyCall) -> web.StreamResponse:
    headers = (*call.response.headers, ("Content-Encoding", "gzip"))
    return web_response(replace(call.response, body=gzip.compress(call.response.body), headers=headers))


async def _respond_large(call: FaultyCall) -> web.StreamResponse:
    frame = b'{"filler":"", "end":true}'
    body = frame.replace(b'""', b'"' + b"x" * max(call.fault.size - len(frame), 0) + b'"')
    return web_response(MarketResponse(call.fault.status, body))


async def _send_half(call: FaultyCall) -> web.StreamResponse:
    response = web.StreamResponse(status=call.response.status)
    response.content_type = "application/json"
    response.content_length = len(call.response.body)
    await response.prepare(call.request)
    await response.write(call.response.body[: len(call.response.body) // 2])
    return response


async def _stall_in_body(call: FaultyCall) -> web.StreamResponse:
    response = await _send_half(call)
    await asyncio.shield(call.released)
    await response.write(call.response.body[len(call.response.body) // 2 :])
    return response


async def _die_in_body(call: FaultyCall) -> web.StreamResponse:
    await _send_half(call)
    return await _close_connection(call)


async def _close_connection(call: FaultyCall) -> web.StreamResponse:
    if call.request.transport is not None:
        call.request.transport.close()
    return await _wait_forever()


async def _reset_connection(call: FaultyCall) -> web.StreamResponse:
    """Close with RST instead of FIN: the kernel sends one if a socket is closed without lingering."""
    transport = call.request.transport
    if transport is not None:
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()
    return await _wait_forever()


async def _restart_gateway(call: FaultyCall) -> web.StreamResponse:
    call.trigger_event(Fault("restart"))
    return await _wait_forever()


async def _lose_brokerage(call: FaultyCall) -> web.StreamResponse:
    call.trigger_event(Fault("brokerage-lost"))
    return await _respond_instead(call)


FAULT_HANDLERS: Mapping[str, Callable[[FaultyCall], Awaitable[web.StreamResponse]]] = {
    "silence": _hold_without_answer,
    "done-silence": _hold_without_answer,
    "delay": _respond_late,
    "stall-in": _stall_in_body,
    "die-in": _die_in_body,
    "drop": _close_connection,
    "reset": _reset_connection,
    "status": _respond_instead,
    "empty-503": _respond_instead,
    "timeout-503": _respond_instead,
    "done-timeout-503": _respond_instead,
    "restart-during": _restart_gateway,
    "done-restart-during": _restart_gateway,
    "lost-during": _lose_brokerage,
    "done-lost-during": _lose_brokerage,
    "prompt": _respond,
    "html-500": _respond_instead,
    "hidden-error": _respond_instead,
    "429": _respond_instead,
    "maintenance": _respond_instead,
    "no-dh-token": _respond_instead,
    "gzip": _respond_compressed,
    "big": _respond_large,
}
