"""A client of the simulated host, written from IBKR's description: it signs in and signs each call.

What it sends can be bent, so that a test sees the host refuse it.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import quote

import aiohttp
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from ibkr_bridge.sim.api_host import ApiHost, Registration
from ibkr_bridge.sim.api_host.keys import read_group
from tests.clocks import ManualClock

API = "/v1/api"
Parameters = dict[str, str]


@dataclass(frozen=True)
class Reply:
    """One answer of the host."""

    status: int
    text: str
    body: Any
    headers: Any


@dataclass
class DirectClient:
    """One user's program."""

    host: ApiHost
    registration: Registration
    session: aiohttp.ClientSession
    clock: ManualClock
    live_session_token: bytes = b""
    shared_bits: int = 0
    """The length of the number that the last handshake agreed on."""
    headers: dict[str, str] = field(default_factory=lambda: {"User-Agent": "test", "Accept": "*/*"})
    bend: Callable[[Parameters], None] = lambda parameters: None
    """Changes the parameters before they are signed."""
    signed_base: str = ""
    """The address that is signed, if another one than is called."""
    signed_query: str = ""
    """What is signed behind the path of a call."""
    signed_extra: Parameters = field(default_factory=dict)
    """Parameters of a call that are signed besides those of the header."""
    secret: bytes = b""
    """The decrypted secret, if another one than the registration's is to be used."""

    async def sign_in(self) -> Reply:
        """Do the handshake, and keep the live session token."""
        path, secret = f"{API}/oauth/live_session_token", self.secret or self._decrypt_secret()
        group, a = read_group(self.registration.dhparam_pem), secrets.randbits(256) | 1
        parameters = self._parameters("RSA-SHA256", diffie_hellman_challenge=f"{pow(group.g, a, group.p):x}")
        base = secret.hex() + self._base("POST", path, parameters)
        signature = _private(self.registration.signature_key_pem).sign(
            base.encode(), padding.PKCS1v15(), hashes.SHA256()
        )
        reply = await self.send("POST", path, self._header(parameters, signature))
        if reply.status == 200:
            shared = pow(int(reply.body["diffie_hellman_response"], 16), a, group.p)
            self.shared_bits = shared.bit_length()
            key = shared.to_bytes(shared.bit_length() // 8 + 1, "big")
            self.live_session_token = hmac.digest(key, secret, "sha1")
        return reply

    async def handshake_call(self, name: str, **parameters: str) -> Reply:
        """Make a call of third-party authorization, signed with RSA and without a secret."""
        path, signed = f"{API}/oauth/{name}", self._parameters("RSA-SHA256")
        del signed["oauth_token"]
        signed |= parameters
        signature = _private(self.registration.signature_key_pem).sign(
            self._base("POST", path, signed).encode(), padding.PKCS1v15(), hashes.SHA256()
        )
        return await self.send("POST", path, self._header(signed, signature))

    def use_token(self, access_token: str, access_token_secret: str) -> None:
        """Use another access token from now on."""
        self.registration = replace(
            self.registration, access_token=access_token, access_token_secret=access_token_secret
        )

    def token_signature(self) -> str:
        """What the host must have answered as the signature of the live session token."""
        return hmac.new(self.live_session_token, self.registration.consumer_key.encode(), hashlib.sha1).hexdigest()

    async def call(self, method: str, path: str, **options: Any) -> Reply:
        """Make one signed call; the query is not signed."""
        parameters = self._parameters("HMAC-SHA256")
        signed_path = API + path.partition("?")[0] + self.signed_query
        base = self._base(method, signed_path, parameters | self.signed_extra)
        signature = hmac.digest(self.live_session_token, base.encode(), "sha256")
        return await self.send(method, API + path, self._header(parameters, signature), **options)

    async def send(self, method: str, target: str, authorization: str = "", **options: Any) -> Reply:
        """Send one request as it is."""
        signed = {"Authorization": authorization} if authorization else {}
        headers = {**self.headers, **signed, **options.pop("headers", {})}
        if method == "POST" and "json" not in options and "data" not in options:
            options["data"] = b""
        async with self.session.request(method, self.host.url + target, headers=headers, **options) as response:
            text = await response.text()
            body = await response.json() if "json" in response.content_type else None
            return Reply(response.status, text, body, response.headers)

    def _parameters(self, method: str, **more: str) -> Parameters:
        parameters = {
            "oauth_consumer_key": self.registration.consumer_key,
            "oauth_nonce": secrets.token_hex(8),
            "oauth_signature_method": method,
            "oauth_timestamp": str(int(self.clock.utc().timestamp())),
            "oauth_token": self.registration.access_token,
            **more,
        }
        self.bend(parameters)
        return parameters

    def _base(self, method: str, path: str, parameters: Parameters) -> str:
        joined = "&".join(f"{name}={value}" for name, value in sorted(parameters.items()))
        url = (self.signed_base or self.host.url) + path
        return f"{method}&{quote(url, safe='')}&{quote(joined, safe='')}"

    def _header(self, parameters: Parameters, signature: bytes) -> str:
        signed = {**parameters, "oauth_signature": quote(base64.b64encode(signature).decode(), safe="")}
        pairs = ", ".join(f'{name}="{value}"' for name, value in sorted(signed.items()))
        return f'OAuth realm="{self.registration.realm}", {pairs}'

    def _decrypt_secret(self) -> bytes:
        data = base64.b64decode(self.registration.access_token_secret)
        return _private(self.registration.encryption_key_pem).decrypt(data, padding.PKCS1v15())


def _private(pem: str) -> rsa.RSAPrivateKey:
    key = serialization.load_pem_private_key(pem.encode(), password=None)
    assert isinstance(key, rsa.RSAPrivateKey)
    return key
