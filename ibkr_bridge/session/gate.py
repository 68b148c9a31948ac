"""Stage `SessionGate`: no call is sent while the layer of the session that it needs is down.

It also reads what responses show of the session: after a 401 the session is checked at once, `Access Denied` comes from
the Gateway itself, and some phrases mean that the session was lost.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from http import HTTPStatus

from ibkr_bridge.calls.context import CallContext
from ibkr_bridge.calls.messages import Response, discard
from ibkr_bridge.calls.stage import Proceed
from ibkr_bridge.errors import BridgeError, GatewayForbidden, ShuttingDown, UpstreamRefused, unknown_change
from ibkr_bridge.ibkr.bodies import demands_accounts_first, looks_like_page, session_phrases
from ibkr_bridge.ibkr.endpoint import Layer, OrderOperation
from ibkr_bridge.session.ibkr_message import shown_message
from ibkr_bridge.session.preflight import hints_session_loss, is_access_denied, refuses_for_session
from ibkr_bridge.session.session_status import SessionStatus
from ibkr_bridge.session.state_machine import SessionState
from ibkr_bridge.session.unavailable import RETRY_AFTER_S, unavailable_error

WORKING_STATUSES = range(200, 300)
"""Statuses of a brokerage call that show an open brokerage session, unless the words of a lost one are in the body."""
REFUSING_STATUSES = range(400, 500)


class SessionGate:
    """Lets calls pass while the session is up.

    Args:
        status: what is known of the session.
        on_other_session: called when a response shows that IBKR has a new session.
        redact: removes secrets from IBKR's words.
    """

    def __init__(
        self, status: SessionStatus, on_other_session: Callable[[], None], redact: Callable[[str], str]
    ) -> None:
        self._status = status
        self._redact = redact
        self._on_other_session = on_other_session

    async def __call__(self, context: CallContext, proceed: Proceed) -> Response:
        """See `Stage`.

        Raises:
            SessionUnavailable, Maintenance, GatewayError: the layer is not up, and did not come up within the
                caller's wait time.
            ShuttingDown: the bridge is stopping.
            UpstreamRefused: IBKR refuses this call to the user who is signed in.
            GatewayForbidden: the Gateway does not accept calls from this address.
            OrderUnknown: a change was answered with a page, and the session is gone.
        """
        if self._status.session.state is SessionState.STARTING:
            await self._status.current()
        if not self._may_pass(context):
            await self._wait_until_up(context)
        context.preconditions.append(self._check_up)
        response = await proceed(context)
        error = await self._explain(context, response)
        if error is None:
            return response
        discard(response)
        raise error

    def observe(self, context: CallContext, response: Response) -> None:
        """Learn from a response of IBKR, before the stages above the upstream see it."""
        if context.endpoint.layer is Layer.BROKERAGE:
            is_refused = refuses_for_session(context.call, response)
            if is_refused or response.status in WORKING_STATUSES:
                self._status.report_call(is_refused=is_refused, message=_words_of(response) if is_refused else "")
        if not hints_session_loss(response.status, response.body):
            return
        wants_accounts = demands_accounts_first(response.status, response.body)
        self._status.request_check(prepare=wants_accounts)
        if wants_accounts and response.status != 200:
            self._on_other_session()

    async def require_login(self) -> None:
        """Check that somebody is signed in, with a fresh check of the session.

        Raises:
            BridgeError: nobody is signed in, or the Gateway cannot be reached.
        """
        session = await self._status.current()
        if not session.has_login:
            raise unavailable_error(self._status, session)

    def _may_pass(self, context: CallContext) -> bool:
        """Whether a call may be sent now. A cancel is tried even while the Gateway is silent: a cancel has
        priority, and a late cancel still has the wanted effect.
        """
        is_doubtful = self._status.session.state is SessionState.SILENT
        is_cancel = context.endpoint.operation is OrderOperation.CANCEL
        return self._status.is_up(context.endpoint.layer) or (is_cancel and is_doubtful)

    def _check_up(self, context: CallContext) -> None:
        if not self._may_pass(context):
            raise unavailable_error(self._status)

    async def _wait_until_up(self, context: CallContext) -> None:
        began, layer = time.monotonic(), context.endpoint.layer
        up = context.wait_s and await self._status.wait_until_up(layer, context.wait_s, context.is_stopping)
        context.timing.waited_s += time.monotonic() - began
        if context.is_stopping():
            raise ShuttingDown("the bridge is stopping", retry_after=RETRY_AFTER_S)
        if not up:
            raise unavailable_error(self._status)

    async def _explain(self, context: CallContext, response: Response) -> BridgeError | None:
        """The error that a caller gets instead of a response; None if the response is for the caller."""
        if response.status == HTTPStatus.UNAUTHORIZED:
            return await self._on_401(context, response)
        if is_access_denied(response.status, response.body):
            self._status.request_check()
            return GatewayForbidden("the Gateway answers Access Denied", retry_after=RETRY_AFTER_S)
        # The Gateway's own page for a path that it does not have is 404, and no reason to check the session.
        is_not_found = response.status in REFUSING_STATUSES and not context.call.is_change
        is_page = not is_not_found and looks_like_page(response.status, response.body)
        return await self._on_page(context) if is_page else None

    async def _on_401(self, context: CallContext, response: Response) -> BridgeError:
        await self._status.check_now()
        if not self._status.is_up(context.endpoint.layer):
            return unavailable_error(self._status)
        words = shown_message(response.body, self._redact)
        return UpstreamRefused(
            "IBKR refuses this call to the user who is signed in" + (f"; IBKR says: {words}" if words else ""),
            hint=self._status.words.refused_hint,
        )

    async def _on_page(self, context: CallContext) -> BridgeError | None:
        """IBKR's maintenance begins with pages for people: if the session is gone, a caller gets the reason instead.

        What was to change something may have happened. What a page means for an order is decided with its journal.
        """
        is_order = context.endpoint.operation is not None and context.call.is_change
        if is_order:
            return None
        await self._status.check_now()
        if self._status.is_up(context.endpoint.layer):
            return None
        reason = unavailable_error(self._status)
        return unknown_change(f"IBKR answered with a page; {reason.detail}") if context.call.is_change else reason


def _words_of(response: Response) -> str:
    """IBKR's words for a lost session in a response, and no others: the rest belongs to the caller of that call."""
    return "; ".join(phrase.decode() for phrase in session_phrases(response.status, response.body))
