"""A bridge in front of a simulated Gateway, and a client that sends requests to it through real sockets."""

from __future__ import annotations

import asyncio
import dataclasses
import io
import json
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, TypeVar

import aiohttp
from aiohttp import web
from yarl import URL

from ibkr_bridge.clock import Clock
from ibkr_bridge.config.settings import LogFormat, LogLevel, Settings
from ibkr_bridge.daemon import Bridge
from ibkr_bridge.events import Bus, Event, SessionChanged
from ibkr_bridge.observe.logs import Log
from ibkr_bridge.orders.reconciliation.schedule import ReconcileSchedule
from ibkr_bridge.profiles.options import ProfileOptions
from ibkr_bridge.redaction import Redactor
from ibkr_bridge.server.app_keys import DemoControl
from ibkr_bridge.session.state_machine import SessionState
from tests.unlimited import UNLIMITED

KEY = "full-key-for-tests-0123456789-abcdef"
PREVIOUS_KEY = "previous-key-for-tests-0123456789-ab"
READONLY_KEY = "reading-key-for-tests-0123456789-abc"
FAST_RECONCILIATION = ReconcileSchedule(
    give_up_after_s=1.0,
    first_delay_s=0.05,
    interval_s=0.2,
    refresh_delay_s=0.01,
    late_checks_s=(1.5, 2.0),
    startup_block_s=1.0,
)
"""Lost orders are searched for during one second instead of five minutes."""
FAST_OPTIONS = dataclasses.replace(UNLIMITED, reconcile_schedule=FAST_RECONCILIATION)
T = TypeVar("T")
TEST_TIMEOUT_S = 30.0  # real seconds; only broken code takes so long, even on a busy machine


async def with_timeout(work: Awaitable[T], timeout_s: float = TEST_TIMEOUT_S) -> T:
    """Await something with a timeout, so that a test that waits in vain fails instead of hanging."""
    async with asyncio.timeout(timeout_s):
        return await work


@dataclass
class Reply:
    """One response of the bridge."""

    status: int
    headers: Any
    body: bytes

    @property
    def json(self) -> Any:
        """The parsed body."""
        return json.loads(self.body)

    @property
    def code(self) -> str | None:
        """The error code; None if the response is not an error of the bridge."""
        problem = self.headers.get("Content-Type", "").startswith("application/problem+json")
        return str(self.json["code"]) if problem else None


def settings_for(gateway: str, state: Path, **env: str) -> Settings:
    """Settings for a bridge on a free port; `env` adds or replaces environment variables."""
    return Settings.from_env(
        {
            "IBKR_BRIDGE_URL": "http://127.0.0.1:0",
            "IBKR_BRIDGE_KEY": KEY,
            "IBKR_BRIDGE_MAINTENANCE": "none",  # the tests may run during a maintenance window
            "IBKR_BRIDGE_STATE_DIR": str(state),
            "IBKR_GATEWAY_URL": gateway,
            **env,
        }
    )


