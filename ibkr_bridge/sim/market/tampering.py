"""How the market spoils an answer when a fault says so: a table of kinds and what each does.

Everything here happens at IBKR's end, so the Gateway in between keeps its slot busy meanwhile, just as in life.
"""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace

from aiohttp import web

from ibkr_bridge.sim.clock import SimClock
from ibkr_bridge.sim.faults import Fault
from ibkr_bridge.sim.market.dispatch import MarketResponse


@dataclass(frozen=True)
class Spoiling:
    """One request about to be spoilt; `right` is the true answer if the request is carried out all the same."""

    fault: Fault
    request: web.BaseRequest
    right: MarketResponse
    clock: SimClock
    happen: Callable[[Fault], None]
    """Makes an event happen, by a fault that names it."""


def whole(answer: MarketResponse) -> web.Response:
    """An answer in one piece with its length, as aiohttp sends it."""
    response = web.Response(status=answer.status, body=answer.body)
    response.headers["Content-Type"] = answer.content_type
    for name, value in answer.headers:
        response.headers.add(name, value)
    return response


async def _silence(case: Spoiling) -> web.StreamResponse:
    if case.fault.seconds:
        await case.clock.sleep(case.fault.seconds)
        return await _drop(case)
    return await _never()


async def _never() -> web.StreamResponse:
    await asyncio.get_running_loop().create_future()
    raise AssertionError("silence has no end")


async def _right(case: Spoiling) -> web.StreamResponse:
    return whole(case.right)


async def _delay(case: Spoiling) -> web.StreamResponse:
    await case.clock.sleep(case.fault.seconds)
    return whole(case.right)


async def _instead(case: Spoiling) -> web.StreamResponse:
    fault = case.fault
    if fault.seconds:
        await case.clock.sleep(fault.seconds)
    return whole(MarketResponse(fault.status, fault.body.encode(), fault.content_type, tuple(fault.headers.items())))


async def _gzip(case: Spoiling) -> web.StreamResponse:
    headers = (*case.right.headers, ("Content-Encoding", "gzip"))
    return whole(replace(case.right, body=gzip.compress(case.right.body), headers=headers))


async def _big(case: Spoiling) -> web.StreamResponse:
    frame = b'{"filler":"", "end":true}'
    body = frame.replace(b'""', b'"' + b"x" * max(case.fault.size - len(frame), 0) + b'"')
    return whole(MarketResponse(case.fault.status, body))


async def _half(case: Spoiling) -> web.StreamResponse:
    response = web.StreamResponse(status=case.right.status)
    response.content_type = "application/json"
    response.content_length = len(case.right.body)
    await response.prepare(case.request)
    await response.write(case.right.body[: len(case.right.body) // 2])
    return response


async def _stall_in(case: Spoiling) -> web.StreamResponse:
    await _half(case)
    return await _never()


async def _die_in(case: Spoiling) -> web.StreamResponse:
    await _half(case)
    return await _drop(case)


async def _drop(case: Spoiling) -> web.StreamResponse:
    if case.request.transport is not None:
        case.request.transport.close()
    return await _never()


async def _restart_during(case: Spoiling) -> web.StreamResponse:
    case.happen(Fault("restart"))
    return await _never()


async def _lost_during(case: Spoiling) -> web.StreamResponse:
    case.happen(Fault("brokerage-lost"))
    return await _instead(case)


SPOILINGS: Mapping[str, Callable[[Spoiling], Awaitable[web.StreamResponse]]] = {
    "silence": _silence,
    "done-silence": _silence,
    "delay": _delay,
    "stall-in": _stall_in,
    "die-in": _die_in,
    "drop": _drop,
    "status": _instead,
    "empty-503": _instead,
    "timeout-503": _instead,
    "done-timeout-503": _instead,
    "restart-during": _restart_during,
    "done-restart-during": _restart_during,
    "lost-during": _lost_during,
    "done-lost-during": _lost_during,
    "prompt": _right,
    "html-500": _instead,
    "hidden-error": _instead,
    "429": _instead,
    "maintenance": _instead,
    "gzip": _gzip,
    "big": _big,
}
