"""From a request to its answer: the front, the OAuth layer, and then the market of the user whose call it is."""

from __future__ import annotations

import asyncio
import itertools
import secrets
from collections.abc import Callable, Mapping, Sequence

from aiohttp import web

from ibkr_bridge.sim.api_host.assertions import OAuth2, read_bearer
from ibkr_bridge.sim.api_host.broken_connections import find_break, serve_and_break
from ibkr_bridge.sim.api_host.checks import Checks
from ibkr_bridge.sim.api_host.front import Front
from ibkr_bridge.sim.api_host.oauth_request import OAuthRequest, RefusedError, read_authorization
from ibkr_bridge.sim.api_host.registration import UserMarket
from ibkr_bridge.sim.api_host.registry import LiveSession
from ibkr_bridge.sim.api_host.rules import Rules
from ibkr_bridge.sim.api_host.session_life import UNAUTHORIZED, SessionLife
from ibkr_bridge.sim.api_host.users import Users
from ibkr_bridge.sim.clock import SimClock
from ibkr_bridge.sim.faults import Fault, Faults, Side
from ibkr_bridge.sim.market.dispatch import MarketResponse, ok_response
from ibkr_bridge.sim.market.server import API, NOT_FOUND
from ibkr_bridge.sim.market.stream import is_socket
from ibkr_bridge.sim.market.tampering import FAULT_HANDLERS, NOT_CARRIED_OUT, FaultyCall, web_response
from ibkr_bridge.sim.request_log import LoggedRequest

OAUTH = API + "/oauth/"
HOLDING_KINDS = frozenset({"silence", "done-silence", "delay"})
"""Kinds of faults that end with an empty 503 when IBKR's front loses patience."""
OAuthCall = Callable[[OAuthRequest, float], object]
Page = Callable[[LoggedRequest, str], MarketResponse]


