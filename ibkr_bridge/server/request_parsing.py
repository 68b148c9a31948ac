"""Parses what callers send, and builds the call context of a proxied call.

Read here: the body, X-Bridge-Wait, X-Bridge-Max-Age, X-Bridge-Confirm and Idempotency-Key.
"""

from __future__ import annotations

import asyncio
import functools
import re

from aiohttp import hdrs, web

from ibkr_bridge.calls.context import CallContext
from ibkr_bridge.calls.facts import facts_of_call
from ibkr_bridge.calls.header_policy import REQUEST_HEADERS, request_headers
from ibkr_bridge.calls.messages import Call
from ibkr_bridge.calls.order_tickets import NO_TICKETS
from ibkr_bridge.errors import BadRequest, InvalidKey, PayloadTooLarge
from ibkr_bridge.ibkr.endpoint import Effect, Endpoint
from ibkr_bridge.server.app_keys import DRAIN, KEYRING, REQUEST_CONTEXT
from ibkr_bridge.server.delivery import is_connected, is_open
from ibkr_bridge.server.request_target import UpstreamTarget
from ibkr_bridge.server.routing import method_at_ibkr

MAX_BODY_BYTES = 1024 * 1024
MAX_MARKS = 10_000
"""Commas, colons and opening brackets of a body. Parsing holds the event loop: a million members for seconds, and so
many for less than 50 ms on a busy core. IBKR's largest calls have a few hundred.
"""
MARKS = b",:[{"
BODY_TIMEOUT_S = 15.0  # for a caller to send the complete body
MAX_WAIT_S = 60.0  # the largest X-Bridge-Wait
MAX_MAX_AGE_S = 86400.0  # the largest X-Bridge-Max-Age; no response stays in the cache so long
WORD_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,31}")
MAX_WORDS = 64  # of X-Bridge-Confirm; IBKR has about forty questions
QUOTED_KEY = re.compile(r'"((?:[!#-\[\]-~ ]){1,255})"|([!#-\[\]-~]{1,255})')


async def read_call(
    request: web.Request, endpoint: Endpoint, upstream_target: UpstreamTarget, max_wait_s: float
) -> CallContext:
    """Read the complete request, and build the context of its call.

    Args:
        request: the request of the caller.
        endpoint: the row of the catalogue that it belongs to.
        upstream_target: where the call goes.
        max_wait_s: seconds to wait for admission if the request does not say.

    Raises:
        BadRequest: a header or the body is invalid.
        PayloadTooLarge: the body is larger than 1 MiB, or has too many members.
    """
    body = await read_body(request)
    target = request[REQUEST_CONTEXT].target
    query = target.query if target else ""
    call = Call(
        method_at_ibkr(request.method),
        upstream_target.raw_path + query,
        request_headers([(name, value) for name in REQUEST_HEADERS for value in request.headers.getall(name, ())]),
        body,
        is_change=endpoint.effect is not Effect.READ,
    )
    return build_context(request, call, endpoint, upstream_target.segments, query[1:], max_wait_s=max_wait_s)


def build_context(
    request: web.Request,
    call: Call,
    endpoint: Endpoint,
    segments: tuple[str, ...],
    query: str = "",
    *,
    max_wait_s: float,
) -> CallContext:
    """The context of a call that is sent for a request: its key, its caller, and what its headers say.

    Args:
        call: what is sent.
        endpoint: the row of the catalogue that it belongs to.
        segments: its path below `/v1/api`, decoded.
        query: its query, without the question mark.
        max_wait_s: seconds to wait for admission if the request does not say.

    Raises:
        BadRequest: a header is invalid.
    """
    request_context, drain = request[REQUEST_CONTEXT], request.app[DRAIN]
    confirmations = header_words(request, "X-Bridge-Confirm")
    tickets = call.tickets if call.is_change else NO_TICKETS
    return CallContext(
        *(call, endpoint, facts_of_call(endpoint, segments, query, tickets, confirmations=confirmations)),
        key_label=request_context.key_label,
        has_reduced_share=request_context.has_reduced_share,
        wait_s=header_seconds(request, "X-Bridge-Wait", MAX_WAIT_S),
        max_wait_s=max_wait_s,
        is_connected=functools.partial(is_connected if call.is_change else is_open, request),
        is_stopping=lambda: drain.is_ending,
        max_age_s=header_seconds(request, "X-Bridge-Max-Age", MAX_MAX_AGE_S),
        preconditions=[lambda _: check_still_valid(request)] if call.is_change else [],
    )


