"""Fetches IBKR's JSON for one request of the plain API, through all stages of its profile.

The calls have the key, the wait time and the caller of the request. An answer that is not a good one becomes an error
here, so that a handler sees good answers only. The age of what it fetched goes into the headers of the response.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from typing import TypeVar

from aiohttp import web

from ibkr_bridge.calls.content_encoding import decompress
from ibkr_bridge.calls.context import CallContext, CallerGone
from ibkr_bridge.calls.header_policy import JSON_HEADERS, request_headers
from ibkr_bridge.calls.messages import Call, Response, discard, read_fully
from ibkr_bridge.errors import BridgeError, UpstreamError
from ibkr_bridge.ibkr.catalogue import endpoint_of
from ibkr_bridge.ibkr.reads import IbkrRead, Subject
from ibkr_bridge.server.app_keys import CLOCK, REDACTOR, REQUEST_CONTEXT, profile_of
from ibkr_bridge.server.request_context import RequestContext
from ibkr_bridge.server.request_parsing import build_context, check_still_valid
from ibkr_bridge.translation.numbers import parse_body
from ibkr_bridge.translation.refusals import refusal_of

Translated = TypeVar("Translated")
OPTIONAL_TIMEOUT_S = 2.0  # an order must not reach a market that has moved on, and the journal is shown in any case
MAX_BODY_BYTES = 32 * 1024 * 1024  # bytes of one answer of IBKR's; thousands of positions


@dataclass(frozen=True)
class Fetched:
    """What IBKR answered, and when."""

    body: bytes = field(repr=False)
    as_of: datetime

    @cached_property
    def value(self) -> object:
        """The parsed body.

        Raises:
            UpstreamError: it is not JSON.
        """
        return self.translate(parse_body)

    def translate(self, read: Callable[[bytes], Translated | None]) -> Translated:
        """What a function of `translation` makes of the body.

        Raises:
            UpstreamError: it makes nothing of it.
        """
        translated = read(self.body)
        if translated is None:
            raise UpstreamError("IBKR's answer cannot be read", retry_after=5.0)
        return translated


class PlainReader:
    """Fetches what one request needs.

    Args:
        serves_order: whether an order cannot be sent without it: it then has the priority of orders.
    """

    def __init__(self, request: web.Request, *, serves_order: bool = False) -> None:
        self._request = request
        self._serves_order = serves_order
        self.profile = profile_of(request)

    def __repr__(self) -> str:
        return f"<PlainReader of {self.profile.name}>"

    @property
    def now(self) -> datetime:
        """The time, in UTC."""
        return self._request.app[CLOCK].utc()

    async def fetch(self, read: IbkrRead) -> Fetched:
        """Fetch one read.

        Raises:
            BridgeError: nothing usable came; what does not exist at IBKR is an error of its own.
            ConnectionResetError: the caller has gone.
        """
        context = self._context(read)
        try:
            response = await self.profile.execute(context)
        except CallerGone as exc:
            raise ConnectionResetError("the caller disconnected") from exc
        return await to_fetched(self._request, context, response, read.subject)

    def _context(self, read: IbkrRead) -> CallContext:
        call = Call(read.method, read.target, request_headers(JSON_HEADERS if read.body else ()), read.body)
        endpoint = endpoint_of(call.method, call.target)
        max_wait_s = self.profile.settings.max_wait_s
        context = build_context(self._request, call, endpoint, read.segments, max_wait_s=max_wait_s)
        context.serves_order = self._serves_order
        return context


async def if_soon(reading: Awaitable[Translated]) -> Translated | None:
    """What a caller can do without; None if IBKR does not give it within two seconds."""
    try:
        async with asyncio.timeout(OPTIONAL_TIMEOUT_S):
            return await reading
    except (TimeoutError, BridgeError):
        return None


async def to_fetched(request: web.Request, context: CallContext, response: Response, subject: Subject) -> Fetched:
    """What a response says, if it is a good one.

    Args:
        context: the call, after it was executed.
        subject: what the call is about.

    Raises:
        BridgeError: IBKR did not answer the question; what does not exist is an error of its own.
    """
    complete = decompress(await read_fully(response, MAX_BODY_BYTES))
    discard(complete)
    check_still_valid(request)
    _note(request[REQUEST_CONTEXT], context)
    refusal = refusal_of(complete.status, complete.body, subject, request.app[REDACTOR].redact)
    if refusal is not None:
        raise refusal
    if complete.body_stream is not None:
        raise UpstreamError("IBKR's answer is too long", retry_after=5.0)
    return Fetched(complete.body, request.app[CLOCK].utc() - timedelta(seconds=context.age_s or 0.0))


def _note(request_context: RequestContext, context: CallContext) -> None:
    """Take source, age and time of one call: a response made of several is as old as the oldest of them."""
    request_context.source = context.source
    if context.age_s is not None:
        request_context.age_s = max(request_context.age_s or 0.0, context.age_s)
    if request_context.timing is None:
        request_context.timing = context.timing
    else:
        request_context.timing.waited_s += context.timing.waited_s
        request_context.timing.upstream_s += context.timing.upstream_s
