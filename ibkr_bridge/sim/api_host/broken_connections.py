"""Connections that break between IBKR and a program, as they do on the Internet.

The kinds of faults are those of a Gateway's socket. The others of these concern a Gateway's queue, which is not here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import NoReturn

from aiohttp import web

from ibkr_bridge.sim.faults import Fault, Faults, Side
from ibkr_bridge.sim.request_log import LoggedRequest

KINDS = ("cut-before", "done-cut-before", "cut-in", "garble")
GARBLED_BYTES = b"\x16\x03\x03\x00\x7fno such protocol\x00\xff\r\n\r\n"
Serve = Callable[[], Awaitable[web.StreamResponse]]


def find_break(faults: Faults, logged: LoggedRequest) -> Fault | None:
    """The fault that breaks the connection of a request, and one use of it; None if there is none."""
    fault = faults.find_fault(Side.SOCKET, logged.target, own=False)
    if fault is None or fault.kind not in KINDS:
        return None
    return faults.use_fault(Side.SOCKET, logged.target, own=False)


async def serve_and_break(fault: Fault, request: web.Request, serve: Serve) -> NoReturn:
    """Carry out a request if the fault says so, and break its connection."""
    response = await serve() if fault.done else None
    transport = request.transport
    if transport is not None:
        transport.write(_last_bytes(fault, response))
        transport.close()
    await asyncio.get_running_loop().create_future()
    raise AssertionError("the handler is cancelled with its connection")


def _last_bytes(fault: Fault, response: web.StreamResponse | None) -> bytes:
    if fault.kind == "garble":
        return GARBLED_BYTES
    if fault.kind != "cut-in" or not isinstance(response, web.Response) or not isinstance(response.body, bytes):
        return b""
    head = f"HTTP/1.1 {response.status} {response.reason}\r\nContent-Type: {response.content_type}\r\n"
    return f"{head}Content-Length: {len(response.body)}\r\n\r\n".encode() + response.body[: len(response.body) // 2]
