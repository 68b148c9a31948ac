"""What the keeper asks of the Gateway: eight calls, one at a time, and how their answers are read.

The keeper stands beside the slots of callers: its calls are few, short and spaced. None of them raises; whatever goes
wrong is something that was seen.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Protocol

from ibkr_bridge.calls.header_policy import upwards
from ibkr_bridge.calls.messages import Answer, Call, Left, let_go, nobody
from ibkr_bridge.errors import GatewayGarbled, GatewaySilent, GatewayTrouble, GatewayUnreachable, NotNow
from ibkr_bridge.ibkr.bodies import parsed
from ibkr_bridge.ibkr.catalogue import AUTH_STATUS, LOGOUT, SSODH_INIT, TICKLE, VALIDATE, target
from ibkr_bridge.session.preflight import BEFOREHAND, REPLAYED, Accounts, read_accounts, read_login
from ibkr_bridge.session.state_machine import Saw, read_status

LOOK_WITHIN = 5.0  # seconds; a healthy auth/status takes a tenth of one
TICKLE_WITHIN = 2.0  # seconds; looks must not wait long for it
OPEN_WITHIN = 10.0  # seconds; the same after which IBKR's own edge gives up
NOT_ANSWERED = {GatewayUnreachable: Saw.REFUSED, GatewaySilent: Saw.SILENCE, GatewayGarbled: Saw.TROUBLE}
JSON = (("Content-Type", "application/json"),)


class Asking(Protocol):
    """The Gateway, as far as the keeper uses it."""

    async def ask(self, call: Call, left: Left = ..., *, within: float | None = None) -> Answer:
        """See `upstream.gateway.Gateway.ask`."""
        ...


def denied(status: int, body: bytes) -> bool:
    """Whether the Gateway's own address rules answered (users call it 403; it is a 404)."""
    return status == 404 and body.strip() == b"Access Denied"


class Envoy:
    """Goes to the Gateway and says what it saw.

    Args:
        gateway: whom to ask.
        late: called when a look that was given up has been answered after all: the time to look again.
    """

    def __init__(self, gateway: Asking, late: Callable[[], None]) -> None:
        self._gateway = gateway
        self._late = late
        self.status_body: dict[str, object] = {}
        """The last answer of `auth/status` that was one."""
        self.trouble_hint = ""
        """What to do about the trouble the last look met, where it met one."""
        self.hanging = 0
        """Looks that were given up here and are still unanswered over there."""
        self.opening = False
        """Whether the last request for the session is still at work over there."""

    async def look(self) -> Saw:
        """Ask `auth/status`: the one thing that can be trusted."""
        given_up = False

        def answered() -> None:
            self.hanging -= 1
            if given_up:
                self._late()

        self.hanging += 1
        try:
            call = Call("GET", target(AUTH_STATUS), upwards(()))
            answer = await self._gateway.ask(call, answered, within=LOOK_WITHIN)
        except GatewayTrouble as exc:
            given_up = True
            self.trouble_hint = exc.hint
            return NOT_ANSWERED[type(exc)]
        body = _json(answer)
        if denied(answer.status, answer.body):
            return Saw.DENIED
        saw = read_status(answer.status, body)
        if isinstance(body, dict) and saw not in (Saw.TROUBLE, Saw.PACED):
            self.status_body = body
        return saw

    def _opened(self) -> None:
        self.opening = False

    async def open(self, *, compete: bool) -> int:
        """Ask for the brokerage session; what came of it shows at the next look. Returns the status, 0 for none."""
        self.opening = True
        body = json.dumps({"publish": True, "compete": compete}).encode()  # IBKR answers 500 where publish is not true
        call = Call("POST", target(SSODH_INIT), upwards(JSON), body, changes=True)
        answer = await self._try(call, OPEN_WITHIN, self._opened)
        let_go(answer)
        return answer.status if answer else 0

    async def tickle(self) -> dict[str, object] | None:
        """Keep the login awake; the answer carries the session id and the time left."""
        body = await self._asked(target(TICKLE), TICKLE_WITHIN)
        return body if isinstance(body, dict) and "session" in body else None

    async def prepare(self) -> Accounts | None:
        """Make the calls IBKR wants first. Returns the accounts they tell of, None where they told nothing."""
        told = [await self._asked(path, LOOK_WITHIN) for path in REPLAYED]
        accounts = read_accounts(told[0])
        return accounts if accounts.numbers else None

    async def login_is_paper(self) -> bool | None:
        """Ask what kind of login it is; None where that was not told."""
        return read_login(await self._asked(target(VALIDATE), TICKLE_WITHIN))

    async def say(self, call: Call) -> None:
        """Tell IBKR again what it has forgotten; where that fails, it asks its questions once more, which is safe."""
        let_go(await self._try(call, TICKLE_WITHIN))

    async def ask_beforehand(self) -> None:
        """Have the first look at the orders, which shows nothing, behind us before a caller wants one."""
        await self._asked(BEFOREHAND, TICKLE_WITHIN)

    async def log_out(self) -> int:
        """End the login at IBKR. Returns the status, 0 for none."""
        answer = await self._try(Call("POST", target(LOGOUT), upwards(JSON), b"{}", changes=True), OPEN_WITHIN)
        let_go(answer)
        return answer.status if answer else 0

    async def _asked(self, path: str, within: float) -> object:
        """What a GET tells; None where it tells nothing."""
        answer = await self._try(Call("GET", path, upwards(())), within)
        told = _json(answer) if answer else None
        return told if answer and answer.status == 200 else None

    async def _try(self, call: Call, within: float, left: Left = nobody) -> Answer | None:
        try:
            return await self._gateway.ask(call, left, within=within)
        except (GatewayTrouble, NotNow):
            return None


def _json(answer: Answer) -> object:
    """The body, where it is JSON and no larger than such answers are."""
    let_go(answer)
    return parsed(answer.body) if answer.rest is None else None
