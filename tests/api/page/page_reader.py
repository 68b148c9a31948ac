"""A reader of the operator's page: it trades a token for the cookie, and sends that with its requests."""

from __future__ import annotations

from http.cookies import SimpleCookie

from ibkr_bridge.server.credentials import PAGE_COOKIE
from tests.harness import KEY, Harness


async def token_for_page(harness: Harness, *, key: str = KEY, scope: str = "read", expires_in: int = 60) -> str:
    """A token as `bridge.py open` requests it."""
    body = {"audience": "page", "scope": scope, "expires_in": expires_in}
    reply = await harness.post("/auth/token", body, key=key)
    return str(reply.json["token"])


async def cookie_of(harness: Harness, token: str) -> dict[str, str]:
    """The header with the cookie that the bridge gives for a token."""
    headers = {"Authorization": f"Bearer {token}"}
    reply = await harness.post("/page/session", key=None, headers=headers)
    return {"Cookie": f"{PAGE_COOKIE}={SimpleCookie(reply.headers['Set-Cookie'])[PAGE_COOKIE].value}"}


async def open_page(harness: Harness, *, scope: str = "read") -> dict[str, str]:
    """The header with a cookie of a new page."""
    return await cookie_of(harness, await token_for_page(harness, scope=scope))
