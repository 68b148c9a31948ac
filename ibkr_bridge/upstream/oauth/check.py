"""Checks a credential at IBKR without a brokerage session: one handshake, one signed read, and one probe at most."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from typing import NamedTuple

from ibkr_bridge.calls.header_policy import request_headers
from ibkr_bridge.calls.messages import Call, Response, read_fully
from ibkr_bridge.calls.upstream_port import BeforeSending
from ibkr_bridge.clock import Clock
from ibkr_bridge.errors import GatewayError
from ibkr_bridge.ibkr.catalogue import PORTFOLIO_ACCOUNTS, api_path
from ibkr_bridge.oauth.base_string import RSA_SHA256, authorization_header, base_string, parameters
from ibkr_bridge.oauth.credential import OAuth1Credential
from ibkr_bridge.oauth.dh_parameters import ParametersProblem, read_dh_parameters
from ibkr_bridge.oauth.diagnosis import Artefact, Facts
from ibkr_bridge.oauth.refusals import refusal_of, words_of
from ibkr_bridge.oauth.signing import KeyProblem, WrongKey, decrypt_secret, load_rsa_key, sign_rsa
from ibkr_bridge.oauth.signing_keys import OAuth1Keys
from ibkr_bridge.oauth.third_party import CALLBACK, REQUEST_TOKEN_PATH
from ibkr_bridge.upstream.http.client import HttpClient
from ibkr_bridge.upstream.oauth.access import AccessRefused
from ibkr_bridge.upstream.oauth.handshake import Handshake
from ibkr_bridge.upstream.oauth.posts import MAX_ANSWER_BYTES, TIMEOUT_S, new_nonce, post_once, timestamp
from ibkr_bridge.upstream.oauth.writers import PlainWriter


class _SecretLengths(NamedTuple):
    """How long the token secret is when each of the two keys decrypts it; 0: that key cannot have encrypted it."""

    with_encryption_key: int
    with_signature_key: int


class CredentialCheck:
    """One check of one credential.

    Args:
        http: sends the calls.
        base: scheme, host and port as they are signed.
        credential: what is checked.
    """

    def __init__(self, http: HttpClient, base: str, credential: OAuth1Credential, clock: Clock) -> None:
        self._http = http
        self._base = base
        self._credential = credential
        self._clock = clock

    async def run(self) -> Facts:
        """Try everything in its order, and stop where the rest would show nothing."""
        unreadable = await asyncio.to_thread(_unreadable_part, self._credential)
        if unreadable is not None:
            return Facts(unreadable)
        lengths = await asyncio.to_thread(_secret_lengths, self._credential)
        if not lengths.with_encryption_key:
            return Facts(secret_bytes=0, secret_bytes_swapped=lengths.with_signature_key)
        try:
            skew_s, status = await self._look_at_address()
        except GatewayError as exc:
            return Facts(unreachable=exc.detail)
        if status == 404:
            return Facts(unreachable="another program answers there")
        return await self._try_handshake(skew_s, lengths)

    async def _look_at_address(self) -> tuple[float, int]:
        """How far IBKR's clock is ahead, and the status of a call that nobody has signed."""
        response = await self._get((), api_path(PORTFOLIO_ACCOUNTS))
        return _skew_s(response, self._clock), response.status

    async def _try_handshake(self, skew_s: float, lengths: _SecretLengths) -> Facts:
        keys = OAuth1Keys.of(self._credential)
        handshake = Handshake(self._http, self._base, lambda: keys, self._clock)
        try:
            access = await handshake.make()
        except AccessRefused as exc:
            probe = await self._probe(keys)
            return Facts(None, "", skew_s, exc.refusal, probe, *lengths)
        except GatewayError as exc:
            return Facts(unreachable=exc.detail)
        target = api_path(PORTFOLIO_ACCOUNTS)
        header = access.prepare("GET", self._base + target)()
        response = await self._get((("Authorization", header),), target)
        refusal = None if response.status == 200 else refusal_of(response.status, response.body)
        return Facts(None, "", skew_s, refusal, None, *lengths)

    async def _probe(self, keys: OAuth1Keys) -> str | None:
        """IBKR's words about a request that needs the signature key alone. A user's own consumer gets no token for it,
        but IBKR looks at the signature first (so the simulator; nobody has documented the order).
        """
        credential, url = self._credential, self._base + REQUEST_TOKEN_PATH
        values = parameters(
            *(credential.consumer_key, RSA_SHA256, new_nonce(), timestamp(self._clock)), oauth_callback=CALLBACK
        )
        signature = await asyncio.to_thread(sign_rsa, keys.signature_key, base_string("POST", url, values))
        header = authorization_header(credential.realm, values, signature)
        try:
            response = await post_once(self._http, self._base, REQUEST_TOKEN_PATH, (("Authorization", header),))
        except GatewayError:
            return None
        return words_of(response.body)

    async def _get(self, headers: tuple[tuple[str, str], ...], target: str) -> Response:
        call = Call("GET", target, (*request_headers(()), *headers))
        response = await self._http.send(call, PlainWriter(self._base), BeforeSending(), timeout_s=TIMEOUT_S)
        return await read_fully(response, MAX_ANSWER_BYTES)


def _unreadable_part(credential: OAuth1Credential) -> Artefact | None:
    """The first part that is not what it should be."""
    reads: tuple[tuple[Artefact, Callable[[], object]], ...] = (
        (Artefact.SIGNATURE_KEY, lambda: load_rsa_key(credential.signature_key.encode())),
        (Artefact.ENCRYPTION_KEY, lambda: load_rsa_key(credential.encryption_key.encode())),
        (Artefact.SECRET, lambda: _secret_length(credential.encryption_key, credential.access_token_secret)),
        (Artefact.PARAMETERS, lambda: read_dh_parameters(credential.dh_parameters)),
    )
    for artefact, read in reads:
        try:
            read()
        except (KeyProblem, ParametersProblem):
            return artefact
    return None


def _secret_lengths(credential: OAuth1Credential) -> _SecretLengths:
    """Of a credential whose parts can be read. A signature key of another size cannot have encrypted the secret."""
    secret = credential.access_token_secret
    try:
        swapped = _secret_length(credential.signature_key, secret)
    except KeyProblem:
        swapped = 0
    return _SecretLengths(_secret_length(credential.encryption_key, secret), swapped)


def _secret_length(key: str, secret: str) -> int:
    """The length of the secret as a key decrypts it; 0 if that key cannot have encrypted it."""
    try:
        return len(decrypt_secret(load_rsa_key(key.encode()), secret))
    except WrongKey:
        return 0


def _skew_s(response: Response, clock: Clock) -> float:
    """How far the clock of a response is ahead; 0 if it has none."""
    try:
        sent = parsedate_to_datetime(response.headers.get("Date", ""))
        return (sent - clock.utc()).total_seconds()
    except (TypeError, ValueError):
        return 0.0
