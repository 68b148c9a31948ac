"""What a person can do on the page: look into an order, answer IBKR's question, repeat a read, and in a demo make
something go wrong.
"""

from __future__ import annotations

import time
from typing import Any

import msgspec
from aiohttp import web

from ibkr_bridge.api.page.topics import is_repeatable
from ibkr_bridge.api.plain import order_changes, orders
from ibkr_bridge.api.plain.answers import answer
from ibkr_bridge.errors import BadRequest, NotBridged, ValidationFailed
from ibkr_bridge.models.base import RequestModel
from ibkr_bridge.redaction import Redactor, mask_account
from ibkr_bridge.server.app_keys import (
    DEMO,
    OWN_ROUTES,
    RECENT_REQUESTS,
    REDACTOR,
    REQUEST_CONTEXT,
    SETTINGS,
    profile_of,
)
from ibkr_bridge.server.recent_requests import RecentRequest
from ibkr_bridge.server.request_context import RequestContext
from ibkr_bridge.server.request_parsing import read_body
from ibkr_bridge.server.request_target import read_target
from ibkr_bridge.server.routing import resolve

MAX_SHOWN_BYTES = 20_000  # of a response that is repeated
MAX_SECRET_BYTES = 4096  # of a cookie, the longest of all secrets


async def show_order(request: web.Request) -> web.Response:
    """One order with its journal."""
    order = await orders.read_order(request)
    masked = mask_account(order.account) if order.account else None
    return answer(msgspec.structs.replace(order, account=masked))


async def answer_question(request: web.Request) -> web.Response:
    """Answer IBKR's question about an order, as the plain API does it."""
    await order_changes.answer_question(request)
    return web.json_response({})


async def repeat(request: web.Request) -> web.Response:
    """Send a read again, and show its response."""
    recent = _find(request)
    inner = _request_of(request, recent)
    match = await request.app.router.resolve(inner)
    inner.match_info.clear()  # a clone has those of the page's own path
    inner.match_info.update(match)
    started = time.monotonic()
    response = await match.handler(inner)
    milliseconds = round((time.monotonic() - started) * 1000, 1)
    body = shown_text(_body(response), request.app[REDACTOR])
    return web.json_response({"status": response.status, "ms": milliseconds, "body": body})


def shown_text(body: bytes, redactor: Redactor) -> str:
    """The beginning of a response, without account numbers and session ids: the page shows none of them anywhere."""
    # Cut after it was redacted: a part of a secret is not recognised.
    return redactor.redact(body[: MAX_SHOWN_BYTES + MAX_SECRET_BYTES].decode("utf-8", "replace"))[:MAX_SHOWN_BYTES]


def _find(request: web.Request) -> RecentRequest:
    """The request that the path names.

    Raises:
        NotBridged: it is not among the last ones, or it is no read.
    """
    text = request.match_info["number"]
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 16 else 0
    recent = request.app[RECENT_REQUESTS].find(number, profile_of(request).name)
    if recent is None or not is_repeatable(recent, request.app[OWN_ROUTES]):
        raise NotBridged("this request cannot be repeated", hint="only reads among the latest requests can")
    return recent


def _request_of(request: web.Request, recent: RecentRequest) -> web.Request:
    """The same read, sent by the reader of the page."""
    if recent.target is None:
        raise BadRequest("the request has no target")
    raw = recent.target.path + recent.target.query
    inner = request.clone(method="GET", rel_url=raw, headers={"Host": request.headers["Host"]})
    outer = request[REQUEST_CONTEXT]
    context = RequestContext(outer.request_id, outer.started_at, outer.principal)
    inner[REQUEST_CONTEXT] = context
    resolve(context, "GET", read_target(raw), request.app[OWN_ROUTES], request.app[SETTINGS])
    if context.endpoint is None or not context.endpoint.is_read:
        raise NotBridged("this request is no read")
    return inner


def _body(response: web.StreamResponse) -> bytes:
    body = response.body if isinstance(response, web.Response) else None
    return body if isinstance(body, bytes) else b""


class FaultCommand(RequestModel, frozen=True):
    """A command to the simulator of a demo."""

    kind: str
    path: str | None = None
    times: int | None = None


async def trigger_fault(request: web.Request) -> web.Response:
    """Begin a fault of the simulator."""
    try:
        command = msgspec.json.decode(await read_body(request), type=FaultCommand)
    except (msgspec.MsgspecError, UnicodeDecodeError) as exc:
        raise ValidationFailed("the command cannot be read", hint="send kind, and path or times") from exc
    return await _control(request, "POST", "/faults", msgspec.to_builtins(command))


async def clear_faults(request: web.Request) -> web.Response:
    """End all faults, and undo what they have left behind."""
    return await _control(request, "DELETE", "/faults", None)


async def sign_in(request: web.Request) -> web.Response:
    """Sign in at the simulated Gateway, as a person does at the real one."""
    return await _control(request, "POST", "/login", None)


async def _control(request: web.Request, method: str, target: str, body: dict[str, Any] | None) -> web.Response:
    control = request.app.get(DEMO)
    if control is None:
        raise NotBridged("only a demo has a simulator", hint="run `bridge.py demo`")
    members = None if body is None else {name: value for name, value in body.items() if value is not None}
    try:
        return web.json_response(await control(method, target, members))
    except ValueError as exc:
        raise ValidationFailed(str(exc)) from exc
