"""The two calls with which a user of a company gives it access (OAuth 1.0a, third party)."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable
from typing import TypeVar

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from ibkr_bridge.clock import Clock
from ibkr_bridge.errors import GatewayProtocolError
from ibkr_bridge.ibkr.bodies import parse_json
from ibkr_bridge.oauth.credential import Consumer, ThirdPartyCredential
from ibkr_bridge.oauth.refusals import Refusal, refusal_of, words_of
from ibkr_bridge.oauth.signing import load_rsa_key
from ibkr_bridge.oauth.third_party import (
    ACCESS_TOKEN_PATH,
    REQUEST_TOKEN_PATH,
    AnswerUnusable,
    access_token_header,
    credential_of,
    request_token_header,
    request_token_of,
)
from ibkr_bridge.upstream.http.client import HttpClient
from ibkr_bridge.upstream.oauth.access import AccessRefused
from ibkr_bridge.upstream.oauth.posts import new_nonce, post_once, timestamp

Value = TypeVar("Value")
MakeHeader = Callable[[Consumer, RSAPrivateKey, str, str, int], str]
"""Signs a call: consumer, key, address, nonce, time."""


class Connect:
    """Makes request tokens, and trades verifiers for access tokens.

    Args:
        http: sends the calls.
        base: scheme, host and port as they are signed.
        consumer: the company.
    """

    def __init__(self, http: HttpClient, base: str, consumer: Consumer, clock: Clock) -> None:
        self._http = http
        self._base = base
        self._consumer = consumer
        self._clock = clock

    async def request_token(self) -> str:
        """A request token, with which the user is sent to IBKR's page (`ibkr_pages.authorize_page`).

        Raises:
            AccessRefused: IBKR refuses; it does so to consumers of the self-service.
            GatewayError: IBKR did not answer, or nothing usable.
            KeyProblem: the signature key cannot be used.
        """
        answer = await self._post(REQUEST_TOKEN_PATH, request_token_header)
        return _usable(lambda: request_token_of(answer))

    async def access_token(self, request_token: str, verifier: str) -> ThirdPartyCredential:
        """The credential of the user who came back from IBKR's page.

        Raises:
            AccessRefused: IBKR refuses, for example a verifier that was used.
            GatewayError: IBKR did not answer, or nothing usable.
            KeyProblem: the signature key cannot be used.
        """
        make_header = functools.partial(access_token_header, request_token=request_token, verifier=verifier)
        answer = await self._post(ACCESS_TOKEN_PATH, make_header)
        return _usable(lambda: credential_of(self._consumer, answer))

    async def _post(self, path: str, make_header: MakeHeader) -> object:
        """Send a signed call, and return the parsed answer."""
        try:
            header = await asyncio.to_thread(self._header, self._base + path, make_header)
        except AnswerUnusable as exc:
            raise AccessRefused(Refusal.UNREADABLE, str(exc)) from None
        response = await post_once(self._http, self._base, path, (("Authorization", header),))
        if response.status != 200:
            refusal = refusal_of(response.status, response.body) or Refusal.UNREADABLE
            raise AccessRefused(refusal, words_of(response.body))
        return parse_json(response.body)

    def _header(self, url: str, make_header: MakeHeader) -> str:
        key = load_rsa_key(self._consumer.signature_key.encode())
        return make_header(self._consumer, key, url, new_nonce(), timestamp(self._clock))


def _usable(read: Callable[[], Value]) -> Value:
    try:
        return read()
    except AnswerUnusable as exc:
        raise GatewayProtocolError(str(exc)) from None