class Harness:
    """A running bridge and its client. Without `options`, the bridge has no rate limits and no cache."""

    def __init__(
        self,
        settings: Settings,
        clock: Clock | None = None,
        env: Mapping[str, str] | None = None,
        options: ProfileOptions = FAST_OPTIONS,
        demo: DemoControl | None = None,
    ) -> None:
        self.bus, self.redactor = Bus(), Redactor()
        self.events_seen: list[Event] = []
        self.written = io.StringIO()
        self._changed = asyncio.Event()
        self.bus.subscribe(self.events_seen.append)
        self.bus.subscribe(lambda _: self._changed.set())
        Log(self.written, LogFormat.JSON, LogLevel.DEBUG, self.redactor).attach(self.bus)
        self.bridge = Bridge(settings, self.bus, self.redactor, clock, env, options, demo)
        self.bridge.loop_monitor._now = lambda: (
            0.0
        )  # on a busy machine the loop is late, and the bridge would report it
        self._client: aiohttp.ClientSession | None = None
        self._finished = False

    async def __aenter__(self) -> Self:
        await self.bridge.start()
        connector = aiohttp.TCPConnector(limit=0)
        self._client = aiohttp.ClientSession(connector=connector, auto_decompress=False)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._client is not None:
            await self._client.close()
        if not self._finished:
            await self.finish()

    @property
    def application(self) -> web.Application:
        """The application that serves the requests."""
        runner = self.bridge._runner
        assert runner is not None
        return runner.app

    async def finish(self) -> int:
        """Drain and close, as after a signal; return the exit status."""
        self._finished = True
        return await self.bridge.finish()

    @property
    def port(self) -> int:
        """The port on which the bridge listens."""
        return int(self.bridge.url.rpartition(":")[2])

    async def request(
        self,
        method: str,
        target: str,
        *,
        key: str | None = KEY,
        headers: dict[str, str] | None = None,
        body: Any = None,
    ) -> Reply:
        """Send a request; the target is sent byte for byte. A `body` that is not bytes is sent as JSON."""
        if self._client is None:
            raise RuntimeError("the harness is not open")
        all_headers = {**({"X-Bridge-Key": key} if key else {}), **(headers or {})}
        data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        if data is not None and not isinstance(body, bytes):
            all_headers.setdefault("Content-Type", "application/json")
        url = URL.build(scheme="http", host="127.0.0.1", port=self.port, path=target, encoded=True)
        request = self._client.request(method, url, headers=all_headers, data=data)
        async with asyncio.timeout(TEST_TIMEOUT_S), request as response:
            return Reply(response.status, response.headers, await response.read())

    async def get(self, target: str, **kwargs: Any) -> Reply:
        """Send a GET request."""
        return await self.request("GET", target, **kwargs)

    async def post(self, target: str, body: Any = None, **kwargs: Any) -> Reply:
        """Send a POST request."""
        return await self.request("POST", target, body=body, **kwargs)

    async def send_raw(self, *chunks: bytes, until_closed: bool = True) -> bytes:
        """Send bytes as they are, chunk by chunk, and return what comes back.

        Args:
            until_closed: read until the bridge closes the connection; otherwise return what arrives first.
        """
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            for chunk in chunks:
                writer.write(chunk)
                await writer.drain()
            async with asyncio.timeout(TEST_TIMEOUT_S):
                return await reader.read() if until_closed else await reader.read(65536)
        finally:
            writer.close()

    async def wait_until(self, state: SessionState) -> None:
        """Wait until the session is in a state."""
        async with asyncio.timeout(TEST_TIMEOUT_S):
            while self.bridge.profile.keeper.session.state is not state:
                self._changed.clear()
                await self._changed.wait()

    async def wait_until_checked(self, state: SessionState) -> None:
        """Have the session checked now, and wait until it is in a state. The next regular check may be seconds away."""
        self.bridge.profile.keeper.request_check()
        await self.wait_until(state)

    async def wait_until_settled(self, order: str, *states: str) -> str:
        """Wait until an order is in one of these states, or in any settled state, and return the state."""
        awaited_states = states or ("placed", "rejected", "refused", "not_placed")
        async with asyncio.timeout(TEST_TIMEOUT_S):
            while (state := self.state_of(order)) not in awaited_states:
                self._changed.clear()
                await self._changed.wait()
        return state

    def state_of(self, order: str) -> str:
        """The state of an order in the journal; `?` if it is unknown."""
        record = self.bridge.profile.orders.repository.index.find(order)
        return record.state.value if record and record.state else "?"

    async def wait_for_events(self, kind: type[Event], count: int = 1) -> list[Event]:
        """Wait until at least `count` events of a kind have been published, and return all of them."""
        async with asyncio.timeout(TEST_TIMEOUT_S):
            while len(matches := [event for event in self.events_seen if isinstance(event, kind)]) < count:
                self._changed.clear()
                await self._changed.wait()
        return matches

    @property
    def session_changes(self) -> list[tuple[str, str]]:
        """The states of the session in order, with their reasons."""
        return [(event.state, event.reason) for event in self.events_seen if isinstance(event, SessionChanged)]


@dataclass
class Placement:
    """A request that places one order: a market order, unless `extra` replaces members of the ticket."""

    account: str = "DU1234567"
    quantity: int = 1
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def target(self) -> str:
        """The target of the request."""
        return f"/iserver/account/{self.account}/orders"

    @property
    def body(self) -> dict[str, Any]:
        """The body of the request."""
        ticket = {"acctId": self.account, "conid": 265598, "orderType": "MKT", "side": "BUY", "tif": "DAY"}
        return {"orders": [{**ticket, "quantity": self.quantity, **self.extra}]}
