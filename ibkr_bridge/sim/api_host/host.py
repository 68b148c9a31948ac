"""The simulated api.ibkr.com on a socket: several usernames, each with a market of its own, reached by signed calls.

This file knows HTTP. It logs each request, asks the OAuth layer, and hands what was let in to the market of its user.
"""

from __future__ import annotations

import itertools
import logging
import secrets
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from aiohttp import web

from ibkr_bridge.sim.api_host.authority import Authority
from ibkr_bridge.sim.api_host.checks import Checks
from ibkr_bridge.sim.api_host.handshake import Handshake
from ibkr_bridge.sim.api_host.keys import UserKeys, load_public_key, read_group, usual_keys
from ibkr_bridge.sim.api_host.oauth_request import OAuthRequest, RefusedError, read_authorization
from ibkr_bridge.sim.api_host.registration import Registration, UserMarket
from ibkr_bridge.sim.api_host.registry import AccessToken, Consumer, LiveSession, Registry
from ibkr_bridge.sim.api_host.rules import Rules
from ibkr_bridge.sim.clock import Calendar, FastClock, SimClock
from ibkr_bridge.sim.market.dispatch import MarketResponse, ok_response
from ibkr_bridge.sim.market.server import API, MAX_BODY_BYTES, NOT_FOUND
from ibkr_bridge.sim.market.session_calls import session_id
from ibkr_bridge.sim.market.stream import is_socket
from ibkr_bridge.sim.market.tampering import web_response
from ibkr_bridge.sim.request_log import LoggedRequest, RequestLog

