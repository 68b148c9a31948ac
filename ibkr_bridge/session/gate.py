"""Stage `SessionGate`: no call is sent while the layer of the session that it needs is down.

It also reads what responses show of the session: after a 401 the session is checked at once, `Access Denied` comes from
the Gateway itself, and some phrases mean that the session was lost.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping

from ibkr_bridge.calls.context import CallContext
from ibkr_bridge.calls.messages import Response, discard
from ibkr_bridge.calls.stage import Proceed
from ibkr_bridge.errors import BridgeError, GatewayForbidden, ShuttingDown, UpstreamRefused
from ibkr_bridge.ibkr.bodies import demands_accounts_first, looks_like_page
from ibkr_bridge.ibkr.endpoint import Layer, OrderOperation
from ibkr_bridge.session.ibkr_message import message_of
from ibkr_bridge.session.preflight import hints_session_loss, is_access_denied, refuses_for_session
from ibkr_bridge.session.session_status import SessionStatus
from ibkr_bridge.session.state_machine import SessionState
from ibkr_bridge.session.unavailable import RETRY_AFTER_S, unavailable_error

WORKING_STATUSES = range(200, 300)
"""Statuses of a brokerage call that show an open brokerage session, unless the words of a lost one are in the body."""


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
        """
        if self._status.session.state is SessionState.STARTING:
            await self._status.current()
        if not self._may_pass(context):
            await self._wait_until_up(context)
        context.preconditions.append(self._check_up)
        response = await proceed(context)
        explain = ERRORS.get(response.status)
        error = await explain(self, context, response) if explain is not None else None
        if error is None:
            return response
        discard(response)
        raise error

    def observe(self, context: CallContext, response: Response) -> None:
        """Learn from a response of IBKR, before the stages above the upstream see it."""
        if context.endpoint.layer is Layer.BROKERAGE:
            self._report(context, response)
        if not hints_session_loss(response.status, response.body):
            return
        wants_accounts = demands_accounts_first(response.status, response.body)
        self._status.request_check(prepare=wants_accounts)
        if wants_accounts and response.status != 200:
            self._on_other_session()

    def _report(self, context: CallContext, response: Response) -> None:
        is_refused = refuses_for_session(context.call, response)
        if is_refused or response.status in WORKING_STATUSES:
            self._status.report_call(is_refused=is_refused)

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

    async def _on_401(self, context: CallContext, response: Response) -> BridgeError:
        await self._status.check_now()
        if not self._status.is_up(context.endpoint.layer):
            return unavailable_error(self._status)
        words = self._redact(message_of(response.body))
        return UpstreamRefused(
            "IBKR refuses this call to the user who is signed in" + (f"; IBKR says: {words}" if words else "")
        )

    async def _on_page(self, context: CallContext, response: Response) -> BridgeError | None:
        """IBKR's maintenance begins with pages for people: if the session is gone, a caller gets the reason instead.

        What was to change something may have happened: its page stays an unknown outcome.
        """
        if context.call.is_change or not looks_like_page(response.body):
            return None
        await self._status.check_now()
        return None if self._status.is_up(context.endpoint.layer) else unavailable_error(self._status)

    async def _on_404(self, _: CallContext, response: Response) -> BridgeError | None:
        if not is_access_denied(response.status, response.body):
            return None
        self._status.request_check()
        return GatewayForbidden("the Gateway answers Access Denied", retry_after=RETRY_AFTER_S)


Explain = Callable[[SessionGate, CallContext, Response], Awaitable[BridgeError | None]]
ERRORS: Mapping[int, Explain] = {
    401: SessionGate._on_401,
    404: SessionGate._on_404,
    500: SessionGate._on_page,
    502: SessionGate._on_page,
    503: SessionGate._on_page,
    504: SessionGate._on_page,
}
"""Which responses become an error of the bridge."""
