"""The calls about the session: login pages, the Gateway's own calls, status, tickle, logout.

The Gateway makes about half of them by itself after a login. IBKR answers a call with a `machineId` with a challenge,
and the brokerage session is open as soon as the response to the challenge arrives.
"""

from __future__ import annotations

import hashlib
from typing import Any

from ibkr_bridge.sim.market.dispatch import (
    MarketRequest,
    MarketResponse,
    RequiredSession,
    Route,
    error_response,
    ok_response,
)
from ibkr_bridge.sim.market.sessions import Contradiction
from ibkr_bridge.sim.market.world import World

USER = 123456789
NAME = "simulated"
HTML = "text/html;charset=utf-8"
LOGIN_COOKIE = "XYZAB_AM.LOGIN"
SERVER = {"serverName": "JifN19053", "serverVersion": "Build 10.25.0p, Dec 5, 2023 5:48:12 PM"}


def describe_session(world: World, now: float) -> dict[str, Any]:
    """The brokerage session as IBKR describes it."""
    sessions = world.sessions
    return {
        "authenticated": sessions.shows_authenticated(now),
        "established": sessions.is_established(now),
        "competing": sessions.is_competing,
        "connected": sessions.contradiction is not Contradiction.DISCONNECTED,
        "message": "",
        "MAC": "98:F2:B3:23:BF:A0",
        "serverInfo": SERVER,
        "fail": "",
    }


def status(world: World, request: MarketRequest) -> MarketResponse:
    """The state of the brokerage session."""
    return ok_response(describe_session(world, request.now))


def tickle(world: World, request: MarketRequest) -> MarketResponse:
    """The keep-alive; its response also describes the login and the brokerage session."""
    login = world.sessions.find_login(request.login, request.now)
    remaining_s = login.remaining_s(request.now) if login else 0.0
    body = {
        "session": session_id(request.login),
        "ssoExpires": int(remaining_s * 1000),
        "collission": False,
        "userId": USER,
        "hmds": {"error": "no bridge"},
        "iserver": {"authStatus": describe_session(world, request.now)},
    }
    if world.has_short_tickle:
        body = {name: value for name, value in body.items() if name not in ("ssoExpires", "collission", "userId")}
    return ok_response(body)


def session_id(login: str | None) -> str:
    """What `/tickle` calls the session of a login."""
    return _hex_digest(f"{login}")


def init(world: World, request: MarketRequest) -> MarketResponse:
    """Open the brokerage session, with the API's form of the call or with the Gateway's."""
    form = request.form
    if "machineId" in form:
        return ok_response({"challenge": _hex_digest(f"challenge of {request.login}")})
    if form.get("publish") is not True:
        return error_response(500, "publish must be true")
    world.sessions.open_brokerage(request.now, compete=form.get("compete") is True)
    return status(world, request)


def respond(world: World, request: MarketRequest) -> MarketResponse:
    """Take the Gateway's response to the challenge; the Gateway always competes."""
    world.sessions.open_brokerage(request.now, compete=True, at_once=True)
    return status(world, request)


def logout(world: World, request: MarketRequest) -> MarketResponse:
    """End the login and the brokerage session, by GET as well as by POST."""
    world.sessions.log_out()
    return ok_response({"status": True})


def validate(world: World, request: MarketRequest) -> MarketResponse:
    """The user who is logged in, and the time that remains."""
    login = world.sessions.find_login(request.login, request.now)
    if login is None:
        return ok_response({"RESULT": False}, 401)
    body = {
        "USER_ID": USER,
        "USER_NAME": NAME,
        "RESULT": True,
        "AUTH_TIME": world.calendar.epoch_ms(login.created_at),
        "SF_ENABLED": False,
        "IS_FREE_TRIAL": False,
        "CREDENTIAL": NAME,
        "IP": "127.0.0.1",
        "EXPIRES": int(login.remaining_s(request.now) * 1000),
        "QUALIFIED_FOR_MOBILE_AUTH": None,
        "LANDING_APP": "UNIVERSAL",
        "IS_MASTER": False,
        "lastAccessed": world.calendar.epoch_ms(request.now),
        "LOGIN_TYPE": 1 if world.live else 2,
        "PAPER_USER_NAME": "" if world.live else NAME,
        "features": {"env": "PROD", "wlms": True, "realtime": True, "bond": True, "optionChains": True},
        "region": "NJ",
    }
    return ok_response(body)


def login_page(world: World, request: MarketRequest) -> MarketResponse:
    """The login page for a person: a simulated login needs no password, only a link."""
    page = "<html><body><h1>Simulated login</h1><a href='/sso/Dispatcher'>Log in</a></body></html>"
    return MarketResponse(200, page.encode(), HTML, (("Set-Cookie", "URL_PARAM=forwardTo%3D22; Path=/sso"),))


def dispatcher(world: World, request: MarketRequest) -> MarketResponse:
    """The end of the login pages: cookies, and a redirect with an empty body."""
    login = world.sessions.log_in(request.now)
    cookies = (f"XYZAB={login.token}", f"{LOGIN_COOKIE}={login.token}", f"USERID={USER}", "REGION=NJ", "web=1")
    headers = (*(("Set-Cookie", f"{cookie}; Path=/; Secure; HttpOnly") for cookie in cookies),)
    return MarketResponse(302, b"", HTML, (("Location", "/portal.proxy/v1/portal/"), *headers))


def _constant(body: object) -> Any:
    return lambda world, request: ok_response(body)


def _hex_digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]


SSO_ROUTES = (
    Route("GET POST", "/sso/Login", login_page, RequiredSession.NOTHING),
    Route("GET POST", "/sso/Dispatcher", dispatcher, RequiredSession.NOTHING),
    Route("GET POST", "/sso/Authenticator", _constant({"result": True}), RequiredSession.NOTHING),
    Route("GET POST", "/sso/ping", _constant({"result": "true"}), RequiredSession.LOGIN),
    Route("GET POST", "/sso/Logout", logout, RequiredSession.LOGIN),
)

ROUTES = (
    Route("GET POST", "/tickle", tickle),
    Route("GET POST", "/iserver/auth/status", status),
    Route("POST", "/iserver/auth/ssodh/init", init),
    Route("POST", "/iserver/auth/ssodh/response", respond),
    Route("GET POST", "/logout", logout),
    Route("GET", "/sso/validate", validate),
    Route("GET POST", "/one/user", _constant({"userName": NAME, "userId": USER, "features": {}})),
    Route("GET POST", "/ssodh/init", _constant({"success": True})),
    Route("GET POST", "/ssodh/st", _constant({"st": _hex_digest("st")})),
)
