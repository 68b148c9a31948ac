"""What the Gateway does by itself: it completes a login, keeps it alive, and drops it.

After the login pages it makes a chain of calls of its own. The chain ends in the brokerage session, which the Gateway
always takes over. Then it sends a tickle at regular intervals. It logs out at once if a tickle's response says
"connected, but not authenticated". If a tickle fails, it runs the chain again; after five failed validations it stops
without a message.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from ibkr_bridge.sim.clock import SimClock
from ibkr_bridge.sim.gateway.jar import Jar
from ibkr_bridge.sim.gateway.upstream import Call, Upstream
from ibkr_bridge.sim.gateway.wire import Headers
from ibkr_bridge.sim.request_log import OWN_AGENT
from ibkr_bridge.sim.tasks import Tasks

PING_INTERVAL_S = 300.0
MAX_VALIDATIONS = 5
VALIDATION_INTERVAL_S = 3.0

CHAIN_START = (
    "/v1/api/one/user",
    "/v1/api/ssodh/init",
    "/v1/api/ssodh/st",
    "/sso/Authenticator?ACTION=PUBLISH_TST&RANDOM=1",
)
"""The first calls of the chain, once the login is valid. The last one is made only after a login. The Gateway ignores
the responses."""


class SessionLifecycle:
    """The Gateway's own calls; at most one task of each name runs."""

    def __init__(
        self, clock: SimClock, upstream: Upstream, jar: Jar, tickle_interval_s: float, auth_delay_s: float
    ) -> None:
        self.logged_in = False
        self._clock = clock
        self._upstream = upstream
        self._jar = jar
        self._tickle_interval_s = tickle_interval_s
        self._auth_delay_s = auth_delay_s
        self._tasks = Tasks()
        self._running: dict[str, asyncio.Task[Any]] = {}

    def on_login_ended(self) -> None:
        """Run the chain, since the login pages seem to have ended."""
        self.logged_in = True
        self._restart_task("chain", self._run_login_chain)

    def reauthenticate(self) -> None:
        """Run the chain, whatever the session's state, as a client has requested a reauthentication."""
        self._restart_task("chain", lambda: self._run_login_chain(CHAIN_START[:-1]))

    def start_keep_alives(self) -> None:
        """Start the tickles and the pings."""
        self.logged_in = True
        self._restart_task("tickle", self._tickle_loop)
        self._restart_task("ping", self._ping_loop)

    async def wait_for_chain(self) -> None:
        """Wait until no chain runs."""
        if (chain := self._running.get("chain")) is not None:
            await asyncio.wait((chain,))

    async def stop(self) -> None:
        """Forget the login and cancel all tasks."""
        self.logged_in = False
        await self._tasks.stop()

    def _restart_task(self, name: str, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._cancel_task(name)
        self._running[name] = self._tasks.start(work(), name=f"gateway {name}")

    def _cancel_task(self, name: str) -> None:
        if (old := self._running.get(name)) is not None and old is not asyncio.current_task():
            old.cancel()

    async def _run_login_chain(self, first_targets: Sequence[str] = CHAIN_START) -> None:
        if not await self._validate_login():
            self._cancel_task("tickle")
            return
        for target in first_targets:
            await self._get(target)
        await self._clock.sleep(self._auth_delay_s)
        await self._authenticate()
        await self._get("/v1/api/iserver/accounts")
        self.start_keep_alives()

    async def _validate_login(self) -> bool:
        for attempt in range(MAX_VALIDATIONS):
            if attempt:
                await self._clock.sleep(VALIDATION_INTERVAL_S)
            status, body = await self._get("/v1/api/sso/validate?gw=1")
            if status == 200 and body.get("RESULT"):
                return True
        return False

    async def _authenticate(self) -> None:
        _, body = await self._get("/v1/api/iserver/auth/status")
        if body.get("authenticated") and not body.get("competing"):
            return
        form = {"username": "simulated", "machineId": "5A1D4317", "compete": True}
        _, body = await self._call("POST", "/v1/api/iserver/auth/ssodh/init", form)
        response = {"response": str(body.get("challenge", ""))[::-1]}
        await self._call("POST", "/v1/api/iserver/auth/ssodh/response", response)

    async def _tickle_loop(self) -> None:
        while True:
            await self._clock.sleep(self._tickle_interval_s)
            status, body = await self._get("/v1/api/tickle")
            if status != 200 or not body:
                self._restart_task("chain", self._run_login_chain)
                return
            if _has_lost_brokerage(body):
                await self._get("/v1/api/logout")

    async def _ping_loop(self) -> None:
        while True:
            await self._clock.sleep(PING_INTERVAL_S)
            await self._get("/sso/ping")

    async def _get(self, target: str) -> tuple[int, dict[str, Any]]:
        return await self._call("GET", target, None)

    async def _call(self, method: str, target: str, form: dict[str, Any] | None) -> tuple[int, dict[str, Any]]:
        body = b"" if form is None else json.dumps(form).encode()
        headers: Headers = (
            ("Host", "api.ibkr.com"),
            ("User-Agent", OWN_AGENT),
            ("Cookie", self._jar.cookie_header(target)),
        )
        if form is not None:
            headers = (*headers, ("Content-Type", "application/json"), ("Content-Length", str(len(body))))
        exchange = self._upstream.start_exchange(Call(method, target, headers, len(body), is_own_call=True))
        exchange.body.feed_data(body)
        status, body, received = await exchange.read_response()
        self._jar.store_from_ibkr(value for name, value in received if name.lower() == "set-cookie")
        return status, _parse_object(body)


def _has_lost_brokerage(body: dict[str, Any]) -> bool:
    status = (body.get("iserver") or {}).get("authStatus") or {}
    return status.get("connected") is True and status.get("authenticated") is False


def _parse_object(body: bytes) -> dict[str, Any]:
    try:
        parsed = json.loads(body)
    except ValueError:
        return {}
    return parsed if isinstance(parsed, dict) else {}
