"""The calls that get access: each on a connection of its own, and sent once."""

from __future__ import annotations

import secrets

from ibkr_bridge.calls.header_policy import request_headers
from ibkr_bridge.calls.messages import Call, Headers, Response, read_fully
from ibkr_bridge.calls.upstream_port import BeforeSending
from ibkr_bridge.clock import Clock
from ibkr_bridge.upstream.http.client import HttpClient
from ibkr_bridge.upstream.oauth.writers import PlainWriter

NONCE_BYTES = 10
MAX_ANSWER_BYTES = 64 * 1024
TIMEOUT_S = 10.0  # seconds; IBKR itself gives up then


async def post_once(http: HttpClient, base: str, path: str, headers: Headers, body: bytes = b"") -> Response:
    """Send a POST and return its response with the whole body.

    Args:
        base: scheme, host and port.
        headers: besides the usual ones, such as `Authorization`.

    Raises:
        GatewayError: IBKR did not answer, or nothing usable.
    """
    call = Call("POST", path, (*request_headers(()), *headers), body, is_change=True)
    response = await http.send(call, PlainWriter(base), BeforeSending(), timeout_s=TIMEOUT_S)
    return await read_fully(response, MAX_ANSWER_BYTES)


def new_nonce() -> str:
    """Letters and digits for one request."""
    return secrets.token_hex(NONCE_BYTES)


def timestamp(clock: Clock) -> int:
    """The time of a request, in whole seconds."""
    return int(clock.utc().timestamp())
