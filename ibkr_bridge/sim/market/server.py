"""The market on a socket; the only file of it that knows HTTP.

Every request is logged, counted against IBKR's limits, checked for what its row of the table needs, and answered in one
piece with a length. The market listens on plain HTTP behind the simulated Gateway. With an address and a TLS context it
can serve a real one.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from typing import Any

from aiohttp import web

from ibkr_bridge.sim.clock import SimClock
from ibkr_bridge.sim.faults import Fault, Faults, Side
from ibkr_bridge.sim.market.dispatch import (
    MarketRequest,
    MarketResponse,
    RequiredSession,
    Route,
    error_response,
    ok_response,
    read_path,
    read_query,
    unknown_account_response,
)
from ibkr_bridge.sim.market.pacing import Pacing
from ibkr_bridge.sim.market.session_calls import HTML, LOGIN_COOKIE, SSO_ROUTES
from ibkr_bridge.sim.market.stream import QUOTE_INTERVAL_S, Stream, is_socket
from ibkr_bridge.sim.market.table import ROUTES
from ibkr_bridge.sim.market.tampering import FAULT_HANDLERS, FaultyCall, web_response
from ibkr_bridge.sim.market.world import World
from ibkr_bridge.sim.request_log import OWN_AGENT, ChangeSignal, LoggedRequest, RequestLog

API = "/v1/api"
NOT_FOUND = MarketResponse(404, b"<html><body><h1>Resource not found</h1></body></html>", HTML)
LENGTH_REQUIRED = MarketResponse(411, b"<HTML><HEAD><TITLE>Length Required</TITLE></HEAD></HTML>", HTML)
TOO_MANY_REQUESTS = error_response(429, "Too many requests, please try again later.")
NO_LOGIN = MarketResponse(401, b"Unauthorized", "text/plain")
NO_BRIDGE = ok_response({"error": "Bad Request: no bridge", "statusCode": 400}, 400)
ACCOUNTS_FIRST = error_response(500, "Please query /accounts first")

SESSION_COOKIE = "x-sess-uuid=0.5a1d4317.1718640000.2f1b6c0; HttpOnly; secure"
"""IBKR sets it on nearly every response, without a path. The Gateway never stores it."""

MAX_BODY_BYTES = 1 << 30


class Market:
    """The simulated `https://api.ibkr.com`."""

    def __init__(
        self,
        world: World,
        clock: SimClock,
        faults: Faults,
        pacing: Pacing | None = None,
        quote_interval_s: float = QUOTE_INTERVAL_S,
    ) -> None:
        self.world = world
        self.log = RequestLog()
        self.stream = Stream(world, clock, faults, quote_interval_s)
        self.port = 0
        self._clock = clock
        self._faults = faults
        self.pacing = pacing or Pacing(enabled=False)
        self._runner: web.AppRunner | None = None
        self._address: tuple[str, int, ssl.SSLContext | None] = ("127.0.0.1", 0, None)
        self.changes = ChangeSignal()
        """Fires when a call arrives or ends."""
        self._released: asyncio.Future[None] | None = None
        self._serving: dict[asyncio.Task[Any], web.BaseRequest] = {}

    async def start(self, host: str = "127.0.0.1", port: int = 0, tls: ssl.SSLContext | None = None) -> None:
        """Listen; with port 0 the system chooses one, which is then in `port`."""
        app = web.Application(client_max_size=MAX_BODY_BYTES)
        app.router.add_route("*", "/{anything:.*}", self._serve)
        quiet = logging.getLogger("ibkr_bridge.sim.market")
        self._runner = web.AppRunner(app, access_log=None, logger=quiet, shutdown_timeout=0.01)
        await self._runner.setup()
        site = web.TCPSite(self._runner, host, port, ssl_context=tls)
        await site.start()
        self.port = self._runner.addresses[0][1]
        self._address = (host, self.port, tls)

    async def resume(self) -> None:
        """Listen again on the address it had before it was stopped."""
        await self.start(*self._address)

    async def stop(self) -> None:
        """Stop listening; calls in progress are dropped."""
        if self._runner is not None:
            for caller in self._runner.server.connections if self._runner.server else ():
                if caller.transport is not None:
                    caller.transport.abort()  # a TLS shutdown would wait for a Gateway that may be gone
            await self._runner.cleanup()
            self._runner = None
        for task in tuple(self._serving):  # aiohttp does not cancel those whose connection is gone
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)
        await self.stream.stop()

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        return await self.serve(request)

    async def serve(
        self, request: web.Request, login: str | None = None, fault: Fault | None = None
    ) -> web.StreamResponse:
        """Answer one request, whichever socket it came from.

        Args:
            login: the login it belongs to, if the one who calls knows; else the cookie tells.
            fault: the fault that applies to it, if the one who calls knows; else the market's own may apply.
        """
        if (task := asyncio.current_task()) is not None:
            self._serving[task] = request
            task.add_done_callback(self._on_served)
            self.changes.fire()
        try:
            body = await request.read()
        except ConnectionError:  # the body is incomplete: there is no client to answer
            return web_response(NOT_FOUND)
        headers = tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in request.raw_headers)
        logged = LoggedRequest(request.method, request.raw_path, headers, body, self._clock.now())
        login = login or _cookie(logged, LOGIN_COOKIE)
        self.log.add(logged)
        is_own_call = logged.is_own_call and not is_socket(request)
        fault = fault or self._faults.use_fault(Side.MARKET, logged.target, is_own_call)
        if is_socket(request) and (fault is None or fault.kind == "delay"):
            if fault is not None:
                await self._clock.sleep(fault.seconds)
            return await self.stream.serve(request, self._is_logged_in(login))
        if fault is None:
            return web_response(self._respond(logged, login))
        right = self._respond(logged, login, fault.kind) if fault.done else NOT_FOUND
        return await FAULT_HANDLERS[fault.kind](
            FaultyCall(fault, request, right, self._clock, self._faults.trigger_event, self._held_until())
        )

    def release_held_calls(self) -> None:
        """Answer the calls that a fault holds, as far as they were carried out, so that their slots become free."""
        if self._released is not None and not self._released.done():
            self._released.set_result(None)

    def _held_until(self) -> asyncio.Future[None]:
        if self._released is None or self._released.done():
            self._released = asyncio.get_running_loop().create_future()
        return self._released

    def calls_in_service(self) -> int:
        """The number of clients' calls being served. Calls whose connection is gone do not count."""
        return sum(_is_client_call(request) for request in self._serving.values())

    def _on_served(self, task: asyncio.Task[Any]) -> None:
        self._serving.pop(task, None)
        self.changes.fire()

    def _is_logged_in(self, login: str | None) -> bool:
        return self.world.sessions.find_login(login, self._clock.now()) is not None

    def _respond(self, logged: LoggedRequest, login: str | None, fault: str = "") -> MarketResponse:
        """IBKR's response to one request, cookies included; `fault` is the kind of a fault that changes it."""
        response = self._dispatch(logged, login, fault)
        self.stream.on_http_call()
        return MarketResponse(
            response.status, response.body, response.content_type, (*response.headers, ("Set-Cookie", SESSION_COOKIE))
        )

    def _dispatch(self, logged: LoggedRequest, login: str | None, fault: str) -> MarketResponse:
        path = read_path(logged.path)
        if logged.method in ("POST", "PUT", "PATCH") and logged.header("Content-Length") is None:
            return LENGTH_REQUIRED
        if self.pacing.count_call(path.removeprefix(API), logged.at):
            return TOO_MANY_REQUESTS
        table: tuple[Route, ...] = SSO_ROUTES
        if path.startswith(API + "/"):
            path, table = path.removeprefix(API), ROUTES
        for route in table:
            if (parts := route.match(logged.method, path)) is not None:
                request = MarketRequest(
                    logged.method, path, read_query(logged.query), logged.body, login, logged.at, parts, fault
                )
                refusal = self._missing_session(route, request) or self._unknown_account(request)
                return refusal or route.handler(self.world, request)
        return NOT_FOUND

    def _unknown_account(self, request: MarketRequest) -> MarketResponse | None:
        """IBKR's refusal of a path with an account that the user does not have; an order may name a group instead."""
        account = request.parts.get("account")
        names_group = account in self.world.groups and "/order" in request.path
        if account is None or account in self.world.accounts or names_group:
            return None
        return unknown_account_response(account, request.path)

    def _missing_session(self, route: Route, request: MarketRequest) -> MarketResponse | None:
        """IBKR's response if the call lacks a session that it needs, checked in IBKR's order; None if it lacks none."""
        sessions, now = self.world.sessions, request.now
        login = sessions.find_login(request.login, now)
        if route.needs >= RequiredSession.LOGIN and login is None:
            return NO_LOGIN
        if route.needs >= RequiredSession.BROKERAGE and not sessions.is_authenticated(now):
            return NO_BRIDGE
        has_portfolio = login is not None and login.has_read_portfolio
        is_warm = sessions.is_established(now) if route.needs >= RequiredSession.BROKERAGE else has_portfolio
        if route.cold is not None and not is_warm:
            return ok_response(route.cold)
        has_accounts = sessions.brokerage is not None and sessions.brokerage.has_read_accounts
        return ACCOUNTS_FIRST if route.needs >= RequiredSession.ACCOUNTS and not has_accounts else None


def _is_client_call(request: web.BaseRequest) -> bool:
    is_gone = request.transport is None or request.transport.is_closing()
    return not is_gone and not is_socket(request) and request.headers.get("User-Agent") != OWN_AGENT


def _cookie(logged: LoggedRequest, name: str) -> str | None:
    pairs = (pair.strip().partition("=") for pair in (logged.header("Cookie") or "").split(";"))
    return next((value for key, _, value in pairs if key == name), None)
