"""What an answer of the Gateway says besides: of the session, of our pace; the few that are ours to explain."""

from __future__ import annotations

from ibkr_bridge.calls.messages import Answer, let_go
from ibkr_bridge.errors import BridgeError, GatewayDeniesUs, OrderUnknown, UpstreamRefused
from ibkr_bridge.ibkr.bodies import wants_accounts
from ibkr_bridge.ibkr.endpoint import Effect, Endpoint
from ibkr_bridge.limits.penalty_box import Penalty
from ibkr_bridge.session.keeper import Keeper
from ibkr_bridge.session.preflight import doubts_session
from ibkr_bridge.session.session_api import denied
from ibkr_bridge.session.unavailable import LOOK_AGAIN_IN, down


class Explaining:
    """Reads the answers of one line.

    Args:
        keeper: is told where a session seems to be gone.
        penalty: is told of every 429.
    """

    def __init__(self, keeper: Keeper, penalty: Penalty) -> None:
        self._keeper = keeper
        self._penalty = penalty

    async def read(self, row: Endpoint, answer: Answer) -> Answer:
        """Notice what an answer says of the session; the four that are ours to explain are not passed on.

        Raises:
            BridgeError: what the caller is told instead.
        """
        if doubts_session(answer.status, answer.body):
            self._keeper.doubt(prepare=wants_accounts(answer.body))
        explain = EXPLAINED.get(answer.status)
        error = await explain(self, row, answer) if explain else None
        if error is None:
            return answer
        let_go(answer)
        raise error

    async def _unauthorized(self, row: Endpoint, _: Answer) -> BridgeError | None:
        await self._keeper.look_again()
        if not self._keeper.is_up(row.layer):
            return down(self._keeper)
        return UpstreamRefused("IBKR refuses this call to the user who is signed in")

    async def _too_many(self, row: Endpoint, answer: Answer) -> BridgeError | None:
        said = answer.headers.get("Retry-After", "")
        return self._penalty.refused(row, float(said[:9]) if said.isascii() and said.isdigit() else None)

    async def _not_found(self, _: Endpoint, answer: Answer) -> BridgeError | None:
        if not denied(answer.status, answer.body):
            return None
        self._keeper.doubt()
        return GatewayDeniesUs("the Gateway answers Access Denied", retry_after=LOOK_AGAIN_IN)

    async def _unavailable(self, row: Endpoint, answer: Answer) -> BridgeError | None:
        """An empty 503 is IBKR's edge giving up after ten seconds; an order may have gone through behind it."""
        if answer.body.strip() or row.effect not in CHANGES:
            return None
        return OrderUnknown("IBKR gave up waiting for itself; what was asked for may have happened")


CHANGES = (Effect.TRADE, Effect.CHANGE)
EXPLAINED = {
    401: Explaining._unauthorized,
    404: Explaining._not_found,
    429: Explaining._too_many,
    503: Explaining._unavailable,
}
