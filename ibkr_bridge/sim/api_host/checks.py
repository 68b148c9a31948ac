"""Whether IBKR's OAuth layer lets a request in: the consumer, the time, the nonce, and the signature itself."""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Iterator, Sequence
from urllib.parse import parse_qsl

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from ibkr_bridge.sim.api_host.arithmetic import base_string, hmac_signature
from ibkr_bridge.sim.api_host.oauth_request import PUBLIC_BASE, OAuthRequest, RefusedError
from ibkr_bridge.sim.api_host.registry import AccessToken, Consumer, LiveSession, Registry
from ibkr_bridge.sim.api_host.rules import Rules
from ibkr_bridge.sim.clock import Calendar

BAD_HANDSHAKE = "LST failed, Invalid signature"


class Checks:
    """The checks of one host. `scheme` and `own_host` are those of its socket."""

    def __init__(self, registry: Registry, rules: Rules, calendar: Calendar) -> None:
        self.scheme, self.own_host = "http", ""
        self._registry = registry
        self._rules = rules
        self._calendar = calendar
        self._nonces: dict[tuple[str, str], float] = {}

    def find_consumer(self, request: OAuthRequest, now: float) -> Consumer:
        """The consumer of a request.

        Raises:
            RefusedError: there is none of this name, or it is not yet or no longer active.
        """
        consumer = self._registry.consumers.get(request.parameters["oauth_consumer_key"])
        if consumer is None or not consumer.is_enabled or now < consumer.active_from:
            raise RefusedError("invalid consumer")
        consumer.use_due_keys(now)
        return consumer

    def find_token(self, request: OAuthRequest, consumer: Consumer) -> tuple[AccessToken, bytes]:
        """The access token of a handshake, and its secret.

        Raises:
            RefusedError: IBKR has no secret for this token and this consumer.
        """
        name = request.parameters.get("oauth_token", "")
        token = self._registry.tokens.get(name)
        if token is None or token.secret is None or token.is_revoked or token.consumer is not consumer:
            reason = f"No access secret key found for {name}" if self._rules.names_lost_secrets else ""
            raise RefusedError(f"LST failed, error: {reason}")
        return token, token.secret

    def check_freshness(self, request: OAuthRequest, method: str, now: float) -> None:
        """Check the method of the signature, its time and its nonce.

        Raises:
            RefusedError: one of them is wrong.
        """
        if request.parameters["oauth_signature_method"] != method:
            raise RefusedError("invalid signature method")
        try:
            age_s = self._epoch_s(now) - int(request.parameters["oauth_timestamp"])
        except ValueError:
            raise RefusedError("invalid timestamp") from None
        if abs(age_s) > self._rules.clock_tolerance_s:
            raise RefusedError("invalid timestamp")
        self._use_nonce((request.parameters["oauth_consumer_key"], request.parameters["oauth_nonce"]), now)

    def check_rsa(self, request: OAuthRequest, key: rsa.RSAPublicKey, prepend: str, refusal: str) -> None:
        """Check the signature of a handshake.

        Raises:
            RefusedError: it is wrong; with the text `refusal`.
        """
        for url in self._signed_urls(request):
            base = base_string(request.method, url, request.signed_parameters, prepend)
            if _fits(key, request.parameters["oauth_signature"], base):
                return
        raise RefusedError(refusal)

    def find_signer(self, request: OAuthRequest, sessions: Sequence[LiveSession]) -> LiveSession:
        """The live session whose token signed an ordinary call; the form of the signature is counted.

        Raises:
            RefusedError: none of them did.
        """
        signature = request.parameters["oauth_signature"].encode()
        for form, base in self._hmac_forms(request):
            for session in sessions:
                if hmac.compare_digest(hmac_signature(session.key, base).encode(), signature):
                    self._rules.forms[form] += 1
                    return session
        raise RefusedError("Invalid signature")

    def _hmac_forms(self, request: OAuthRequest) -> Iterator[tuple[str, str]]:
        """The texts that may have been signed, with the name of each form."""
        method, parameters = request.method, request.signed_parameters
        for url in self._signed_urls(request):
            yield "without the query", base_string(method, url, parameters)
            if request.query and not self._rules.is_strict:
                query = dict(parse_qsl(request.query, keep_blank_values=True))
                yield "query among the parameters", base_string(method, url, {**parameters, **query})
                yield "query in the URL", base_string(method, f"{url}?{request.query}", parameters)

    def _signed_urls(self, request: OAuthRequest) -> Iterator[str]:
        yield request.url(self.scheme)
        if not self._rules.is_strict:
            yield PUBLIC_BASE + request.path
            yield f"{self.scheme}://{self.own_host}{request.path}"

    def _epoch_s(self, now: float) -> float:
        return self._calendar.epoch_ms(now) / 1000 + self._rules.clock_skew_s

    def _use_nonce(self, nonce: tuple[str, str], now: float) -> None:
        for old in [each for each, at in self._nonces.items() if at <= now - self._rules.nonce_memory_s]:
            del self._nonces[old]
        if nonce in self._nonces:
            raise RefusedError("nonce was used before")
        self._nonces[nonce] = now


def _fits(key: rsa.RSAPublicKey, signature: str, base: str) -> bool:
    try:
        key.verify(base64.b64decode(signature, validate=True), base.encode(), padding.PKCS1v15(), hashes.SHA256())
    except (InvalidSignature, binascii.Error, ValueError):
        return False
    return True
