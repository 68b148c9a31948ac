"""Last stage: send the call, if everything that had to hold still holds."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from ibkr_bridge.calls.content_encoding import decompress
from ibkr_bridge.calls.context import CallContext, CallerGone, ContextHook
from ibkr_bridge.calls.messages import Response, read_fully
from ibkr_bridge.calls.upstream_port import Upstream
from ibkr_bridge.errors import Busy, GatewayError, unknown_change
from ibkr_bridge.session.session_status import SessionStatus
from ibkr_bridge.session.unavailable import RETRY_AFTER_S

ObserveResponse = Callable[[CallContext, Response], None]


class Dispatch:
    """Sends calls to the upstream.

    Args:
        upstream: the way to IBKR.
        status: gets a request for a check when a failure makes the session doubtful.
        observers: see each response as it came from IBKR.
    """

    def __init__(self, upstream: Upstream, status: SessionStatus, observers: Sequence[ObserveResponse]) -> None:
        self._upstream = upstream
        self._status = status
        self._observers = observers

    async def __call__(self, context: CallContext) -> Response:
        """Send one call.

        Raises:
            CallerGone: the caller disconnected; nothing was sent.
            Busy: an order cannot be sent now, or not within its caller's time.
            GatewayError: no usable response; `OrderUnknown` if a change was sent.
        """
        response = await self._send(context)
        if context.needs_complete_body:
            response = decompress(await read_fully(response))
        for observe in self._observers:
            observe(context, response)
        return response

    async def _send(self, context: CallContext) -> Response:
        if context.endpoint.operation:
            context.preconditions.append(_check_deadline)
        began = time.monotonic()
        try:
            return await self._upstream.send(
                context.call,
                timeout_s=context.endpoint.timeout_s,
                preconditions=(lambda: _check_preconditions(context),),
                before_first_byte=context.before_first_byte.write_entry if context.before_first_byte else None,
                on_sent=lambda: _mark_sent(context),
                on_released=lambda: _call_hooks(context.on_released, context),
                on_given_up=lambda: _call_hooks(context.on_given_up, context),
                on_late_response=context.on_late_response,
            )
        except GatewayError as exc:
            self._on_failure(context, exc)
            raise
        finally:
            context.timing.upstream_s += time.monotonic() - began

    def _on_failure(self, context: CallContext, exc: GatewayError) -> None:
        """A failure makes the session doubtful. A change that was sent may have happened."""
        self._status.request_check()
        if not context.call.is_change:
            exc.retry_after = RETRY_AFTER_S
        elif context.is_sent:
            raise unknown_change(exc.detail) from exc


def _check_deadline(context: CallContext) -> None:
    """Check that an order can still be sent in its caller's time."""
    if context.deadline is not None and time.monotonic() > context.deadline:
        raise Busy("the order could not be sent before its deadline", retry_after=1.0)


def _call_hooks(hooks: Sequence[ContextHook], context: CallContext) -> None:
    for hook in hooks:
        hook(context)


def _check_preconditions(context: CallContext) -> None:
    """The caller is checked first: if it has disconnected, no other error would reach it."""
    if not context.is_connected():
        raise CallerGone
    for check in context.preconditions:
        check(context)


def _mark_sent(context: CallContext) -> None:
    """Note that the first byte leaves in this step."""
    if context.before_first_byte is not None:
        context.before_first_byte.has_left = True
    context.is_sent = True
    _call_hooks(context.on_sent, context)