class Gate:
    """Answers the requests of one host.

    Args:
        oauth_calls: the handler of each call under `/oauth`.
        pages: the handler of each call outside `/v1/api`; it gets the request and the client's address.
    """

    def __init__(
        self,
        clock: SimClock,
        rules: Rules,
        life: SessionLife,
        users: Users,
        checks: Checks,
        oauth2: OAuth2,
        front: Front,
        faults: Faults,
        oauth_calls: Mapping[str, OAuthCall],
        pages: Mapping[str, Page],
    ) -> None:
        self._clock = clock
        self._rules = rules
        self._life = life
        self._users = users
        self._checks = checks
        self._oauth2 = oauth2
        self._front = front
        self.faults = faults
        self._oauth_calls = oauth_calls
        self._pages = pages
        self._traces = itertools.count(secrets.randbelow(90_000) + 10_000)

    async def answer(self, request: web.Request, logged: LoggedRequest) -> web.StreamResponse:
        """Answer one request that has arrived with its body."""
        if (response := self._front.refuse(logged, request.remote or "")) is not None:
            return web_response(response)
        try:
            return await self._route(request, logged)
        except RefusedError as refusal:
            return web_response(self._refusal(refusal))

    async def _route(self, request: web.Request, logged: LoggedRequest) -> web.StreamResponse:
        if (page := self._pages.get(f"{logged.method} {logged.path}")) is not None:
            return web_response(page(logged, request.remote or ""))
        if not logged.path.startswith(API + "/"):
            return web_response(NOT_FOUND)
        if is_socket(request):
            return await self._serve_socket(request)
        if logged.path.startswith(OAUTH):
            return await self._serve_oauth(request, logged)
        return await self._serve_user(request, logged)

    async def _serve_oauth(self, request: web.Request, logged: LoggedRequest) -> web.StreamResponse:
        fault = self.faults.use_fault(Side.MARKET, logged.target, own=False)
        if fault is None:
            return web_response(self._respond_to_oauth(logged))
        right = self._respond_to_oauth(logged) if fault.done else NOT_FOUND
        never = asyncio.get_running_loop().create_future()
        call = FaultyCall(fault, request, right, self._clock, self.faults.trigger_event, never)
        return await FAULT_HANDLERS[fault.kind](call)

    def _respond_to_oauth(self, logged: LoggedRequest) -> MarketResponse:
        call = self._oauth_calls.get(f"{logged.method} {logged.path.removeprefix(OAUTH)}")
        if call is None:
            return NOT_FOUND
        try:
            return ok_response(call(_read_oauth(logged), logged.at))
        except RefusedError as refusal:
            return self._refusal(refusal)

    async def _serve_user(self, request: web.Request, logged: LoggedRequest) -> web.StreamResponse:
        session, path = self._authenticate(logged), logged.path.removeprefix(API)
        if session is None:
            return web_response(UNAUTHORIZED)
        username = session.username
        market = self._users.markets[username]
        refusal = self._front.count_call(username, logged, request.remote or "")
        if (refusal := refusal or self._life.refuse(session, path, logged.at)) is not None:
            return web_response(refusal)
        self._life.end_brokerage(session, market.market.world.sessions, logged.at)
        fault = self.faults.use_fault(Side.MARKET, logged.target, own=False)

        async def serve() -> web.StreamResponse:
            return await self._within_time_limit(market, request, session.login, fault)

        broken = find_break(self.faults, logged) or find_break(market.faults, logged)
        response = await serve() if broken is None else await serve_and_break(broken, request, serve)
        if response.status == 200:
            self._life.follow_up(session, path, logged.at)
        return response

    async def _within_time_limit(
        self, market: UserMarket, request: web.Request, login: str, fault: Fault | None
    ) -> web.StreamResponse:
        """Let a market answer. A call that a fault holds is answered by IBKR's front when its time is over."""
        active = fault or market.faults.find_fault(Side.MARKET, request.raw_path, own=False)
        if active is None or active.kind not in HOLDING_KINDS:
            return await market.market.serve(request, login, fault)
        serving = asyncio.ensure_future(market.market.serve(request, login, fault))
        limit = asyncio.ensure_future(self._clock.sleep(self._rules.time_limit_s))
        try:
            await asyncio.wait({serving, limit}, return_when=asyncio.FIRST_COMPLETED)
            return serving.result() if serving.done() else web_response(NOT_CARRIED_OUT)
        finally:
            limit.cancel()
            serving.cancel()

    def _authenticate(self, logged: LoggedRequest) -> LiveSession | None:
        """The live session of a signed call, which may be over; None if it has none.

        Raises:
            RefusedError: the OAuth layer says why.
        """
        if (bearer := read_bearer(logged)) is not None:
            return self._oauth2.sessions.get(bearer)
        request = _read_oauth(logged)
        consumer = self._checks.find_consumer(request, logged.at)
        sessions = self._users.registry.sessions.get(request.parameters.get("oauth_token", ""))
        if not sessions or sessions[0].access_token is None or sessions[0].access_token.consumer is not consumer:
            return None
        self._checks.check_freshness(request, "HMAC-SHA256", logged.at)
        return self._checks.find_signer(request, sessions)

    async def _serve_socket(self, request: web.Request) -> web.StreamResponse:
        """Open a socket. Without the cookie of the last tickle it says that it waits for a session."""
        sessions, token = self._sessions_of_socket(request.query), request.query.get("oauth_token", "")
        known_to_ibkr = sessions[0] if sessions else self._users.registry.tokens.get(token)
        if known_to_ibkr is None:
            return web_response(UNAUTHORIZED)
        cookie, login = request.cookies.get("api"), "no login"
        for session in sessions:
            has_cookie = session.session_id is not None and session.session_id == cookie
            if has_cookie and self._life.refuse(session, "/ws", self._clock.now()) is None:
                login = session.login
        return await self._users.markets[known_to_ibkr.username].market.serve(request, login)

    def _sessions_of_socket(self, query: Mapping[str, str]) -> Sequence[LiveSession]:
        """The sign-ins that a socket may mean. IBKR's pages give two names for the token of OAuth 2.0."""
        bearer = query.get("sessionToken") or query.get("bearer_token") or ""
        session = self._oauth2.sessions.get(bearer)
        return (session,) if session else self._users.registry.sessions.get(query.get("oauth_token", ""), ())

    def _refusal(self, refusal: RefusedError) -> MarketResponse:
        text = f"id: {next(self._traces)}, error: {refusal.text}"
        return ok_response({"error": text, "statusCode": refusal.status}, refusal.status)


def _read_oauth(logged: LoggedRequest) -> OAuthRequest:
    parameters = read_authorization(logged.header("Authorization"))
    return OAuthRequest(logged.method, logged.path, logged.query, logged.header("Host") or "", parameters)
