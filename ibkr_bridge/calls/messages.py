"""Calls and responses: what an `Upstream` receives and returns."""

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

MAX_KEPT_BYTES = 4 * 1024 * 1024  # bytes of a response that is read fully
READ_FULLY_TIMEOUT_S = 30.0  # seconds for it to come

Headers = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Call:
    """One request to IBKR.

    Args:
        method: in capitals.
        target: path and query exactly as they are sent, `/v1/api/…`.
        headers: the headers to send.
        body: complete; Content-Length is always sent, as the Gateway loses chunked bodies.
        is_change: it may change something at IBKR, so it gets its own connection and is never repeated.
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
        """The chunks as they arrive.

        Raises:
            GatewayTimeout: the next chunk did not come within the deadline.
            GatewayProtocolError: the connection ended before the body did.
        """
        ...

    def close(self) -> None:
        """Release the body; must be called in the end, read or not. Calling it twice does no harm."""
        ...


@dataclass(frozen=True)
class Response:
    """A response: a small body complete, a large one as its beginning and a stream.

    The receiver of a `body_stream` must close it: until then the Gateway's slot is occupied.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)
    body_stream: BodyStream | None = field(default=None, repr=False)
    bridge_headers: Mapping[str, str] = field(default_factory=dict)
    """Headers that the bridge adds."""
    is_provisional: bool = False
    """Whether it may be used once, but not cached."""


def json_response(value: object) -> Response:
    """A response of the bridge's own in IBKR's form."""
    body = json.dumps(value, separators=(",", ":")).encode()
    return Response(200, {"Content-Type": "application/json;charset=utf-8"}, body)


def discard(response: Response | None) -> None:
    """Close the stream of a response whose rest is not needed."""
    if response is not None and response.body_stream is not None:
        response.body_stream.close()


async def read_fully(response: Response, max_bytes: int = MAX_KEPT_BYTES) -> Response:
    """Read the body of a response, up to a limit.

    Raises:
        GatewayError: the connection ended early, or the body came too slowly.
    """
    if response.body_stream is None:
        return response
    chunks, size = [response.body], len(response.body)
    try:
        async with asyncio.timeout(READ_FULLY_TIMEOUT_S):
            async for chunk in response.body_stream.chunks():
                chunks.append(chunk)
                size += len(chunk)
                if size > max_bytes:
                    return replace(response, body=b"".join(chunks))
    except TimeoutError as exc:
        discard(response)
        raise GatewayTimeout("the response comes too slowly") from exc
    except BaseException:
        discard(response)
        raise
    discard(response)
    return replace(response, body=b"".join(chunks), body_stream=None)


OnReleased = Callable[[], None]
"""Called once, when the Gateway no longer works on a call and its slot is free again."""


def noop(*_: object) -> None:
    """Does nothing, whatever it is called with: the default of callbacks that return nothing."""


OnLateResponse = Callable[[Response], None]
"""Receives a response that came after the deadline."""


Precondition = Callable[[], None]
"""Checked when the connection is open and nothing has been sent yet. If it raises, nothing is sent."""


def call_once(on_released: OnReleased) -> OnReleased:
    """Wrap a callback so that only the first call counts: a call can end in several ways."""
    pending = [on_released]

    def release() -> None:
        if pending:
            pending.pop()()

    return release


FetchCall = Callable[[Call], Awaitable[Response]]
"""Sends one of the calls of which a response is made."""


def is_refusal(response: Response) -> bool:
    """Whether IBKR refuses: by its status, or inside its 200."""
    return response.status != 200 or (response.body_stream is None and has_embedded_error(response.body))
