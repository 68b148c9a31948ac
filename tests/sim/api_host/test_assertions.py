"""OAuth 2.0: an organisation gets sessions of the usernames that it administers."""

from __future__ import annotations

import base64
import functools
import json
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from ibkr_bridge.sim.api_host import ApiHost, usual_keys
from ibkr_bridge.sim.api_host.assertions import ASSERTION_TYPE
from tests.clocks import ManualClock
from tests.sim.api_host.conftest import Connect
from tests.sim.api_host.direct_client import API, DirectClient, Reply


@functools.cache
def organisation_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=3072)


def public_pem() -> str:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return organisation_key().public_key().public_bytes(serialization.Encoding.PEM, form).decode()


def sign(header: dict[str, Any], claims: dict[str, Any]) -> str:
    """A token in compact form, signed with the organisation's key."""
    parts = [base64.urlsafe_b64encode(json.dumps(each).encode()).decode().rstrip("=") for each in (header, claims)]
    signature = organisation_key().sign(".".join(parts).encode(), padding.PKCS1v15(), hashes.SHA256())
    return ".".join([*parts, base64.urlsafe_b64encode(signature).decode().rstrip("=")])


@dataclass
class Organisation:
    """The organisation's program, whose assertions can be bent."""

    client: DirectClient
    clock: ManualClock
    header: dict[str, Any] = field(default_factory=lambda: {"kid": "main"})
    claims: dict[str, Any] = field(default_factory=dict)
    scope: str = "sso-sessions.write"
    bearer: str = ""

    def assertion(self, **claims: Any) -> str:
        now = int(self.clock.utc().timestamp())
        all_claims = {"iss": "shop", "iat": now - 10, "exp": now + 20, **claims, **self.claims}
        return sign({"alg": "RS256", "typ": "JWT", **self.header}, all_claims)

    async def fetch_token(self) -> Reply:
        form = {
            "grant_type": "client_credentials",
            "client_assertion_type": ASSERTION_TYPE,
            "client_assertion": self.assertion(sub="shop", aud="/token"),
            "scope": self.scope,
        }
        reply = await self.client.send("POST", "/oauth2/api/v1/token", data=form)
        self.bearer = reply.body.get("access_token", "")
        return reply

    async def open_session(self) -> Reply:
        claims = {"credential": "anna", "ip": "127.0.0.1", "exp": int(self.clock.utc().timestamp()) + 86400}
        self.client.headers["Content-Type"] = "application/jwt"
        reply = await self.send("POST", "/gw/api/v1/sso-sessions", data=self.assertion(**claims))
        del self.client.headers["Content-Type"]
        if reply.status == 200:
            self.bearer = reply.body["access_token"]
        return reply

    async def send(self, method: str, target: str, **options: Any) -> Reply:
        return await self.client.send(method, target, f"Bearer {self.bearer}", **options)


@pytest.fixture
def shop(host: ApiHost, connect: Connect, clock: ManualClock) -> Organisation:
    """An organisation that administers anna, and ben whom it does not."""
    host.add_user("ben")
    host.add_user("anna")
    host.oauth2.register("shop", {"main": public_pem()}, ("anna",))
    return Organisation(connect(host.register("other")), clock)


@pytest.fixture
async def signed_in(shop: Organisation) -> Organisation:
    await shop.fetch_token()
    await shop.open_session()
    return shop


async def test_two_assertions_open_a_session(shop: Organisation, host: ApiHost) -> None:
    token = (await shop.fetch_token()).body
    assert (token["token_type"], token["expires_in"], token["scope"]) == ("Bearer", 86400, "sso-sessions.write")
    assert (await shop.send("GET", f"{API}/portfolio/accounts")).status == 401
    assert (await shop.open_session()).body["active"] is True
    accounts = (await shop.send("GET", f"{API}/portfolio/accounts")).body
    assert [row["id"] for row in accounts] == list(host.users.markets["anna"].market.world.accounts)
    assert (await shop.send("GET", f"{API}/sso/validate")).status == 200


@pytest.mark.parametrize(
    "claims",
    [
        {"iss": "thief"},
        {"sub": "thief"},
        {"aud": "https://api.ibkr.com/token"},
        {"exp": 1},
        {"exp": 10**12},
        {"iat": "x"},
    ],
)
async def test_a_wrong_assertion_gets_no_token(shop: Organisation, claims: dict[str, Any]) -> None:
    shop.claims = claims
    reply = await shop.fetch_token()
    assert reply.status == 401
    assert reply.headers["Content-Type"].startswith("application/problem+json")


async def test_an_unknown_key_gets_no_token(shop: Organisation) -> None:
    shop.header = {"kid": "other"}
    assert (await shop.fetch_token()).status == 401


async def test_a_client_that_is_turned_off_gets_no_token(shop: Organisation, host: ApiHost) -> None:
    host.oauth2.clients["shop"].is_enabled = False
    assert (await shop.fetch_token()).status == 401


async def test_a_form_without_the_grant_is_refused(shop: Organisation) -> None:
    assert (await shop.client.send("POST", "/oauth2/api/v1/token", data={"scope": "x"})).status == 400


@pytest.mark.parametrize(
    ("claims", "status"),
    [
        ({"ip": "192.0.2.1"}, 403),
        ({"ip": "192.0.2.1", "alternativeIps": ["127.0.0.1"]}, 200),
        ({"credential": "ben"}, 403),
        ({"exp": 1}, 401),
    ],
)
async def test_what_a_session_wants(shop: Organisation, claims: dict[str, Any], status: int) -> None:
    await shop.fetch_token()
    shop.claims = claims
    assert (await shop.open_session()).status == status


async def test_a_session_wants_its_scope_and_its_bearer(shop: Organisation) -> None:
    shop.scope = "echo.read"
    await shop.fetch_token()
    assert (await shop.open_session()).status == 403
    shop.bearer = "none"
    assert (await shop.open_session()).status == 401


async def test_a_session_ends_after_a_day(signed_in: Organisation, clock: ManualClock) -> None:
    clock.advance(86_399)
    assert (await signed_in.send("GET", f"{API}/portfolio/accounts")).status == 200
    clock.advance(1)
    assert (await signed_in.send("GET", f"{API}/portfolio/accounts")).status == 401


@pytest.mark.parametrize("name", ["sessionToken", "bearer_token"])
async def test_the_stream_takes_both_names_of_the_token(signed_in: Organisation, name: str) -> None:
    cookie = (await signed_in.send("POST", f"{API}/tickle")).body["session"]
    url = f"{signed_in.client.host.url}{API}/ws?{name}={signed_in.bearer}"
    session: aiohttp.ClientSession = signed_in.client.session
    async with session.ws_connect(url, headers={"Cookie": f"api={cookie}"}) as socket:
        assert "success" in await socket.receive_str()


async def test_short_keys_are_refused(host: ApiHost) -> None:
    with pytest.raises(ValueError, match="3072"):
        host.oauth2.register("shop", {"main": usual_keys().signature_public_pem}, ())
