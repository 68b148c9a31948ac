"""What the Gateway does unasked: it finishes a login, keeps it alive, and throws it away.

After the login pages it walks a chain of calls of its own, ending in the brokerage session, which it always takes over.
Then it tickles. A tickle that says "connected, but not authenticated" makes it log out at once; one that fails makes it
walk the chain again, and after five failed validations it gives up without a word.
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

PING_EVERY = 300.0
ATTEMPTS = 5
RETRY_AFTER = 3.0

INTRODUCTION = (
    "/v1/api/one/user",
    "/v1/api/ssodh/init",
    "/v1/api/ssodh/st",
    "/sso/Authenticator?ACTION=PUBLISH_TST&RANDOM=1",
)
"""Called one after the other once the login is valid, the last only after a login; nobody looks at the answers."""


class SessionLifecycle:
    """The Gateway's own calls; at most one keep-alive of each sort runs."""

    def __init__(self, clock: SimClock, upstream: Upstream, jar: Jar, tickle_every: float, auth_delay: float) -> None:
        self.logged_in = False
        self._clock = clock
        self._upstream = upstream
        self._jar = jar
        self._tickle_every = tickle_every
        self._auth_delay = auth_delay
        self._tasks = Tasks()
        self._running: dict[str, asyncio.Task[Any]] = {}

    def login_ended(self) -> None:
        """The login pages are through, it seems: walk the chain."""
        self.logged_in = True
        self._only("chain", self._chain)

    def walk_again(self) -> None:
        """Asked to reauthenticate: walk the chain, whatever the session's state."""
        self._only("chain", lambda: self._chain(INTRODUCTION[:-1]))

    def keep_alive(self) -> None:
        """Start the keep-alives."""
        self.logged_in = True
        self._only("tickle", self._tickling)
        self._only("ping", self._pinging)

    async def settled(self) -> None:
        """Wait until no chain is being walked."""
        if (chain := self._running.get("chain")) is not None:
            await asyncio.wait((chain,))

    async def stop(self) -> None:
        """Forget everything."""
        self.logged_in = False
        await self._tasks.stop()

    def _only(self, name: str, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._cancel(name)
        self._running[name] = self._tasks.start(work(), name=f"gateway {name}")

    def _cancel(self, name: str) -> None:
        if (old := self._running.get(name)) is not None and old is not asyncio.current_task():
            old.cancel()

    async def _chain(self, introduction: Sequence[str] = INTRODUCTION) -> None:
        if not await self._is_valid():
            self._cancel("tickle")
            return
        for target in introduction:
            await self._get(target)
        await self._clock.sleep(self._auth_delay)
        await self._authenticate()
        await self._get("/v1/api/iserver/accounts")
        self.keep_alive()

    async def _is_valid(self) -> bool:
        for attempt in range(ATTEMPTS):
            if attempt:
                await self._clock.sleep(RETRY_AFTER)
            status, answer = await self._get("/v1/api/sso/validate?gw=1")
            if status == 200 and answer.get("RESULT"):
                return True
        return False

    async def _authenticate(self) -> None:
        _, answer = await self._get("/v1/api/iserver/auth/status")
        if answer.get("authenticated") and not answer.get("competing"):
            return
        about = {"username": "simulated", "machineId": "5A1D4317", "compete": True}
        _, answer = await self._call("POST", "/v1/api/iserver/auth/ssodh/init", about)
        response = {"response": str(answer.get("challenge", ""))[::-1]}
        await self._call("POST", "/v1/api/iserver/auth/ssodh/response", response)

    async def _tickling(self) -> None:
        while True:
            await self._clock.sleep(self._tickle_every)
            status, answer = await self._get("/v1/api/tickle")
            if status != 200 or not answer:
                self._only("chain", self._chain)
                return
            if _is_half_dead(answer):
                await self._get("/v1/api/logout")

    async def _pinging(self) -> None:
        while True:
            await self._clock.sleep(PING_EVERY)
            await self._get("/sso/ping")

    async def _get(self, target: str) -> tuple[int, dict[str, Any]]:
        return await self._call("GET", target, None)

    async def _call(self, method: str, target: str, form: dict[str, Any] | None) -> tuple[int, dict[str, Any]]:
        body = b"" if form is None else json.dumps(form).encode()
        headers: Headers = (("Host", "api.ibkr.com"), ("User-Agent", OWN_AGENT), ("Cookie", self._jar.header(target)))
        if form is not None:
            headers = (*headers, ("Content-Type", "application/json"), ("Content-Length", str(len(body))))
        exchange = self._upstream.begin(Call(method, target, headers, len(body), own=True))
        exchange.body.feed_data(body)
        status, answer, received = await exchange.whole()
        self._jar.set_by_ibkr(value for name, value in received if name.lower() == "set-cookie")
        return status, _object(answer)


def _is_half_dead(answer: dict[str, Any]) -> bool:
    status = (answer.get("iserver") or {}).get("authStatus") or {}
    return status.get("connected") is True and status.get("authenticated") is False


def _object(body: bytes) -> dict[str, Any]:
    try:
        found = json.loads(body)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
