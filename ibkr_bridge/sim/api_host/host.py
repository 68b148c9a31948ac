"""The simulated api.ibkr.com on a socket, with its controls: several usernames, each with a market of its own.

A client talks to `url` as to the real host. `calls` shows a test what arrived. `rules`, `front`, `faults` and the
registrations bend what the host does.
"""

from __future__ import annotations

from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from aiohttp import web

from ibkr_bridge.sim.api_host.assertions import OAuth2
from ibkr_bridge.sim.api_host.authority import Authority
from ibkr_bridge.sim.api_host.checks import Checks
from ibkr_bridge.sim.api_host.front import Front
from ibkr_bridge.sim.api_host.gate import Gate
from ibkr_bridge.sim.api_host.handshake import Handshake
from ibkr_bridge.sim.api_host.http_port import HttpPort
from ibkr_bridge.sim.api_host.rules import Rules
from ibkr_bridge.sim.api_host.self_service import SelfService
from ibkr_bridge.sim.api_host.session_life import SessionLife
from ibkr_bridge.sim.api_host.third_party import ThirdParty
from ibkr_bridge.sim.api_host.users import Users
from ibkr_bridge.sim.clock import Calendar, FastClock, SimClock
from ibkr_bridge.sim.faults import Fault, Faults
from ibkr_bridge.sim.market.server import NOT_FOUND
from ibkr_bridge.sim.market.tampering import web_response
from ibkr_bridge.sim.request_log import LoggedRequest, RequestLog


class ApiHost:
    """A simulated api.ibkr.com on 127.0.0.1.

    Args:
        clock: all times are seconds of this clock.
        port: 0 for a free one.
        tls: whether it speaks HTTPS, with a certificate of a made-up authority.
        strict: whether only today's form of a signature is accepted.
        pacing: whether IBKR's limits are enforced.
        market: further arguments of each user's `MarketStage`.
    """

    def __init__(
        self,
        *,
        clock: SimClock | None = None,
        port: int = 0,
        tls: bool = False,
        strict: bool = True,
        pacing: bool = False,
        **market: Any,
    ) -> None:
        self.clock: SimClock = clock or FastClock()
        self.rules = Rules(is_strict=strict)
        self.log = RequestLog()
        calendar = self._calendar = Calendar(self.clock)
        self.front = Front(self.rules, calendar, pacing=pacing)
        self.faults = Faults()
        """Faults of the calls of all users, and of the handshakes; a registration's `market.faults` hit one user."""
        self.users = Users(self.clock, self.rules, lambda: self._port.number, market)
        self.register, self.register_files = self.users.register, self.users.register_files
        self.register_company, self.add_user = self.users.register_company, self.users.add_user
        registry = self.registry = self.users.registry
        self.checks = Checks(registry, self.rules, calendar)
        self.handshake = Handshake(
            registry, self.checks, self.rules, calendar, self.users.open_session, self.users.end_session
        )
        self.third_party = ThirdParty(registry, self.checks, self.rules, self.users.paper_flags)
        self.oauth2 = OAuth2(self.rules, calendar, self.users.open_session)
        self_service = SelfService(self.users, self.rules)
        life = SessionLife(self.rules, calendar)
        self._gate = Gate(
            self.clock,
            self.rules,
            life,
            self.users,
            self.checks,
            self.oauth2,
            self.front,
            self.faults,
            oauth_calls={
                "POST live_session_token": self.handshake.answer,
                "POST request_token": self.third_party.request_token,
                "POST access_token": self.third_party.access_token,
            },
            pages={
                "GET /self-service": self_service.show_page,
                "POST /self-service": self_service.take_form,
                "GET /authorize": self.third_party.show_page,
                "POST /authorize": self.third_party.take_answer,
                "POST /oauth2/api/v1/token": self.oauth2.issue_token,
                "POST /gw/api/v1/sso-sessions": self.oauth2.open_sso_session,
            },
        )
        self._authority = Authority() if tls else None
        self._port = HttpPort(self._serve, port, self._authority.server_tls() if self._authority else None)

    @property
    def url(self) -> str:
        """The address of the host, without a path."""
        return f"{self._port.scheme}://{self._port.address}"

    @property
    def port(self) -> int:
        """The port on 127.0.0.1."""
        return self._port.number

    @property
    def ca_file(self) -> Path:
        """The certificate that a client must trust, if the host speaks HTTPS."""
        if self._authority is None:
            raise ValueError("this host speaks plain HTTP")
        return self._authority.ca_file

    async def start(self) -> None:
        """Listen; after a stop, on the same port."""
        await self._port.start()
        self.checks.scheme, self.checks.own_host = self._port.scheme, self._port.address

    async def stop(self) -> None:
        """Stop listening; calls in progress are dropped, and what IBKR knows of its users stays."""
        async with AsyncExitStack() as stack:  # each part is stopped even if stopping another one raises
            for market in self.users.markets.values():
                stack.push_async_callback(market.stop)
            stack.push_async_callback(self._port.stop)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()
        if self._authority is not None:
            self._authority.close()

    def follow(self, faults: Faults) -> None:
        """Take part in the faults of a simulated Gateway: they hit these users as well, as IBKR's own troubles do."""
        self.faults = self._gate.faults = faults
        cause, undo = faults.trigger_event, faults.undo_event

        def cause_everywhere(fault: Fault) -> None:
            cause(fault)
            for market in self.users.markets.values():
                market.cause(fault)

        def undo_everywhere(fault: Fault) -> None:
            undo(fault)
            for market in self.users.markets.values():
                market.undo(fault)

        faults.trigger_event, faults.undo_event = cause_everywhere, undo_everywhere

    def calls(self, part: str = "") -> list[LoggedRequest]:
        """What reached the host and has `part` in its target, of all users."""
        return self.log.calls(part)

    async def wait_for_calls(self, part: str = "", count: int = 1) -> list[LoggedRequest]:
        """Wait until at least `count` calls whose target contains `part` have arrived."""
        return await self.log.wait_for_calls(part, count)

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        try:
            body = await request.read()
        except ConnectionError:  # there is no client to answer
            return web_response(NOT_FOUND)
        headers = tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in request.raw_headers)
        logged = LoggedRequest(request.method, request.raw_path, headers, body, self.clock.now())
        self.log.add(logged)
        response = await self._gate.answer(request, logged)
        if not response.prepared:
            response.headers["Date"] = format_datetime(self._ibkr_time(), usegmt=True)
        return response

    def _ibkr_time(self) -> datetime:
        return self._calendar.utc_at(self.clock.now()).astimezone(UTC) + timedelta(seconds=self.rules.clock_skew_s)
