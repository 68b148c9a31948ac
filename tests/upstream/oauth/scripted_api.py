"""The far side of IBKR's Web API for tests: it derives true tokens and verifies every signature. It has no market.

The computations are written here once more, without the code of the bridge, so that both would have to be wrong alike.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import hmac
import json
import re
import secrets
import ssl
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from urllib.parse import quote, unquote

from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.hashes import SHA256
from yarl import URL

from ibkr_bridge.clock import Clock, SystemClock
from ibkr_bridge.events import Bus
from ibkr_bridge.oauth.signing_keys import OAuth1Keys
from ibkr_bridge.upstream.http.client import HttpClient
from ibkr_bridge.upstream.oauth.access import AccessKeeper
from ibkr_bridge.upstream.oauth.client import ApiClient
from ibkr_bridge.upstream.oauth.handshake import Handshake
from ibkr_bridge.upstream.oauth.traits import oauth_traits
from ibkr_bridge.upstream.oauth.wording import api_wording
from tests.oauth.credentials import ACCESS_TOKEN, CONSUMER_KEY, SECRET, credential, signature_key
from tests.oauth.vectors import GROUP_14
from tests.upstream.gateway.scripted_gateway import TEST_TIMEOUT_S, Connection, Request, ScriptedGateway

WORDING, TRAITS = api_wording("127.0.0.1"), oauth_traits(10, is_portfolio_only=False)
HANDSHAKE = "/v1/api/oauth/live_session_token"
DAY_MS = 24 * 3600 * 1000
Answer = Callable[[Request, Connection], Awaitable[None]]


def response(status: int, body: object = None, content_type: str = "application/json") -> bytes:
    """A response with a body in JSON, or one of bytes."""
    data = body if isinstance(body, bytes) else json.dumps({} if body is None else body).encode()
    head = f"HTTP/1.1 {status} Status\r\nContent-Type: {content_type}\r\nContent-Length: {len(data)}\r\n\r\n"
    return head.encode() + data


@dataclass
class ApiRules:
    """How the far side answers; a test changes it as it goes."""

    handshake_refusals: list[bytes] = field(default_factory=list)
    """Whole responses for the next handshakes; then they succeed."""
    mismatch: bool = False
    expiration_ms: Callable[[], int] = lambda: int(time.time() * 1000) + DAY_MS


class ScriptedApi:
    """A server that signs in one consumer.

    Args:
        answer: serves the calls whose signature is good.
    """

    def __init__(self, answer: Answer) -> None:
        self.rules = ApiRules()
        self.answer = answer
        self.handshakes = 0
        self.tokens: list[bytes] = []
        """The live session tokens that are valid."""
        self.nonces: list[str] = []
        self.refused = 0
        self.server = ScriptedGateway(self.serve)

    @property
    def calls(self) -> list[Request]:
        """The requests besides handshakes."""
        return [each for each in self.server.requests if not each.target.startswith(HANDSHAKE)]

    async def serve(self, request: Request, connection: Connection) -> None:
        """Serve one request: a script of `ScriptedGateway`."""
        if request.header("User-Agent") is None:
            await connection.send(response(403, b"<html>Reference #18</html>", "text/html"))
        elif request.method == "POST" and request.header("Content-Length") is None:
            await connection.send(response(411))
        elif request.target.startswith(HANDSHAKE):
            await connection.send(self._handshake(request))
        elif request.header("Upgrade") or self._is_signed(request):
            await self.answer(request, connection)
        else:
            self.refused += 1
            await connection.send(response(401, {"error": "id: 7, error: not authenticated", "statusCode": 401}))

    def _handshake(self, request: Request) -> bytes:
        self.handshakes += 1
        if self.rules.handshake_refusals:
            return self.rules.handshake_refusals.pop(0)
        values = self._values(request)
        base = SECRET.hex() + base_of(request, self.server.url, values)
        signature = base64.b64decode(values["oauth_signature"])
        signature_key().public_key().verify(signature, base.encode(), padding.PKCS1v15(), SHA256())
        assert values["oauth_signature_method"] == "RSA-SHA256"
        b = secrets.randbits(256)
        shared = pow(int(values["diffie_hellman_challenge"], 16), b, GROUP_14.p)
        token = hmac.digest(shared.to_bytes(shared.bit_length() // 8 + 1, "big"), SECRET, "sha1")
        self.tokens = [token]
        confirmation = hmac.digest(token, CONSUMER_KEY.encode(), "sha1").hex()
        return response(
            200,
            {
                "diffie_hellman_response": f"{pow(GROUP_14.g, b, GROUP_14.p):x}",
                "live_session_token_signature": "00" * 20 if self.rules.mismatch else confirmation,
                "live_session_token_expiration": self.rules.expiration_ms(),
            },
        )

    def _is_signed(self, request: Request) -> bool:
        values = self._values(request)
        self.nonces.append(values["oauth_nonce"])
        assert abs(int(values["oauth_timestamp"]) - time.time()) < 600
        base = base_of(request, self.server.url, values).encode()
        signatures = [base64.b64encode(hmac.digest(token, base, hashlib.sha256)).decode() for token in self.tokens]
        return values["oauth_signature_method"] == "HMAC-SHA256" and values["oauth_signature"] in signatures

    def _values(self, request: Request) -> dict[str, str]:
        header = request.header("Authorization") or ""
        assert header.startswith('OAuth realm="limited_poa", ')
        values = {name: unquote(value) for name, value in re.findall(r'(\w+)="([^"]*)"', header)}
        assert (values["oauth_consumer_key"], values["oauth_token"]) == (CONSUMER_KEY, ACCESS_TOKEN)
        return values


def new_access(api: ScriptedApi, http: HttpClient, clock: Clock | None = None, bus: Bus | None = None) -> AccessKeeper:
    """Access to the far side with the credential for tests."""
    clock = clock or SystemClock()
    keys = functools.partial(OAuth1Keys.of, credential())
    return AccessKeeper(Handshake(http, api.server.url, keys, clock), clock, bus or Bus())


def new_http(api: ScriptedApi) -> HttpClient:
    """What sends the calls."""
    return HttpClient(
        URL(api.server.url), WORDING, TEST_TIMEOUT_S, ssl.create_default_context(), TRAITS.abandoned_for_s
    )


def new_api_client(
    api: ScriptedApi, access: AccessKeeper | None = None, http: HttpClient | None = None, session_id: str = ""
) -> ApiClient:
    """The client of the far side."""
    http = http or new_http(api)
    access = access or new_access(api, http)
    tls = ssl.create_default_context()
    return ApiClient(api.server.url, http, access, TRAITS, WORDING, tls, lambda: session_id)


def base_of(request: Request, base: str, values: dict[str, str]) -> str:
    """The text that was signed, without a prepend."""
    signed = sorted((name, value) for name, value in values.items() if name not in ("realm", "oauth_signature"))
    joined = "&".join(f"{name}={value}" for name, value in signed)
    url = base + request.target.partition("?")[0]
    return "&".join((request.method, quote(url, safe="-._~"), quote(joined, safe="-._~")))
