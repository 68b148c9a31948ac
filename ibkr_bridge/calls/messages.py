"""What a road to IBKR takes and gives; everything above talks to an `Upstream` and knows no more of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Protocol

from ibkr_bridge.calls.order_tickets import OrderTickets, parse_order_tickets
from ibkr_bridge.errors import GatewayTimeout
from ibkr_bridge.ibkr.bodies import has_embedded_error

MAX_KEPT_BYTES = 4 * 1024 * 1024  # bytes of an answer that is kept whole
READ_FULLY_TIMEOUT_S = 30.0  # seconds for it to come

Headers = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Call:
    """One request to IBKR.

    Args:
        method: in capitals.
        target: path and query exactly as they go out, `/v1/api/…`.
        headers: what crosses upwards, already chosen.
        body: whole; its length is always said, as the Gateway loses chunked bodies.
        changes: it may change something at IBKR, so it travels alone and is never repeated.
    """

    method: str
    target: str
    headers: Headers = ()
    body: bytes = field(default=b"", repr=False)
    is_change: bool = False

    @cached_property
    def tickets(self) -> OrderTickets:
        """The body of an order call, parsed once for all who read it."""
        return parse_order_tickets(self.body)


class BodyStream(Protocol):
    """The part of a large body that has not been read yet."""

    def chunks(self) -> AsyncIterator[bytes]:
        """What comes, as it comes.

        Raises:
            GatewaySilent: the next piece did not come within the deadline.
            GatewayGarbled: the connection ended before the body did.
        """
        ...

    def close(self) -> None:
        """No more of it is wanted. Must be called in the end, read or not; again does no harm."""
        ...


@dataclass(frozen=True)
class Response:
    """What came back: a small body whole, a large one as its beginning and the rest to be read.

    Whoever is given a `rest` must close it: until then the Gateway's slot is taken.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)
    body_stream: BodyStream | None = field(default=None, repr=False)
    bridge_headers: Mapping[str, str] = field(default_factory=dict)
    """What the bridge has to say of it, as headers of its own."""
    is_provisional: bool = False
    """Whether it will do for now, but is not to be told again."""


def json_response(told: object) -> Response:
    """An answer of our own making, in IBKR's form."""
    body = json.dumps(told, separators=(",", ":")).encode()
    return Response(200, {"Content-Type": "application/json;charset=utf-8"}, body)


def discard(response: Response | None) -> None:
    """Nobody wants the rest of an answer."""
    if response is not None and response.body_stream is not None:
        response.body_stream.close()


async def read_fully(response: Response, largest: int = MAX_KEPT_BYTES) -> Response:
    """An answer with its body read, as far as that is no larger than what may be kept.

    Raises:
        GatewayTrouble: it broke off, or came so slowly that nobody waits for it.
    """
    if response.body_stream is None:
        return response
    chunks, size = [response.body], len(response.body)
    try:
        async with asyncio.timeout(READ_FULLY_TIMEOUT_S):
            async for chunk in response.body_stream.chunks():
                chunks.append(chunk)
                size += len(chunk)
                if size > largest:
                    return replace(response, body=b"".join(chunks))
    except TimeoutError as exc:
        discard(response)
        raise GatewayTimeout("the Gateway sends its answer too slowly") from exc
    except BaseException:
        discard(response)
        raise
    discard(response)
    return replace(response, body=b"".join(chunks), body_stream=None)


OnReleased = Callable[[], None]
"""Called once, when the Gateway no longer works on a call: its slot over there is free again."""


def noop() -> None:
    """For those who count no slots."""


OnLateResponse = Callable[[Response], None]
"""Is told an answer that came when nobody waited for it any more."""


Precondition = Callable[[], None]
"""Checked when the connection is open and nothing has been sent yet. If it raises, nothing is sent."""


def call_once(on_released: OnReleased) -> OnReleased:
    """The same, but harmless when it is called again: a call has several ways to end."""
    waiting = [on_released]

    def say() -> None:
        if waiting:
            waiting.pop()()

    return say


FetchCall = Callable[[Call], Awaitable[Response]]
"""Asks one of the calls that an answer is made of."""


def is_refusal(response: Response) -> bool:
    """Whether IBKR refuses: by its status, or inside its 200."""
    return response.status != 200 or (response.body_stream is None and has_embedded_error(response.body))
