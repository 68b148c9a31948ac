"""What an answer of the Gateway says besides: of the session, of our pace; the few that are ours to explain."""

from __future__ import annotations

from ibkr_bridge.calls.messages import Response, discard
from ibkr_bridge.errors import BridgeError, GatewayForbidden, OrderUnknown, UpstreamRefused
from ibkr_bridge.ibkr.bodies import demands_accounts_first
from ibkr_bridge.ibkr.endpoint import Effect, Endpoint
from ibkr_bridge.limits.penalty_box import PenaltyBox
from ibkr_bridge.session.keeper import Keeper
from ibkr_bridge.session.preflight import hints_session_loss
from ibkr_bridge.session.session_api import is_access_denied
from ibkr_bridge.session.unavailable import RETRY_AFTER_S, unavailable_error


class Explaining:
    """Reads the answers of one line.

    Args:
        keeper: is told where a session seems to be gone.
        penalty: is told of every 429.
    """

    def __init__(self, keeper: Keeper, penalty_box: PenaltyBox) -> None:
        self._keeper = keeper
        self._penalty_box = penalty_box

    async def read(self, endpoint: Endpoint, response: Response) -> Response:
        """Notice what an answer says of the session; the four that are ours to explain are not passed on.

        Raises:
            BridgeError: what the caller is told instead.
        """
        if hints_session_loss(response.status, response.body):
            self._keeper.request_check(prepare=demands_accounts_first(response.body))
        explain = EXPLAINED.get(response.status)
        error = await explain(self, endpoint, response) if explain else None
        if error is None:
            return response
        discard(response)
        raise error

    async def _on_401(self, endpoint: Endpoint, _: Response) -> BridgeError | None:
        await self._keeper.check_now()
        if not self._keeper.is_up(endpoint.layer):
            return unavailable_error(self._keeper)
        return UpstreamRefused("IBKR refuses this call to the user who is signed in")

    async def _too_many(self, endpoint: Endpoint, response: Response) -> BridgeError | None:
        said = response.headers.get("Retry-After", "")
        return self._penalty_box.on_429(endpoint, float(said[:9]) if said.isascii() and said.isdigit() else None)

    async def _on_404(self, _: Endpoint, response: Response) -> BridgeError | None:
        if not is_access_denied(response.status, response.body):
            return None
        self._keeper.request_check()
        return GatewayForbidden("the Gateway answers Access Denied", retry_after=RETRY_AFTER_S)

    async def _unavailable(self, endpoint: Endpoint, response: Response) -> BridgeError | None:
        """An empty 503 is IBKR's edge giving up after ten seconds; an order may have gone through behind it."""
        if response.body.strip() or endpoint.effect not in CHANGES:
            return None
        return OrderUnknown("IBKR gave up waiting for itself; what was asked for may have happened")


CHANGES = (Effect.TRADE, Effect.CHANGE)
EXPLAINED = {
    401: Explaining._on_401,
    404: Explaining._on_404,
    429: Explaining._too_many,
    503: Explaining._unavailable,
}