def check_still_valid(request: web.Request) -> None:
    """Check that the key or token was not replaced and has not expired while the call waited.

    A change is checked before its first byte. A read is checked when its response has come: several callers may share
    it, and only those whose key is gone must not get it.

    Raises:
        InvalidKey: it opens nothing any more.
    """
    principal = request[REQUEST_CONTEXT].principal
    if principal is not None and not request.app[KEYRING].is_still_valid(principal):
        raise InvalidKey("the key was replaced or has expired while the call waited")


def header_words(request: web.Request, header: str) -> frozenset[str]:
    """The words of a header with a comma-separated list.

    Raises:
        BadRequest: the header has too many words, or one that is not a word.
    """
    if header not in request.headers:
        return frozenset()
    words = [word.strip() for value in request.headers.getall(header) for word in value.split(",")]
    distinct = frozenset(filter(None, words))
    if len(distinct) > MAX_WORDS or not all(map(WORD_PATTERN.fullmatch, distinct)):
        raise BadRequest(
            f"{header} must be a comma-separated list", hint="send message ids or words, between commas: o163,o354"
        )
    return distinct


def idempotency_key(request: web.Request) -> str | None:
    """The caller's Idempotency-Key, with the quotes of draft-ietf-httpapi-idempotency-key-header or without.

    Raises:
        BadRequest: there are several, or the value is invalid.
    """
    values = request.headers.getall("Idempotency-Key", [])
    if not values:
        return None
    match = QUOTED_KEY.fullmatch(values[0].strip())
    key = match.group(1) or match.group(2) if match else None
    if len(values) != 1 or key is None:
        raise BadRequest("invalid Idempotency-Key", hint="send one value of 1 to 255 visible ASCII characters")
    return key


def header_seconds(request: web.Request, header: str, max_s: float) -> float | None:
    """The seconds in a header, at most `max_s`; None if the header is absent.

    Raises:
        BadRequest: the value is not a number of seconds.
    """
    text = request.headers.get(header)
    if text is None:
        return None
    if not re.fullmatch(r"\d{1,9}(\.\d{1,9})?", text, re.ASCII):
        raise BadRequest(f"{header} must be a number of seconds", hint=f"send a number from 0 to {max_s:.0f}")
    return min(float(text), max_s)


async def read_body(request: web.Request) -> bytes:
    """Read the complete body.

    Raises:
        PayloadTooLarge: it is larger than 1 MiB, or has more members than any call needs.
        BadRequest: it came too slowly, or does not match its headers.
    """
    if not request.body_exists:
        return b""
    if (request.content_length or 0) > MAX_BODY_BYTES:
        raise PayloadTooLarge("the body is larger than 1 MiB")
    if request.headers.get(hdrs.EXPECT, "").lower() == "100-continue":
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            body = await request.read()
    except web.HTTPRequestEntityTooLarge as exc:
        raise PayloadTooLarge("the body is larger than 1 MiB") from exc
    except TimeoutError as exc:
        raise BadRequest("the body did not come in time", hint="send the whole body at once") from exc
    except (web.RequestPayloadError, ValueError) as exc:
        raise BadRequest("the body is not what its headers say") from exc
    check_members(body)
    if (request_context := request.get(REQUEST_CONTEXT)) is not None:
        request_context.body = body
    return body


def check_members(body: bytes) -> None:
    """Count what a parser would have to build, before one does. Text that has so many commas is counted too.

    Raises:
        PayloadTooLarge: it has too many members.
    """
    if len(body) > MAX_MARKS and sum(map(body.count, (MARKS[at : at + 1] for at in range(len(MARKS))))) > MAX_MARKS:
        raise PayloadTooLarge("the body has more members than any call needs", hint=f"send at most {MAX_MARKS // 2}")