CONSUMER_KEY = "TESTCONSX"
OAUTH = API + "/oauth/"
UNAUTHORIZED = MarketResponse(401, b"", "text/plain")


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
        self.registry = Registry()
        calendar = Calendar(self.clock)
        self.checks = Checks(self.registry, self.rules, calendar)
        self.handshake = Handshake(self.registry, self.checks, self.rules, calendar, self._open_login, self._end_login)
        self._market_options = {**market, "pacing": pacing}
        self._markets: dict[str, UserMarket] = {}
        self._authority = Authority() if tls else None
        self._runner: web.AppRunner | None = None
        self._port = port
        self._traces = itertools.count(secrets.randbelow(90_000) + 10_000)
        self._oauth_calls: dict[str, Callable[[OAuthRequest, float], object]] = {
            "POST /live_session_token": self.handshake.answer,
        }

    @property
    def url(self) -> str:
        """The address of the host, without a path."""
        return f"{'https' if self._authority else 'http'}://127.0.0.1:{self._port}"

    @property
    def port(self) -> int:
        """The port on 127.0.0.1."""
        return self._port

    @property
    def ca_file(self) -> Path:
        """The certificate that a client must trust, if the host speaks HTTPS."""
        if self._authority is None:
            raise ValueError("this host speaks plain HTTP")
        return self._authority.ca_file

    async def start(self) -> None:
        """Listen."""
        app = web.Application(client_max_size=MAX_BODY_BYTES)
        app.router.add_route("*", "/{anything:.*}", self._serve)
        quiet = logging.getLogger("ibkr_bridge.sim.api_host")
        self._runner = web.AppRunner(app, access_log=None, logger=quiet, shutdown_timeout=0.01)
        await self._runner.setup()
        tls = self._authority.server_tls() if self._authority else None
        await web.TCPSite(self._runner, "127.0.0.1", self._port, ssl_context=tls).start()
        self._port = self._runner.addresses[0][1]
        self.checks.scheme, self.checks.own_host = ("https" if tls else "http"), f"127.0.0.1:{self._port}"

    async def stop(self) -> None:
        """Stop listening; calls in progress are dropped, and what users have stays."""
        async with AsyncExitStack() as stack:
            for market in self._markets.values():
                stack.push_async_callback(market.stop)
            if self._runner is not None:
                for caller in self._runner.server.connections if self._runner.server else ():
                    if caller.transport is not None:
                        caller.transport.abort()
                stack.push_async_callback(self._runner.cleanup)
                self._runner = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()
        if self._authority is not None:
            self._authority.close()

    def calls(self, part: str = "") -> list[LoggedRequest]:
        """What reached the host and has `part` in its target, of all users."""
        return self.log.calls(part)

    async def wait_for_calls(self, part: str = "", count: int = 1) -> list[LoggedRequest]:
        """Wait until at least `count` calls whose target contains `part` have arrived."""
        return await self.log.wait_for_calls(part, count)

    def register(
        self,
        username: str,
        consumer_key: str = CONSUMER_KEY,
        *,
        accounts: tuple[str, ...] = (),
        keys: UserKeys | None = None,
        is_paper: bool = True,
    ) -> Registration:
        """Register a username, as its user does on IBKR's page; without `keys` it gets the usual ones."""
        keys = keys or usual_keys()
        files = (keys.signature_public_pem, keys.encryption_public_pem, keys.dhparam_pem)
        return self._register(username, consumer_key, files, keys, accounts=accounts, is_paper=is_paper)

    def _register(
        self,
        username: str,
        consumer_key: str,
        files: tuple[str, str, str],
        keys: UserKeys | None,
        *,
        accounts: tuple[str, ...],
        is_paper: bool,
    ) -> Registration:
        consumer = self._find_or_add_consumer(consumer_key.upper(), files)
        token = self.registry.add_token(consumer, username, is_paper=is_paper)
        market = self._markets.get(username)
        if market is None:
            market = UserMarket(clock=self.clock, accounts=accounts, live=not is_paper, **self._market_options)
            market.host_port = lambda: self._port
            self._markets[username] = market
        return Registration(
            username, consumer.key, token.token, token.encrypted_secret(), keys, token=token, market=market
        )

    def _find_or_add_consumer(self, key: str, files: tuple[str, str, str]) -> Consumer:
        signature, encryption, group = load_public_key(files[0]), load_public_key(files[1]), read_group(files[2])
        consumer = self.registry.consumers.setdefault(key, Consumer(key, signature, encryption, group))
        if (consumer.signature_key, consumer.encryption_key, consumer.group) != (signature, encryption, group):
            raise ValueError(f"{key} is registered with other keys")
        return consumer

    def _open_login(self, token: AccessToken, now: float, ends_at: float) -> str:
        name = f"live-session-{secrets.token_hex(8)}"
        self._markets[token.username].market.world.sessions.add_login(name, now, ends_at)
        return name

    def _end_login(self, session: LiveSession) -> None:
        self._markets[session.access_token.username].market.world.sessions.drop_login(session.login)

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        try:
            body = await request.read()
        except ConnectionError:  # there is no client to answer
            return web_response(NOT_FOUND)
        headers = tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in request.raw_headers)
        logged = LoggedRequest(request.method, request.raw_path, headers, body, self.clock.now())
        self.log.add(logged)
        try:
            return await self._answer(request, logged)
        except RefusedError as refusal:
            return web_response(self._refusal(refusal))

    async def _answer(self, request: web.Request, logged: LoggedRequest) -> web.StreamResponse:
        if not logged.path.startswith(API + "/"):
            return web_response(NOT_FOUND)
        if is_socket(request):
            return await self._serve_socket(request)
        if logged.path.startswith(OAUTH):
            call = self._oauth_calls.get(f"{logged.method} /{logged.path.removeprefix(OAUTH)}")
            return web_response(ok_response(call(_read_oauth(logged), logged.at)) if call else NOT_FOUND)
        session = self._authenticate(logged)
        if session is None:
            return web_response(UNAUTHORIZED)
        response = await self._markets[session.access_token.username].market.serve(request, session.login)
        if logged.path == API + "/tickle" and response.status == 200:
            session.session_id = session_id(session.login)
        return response

    def _authenticate(self, logged: LoggedRequest) -> LiveSession | None:
        """The live session of a signed call; None if it has none that lasts.

        Raises:
            RefusedError: the OAuth layer says why.
        """
        request = _read_oauth(logged)
        consumer = self.checks.find_consumer(request, logged.at)
        session = self._find_live_session(request.parameters.get("oauth_token", ""), logged.at)
        if session is None or session.access_token.consumer is not consumer:
            return None
        self.checks.check_freshness(request, "HMAC-SHA256", logged.at)
        self.checks.check_hmac(request, session)
        return session

    def _find_live_session(self, token: str, now: float) -> LiveSession | None:
        session = self.registry.sessions.get(token)
        is_over = session is None or now >= session.ends_at or session.access_token.is_revoked
        return None if is_over else session

    async def _serve_socket(self, request: web.Request) -> web.StreamResponse:
        token = request.query.get("oauth_token", "")
        session = self._find_live_session(token, self.clock.now())
        access_token = self.registry.tokens.get(token)
        if access_token is None:
            return web_response(UNAUTHORIZED)
        has_cookie = session is not None and session.session_id is not None
        is_open = has_cookie and session is not None and request.cookies.get("api") == session.session_id
        login = session.login if is_open and session is not None else "no login"
        return await self._markets[access_token.username].market.serve(request, login)

    def _refusal(self, refusal: RefusedError) -> MarketResponse:
        text = f"id: {next(self._traces)}, error: {refusal.text}"
        return ok_response({"error": text, "statusCode": refusal.status}, refusal.status)


def _read_oauth(logged: LoggedRequest) -> OAuthRequest:
    parameters = read_authorization(logged.header("Authorization"))
    return OAuthRequest(logged.method, logged.path, logged.query, logged.header("Host") or "", parameters)
