"""Fetch a read of IBKR's API for another call, and return its JSON."""

from __future__ import annotations

from ibkr_bridge.calls.context import CallContext
from ibkr_bridge.calls.header_policy import request_headers
from ibkr_bridge.calls.messages import Call, Response, discard
from ibkr_bridge.ibkr.bodies import parse_json
from ibkr_bridge.ibkr.catalogue import api_path, endpoint_of


async def fetch(context: CallContext, call: Call, *, max_age_s: float | None = None) -> Response:
    """Send a read that another call needs, through all stages.

    Args:
        context: the call that needs it: its key, its caller and its time are used.
        max_age_s: how old a cached response may be; 0 fetches anew.

    Raises:
        BridgeError, CallerGone: see `Stage`.
    """
    if context.execute is None:
        raise RuntimeError("the context has not entered a pipeline")
    part = context.beside(call, endpoint_of(call.method, call.target), max_age_s=max_age_s)
    return await context.execute(part)


async def read(context: CallContext, segments: tuple[str, ...], query: str = "") -> object:
    """Fetch a path and return its JSON; None if IBKR refuses it or the body is not JSON.

    Raises:
        BridgeError, CallerGone: see `Stage`.
    """
    text = f"?{query}" if query else ""
    response = await fetch(context, Call("GET", api_path(segments) + text, request_headers(())))
    discard(response)
    return parse_json(response.body) if response.status == 200 and response.body_stream is None else None
