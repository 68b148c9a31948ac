"""What OAuth 1.0a signs with, read from a credential; and the two halves of its handshake. Pure.

Random numbers, the time and the answer of IBKR are passed in. The two powers of the handshake take 12 ms, and the
signature 3 ms: the caller runs them in a thread.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeVar

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from ibkr_bridge.oauth.base_string import (
    HMAC_SHA256,
    RSA_SHA256,
    authorization_header,
    base_string,
    parameters,
)
from ibkr_bridge.oauth.credential import CredentialProblem, OAuth1Credential
from ibkr_bridge.oauth.dh_parameters import ParametersProblem, read_dh_parameters
from ibkr_bridge.oauth.live_session_token import Group, derive_token, end_of_life, is_confirmed
from ibkr_bridge.oauth.signing import SECRET_BYTES, KeyProblem, decrypt_secret, load_rsa_key, sign_hmac, sign_rsa

HANDSHAKE_PATH = "/v1/api/oauth/live_session_token"


Part = TypeVar("Part")


class TokenMismatch(Exception):
    """IBKR has derived another live session token: this one must never be used."""


class AnswerUnreadable(Exception):
    """IBKR's answer to a handshake is not as it should be. The message is for a person."""


@dataclass(frozen=True)
class LiveSession:
    """A live session token and how calls are signed with it. It is in memory only."""

    consumer_key: str = field(repr=False)
    access_token: str = field(repr=False)
    realm: str
    token: bytes = field(repr=False)
    made: datetime
    ends: datetime

    def authorization(self, method: str, url: str, nonce: str, timestamp: int) -> str:
        """The value of `Authorization` for one call.

        Args:
            method: in capitals.
            url: without its query.
            nonce: letters and digits, another one for each call.
            timestamp: whole seconds since 1970.
        """
        values = parameters(self.consumer_key, HMAC_SHA256, nonce, timestamp, token=self.access_token)
        return authorization_header(self.realm, values, sign_hmac(self.token, base_string(method, url, values)))


@dataclass(frozen=True)
class OAuth1Keys:
    """The parts of a credential, ready to sign."""

    credential: OAuth1Credential
    signature_key: RSAPrivateKey = field(repr=False)
    secret: bytes = field(repr=False)
    """The decrypted token secret. A wrong encryption key gives a made-up one."""
    group: Group = field(repr=False)

    @classmethod
    def of(cls, credential: OAuth1Credential) -> OAuth1Keys:
        """Read the keys of a credential.

        Raises:
            CredentialProblem: one of them cannot be used; it says which.
        """
        signature_key = _read("signature key", lambda: load_rsa_key(credential.signature_key.encode()))
        encryption_key = _read("encryption key", lambda: load_rsa_key(credential.encryption_key.encode()))
        secret = _read("access token secret", lambda: decrypt_secret(encryption_key, credential.access_token_secret))
        group = _read("file of DH parameters", lambda: read_dh_parameters(credential.dh_parameters))
        return cls(credential, signature_key, secret, group)

    @property
    def is_secret_likely(self) -> bool:
        """Whether the decrypted secret is as long as every secret that IBKR has shown; if not, a key is wrong."""
        return len(self.secret) == SECRET_BYTES

    def handshake_header(self, url: str, a: int, nonce: str, timestamp: int) -> str:
        """The value of `Authorization` for the request of a live session token.

        Args:
            url: of the request.
            a: 256 random bits, not 0, others for each handshake.
            nonce: letters and digits, another one for each request.
            timestamp: whole seconds since 1970.
        """
        credential = self.credential
        values = parameters(
            *(credential.consumer_key, RSA_SHA256, nonce, timestamp),
            token=credential.access_token,
            diffie_hellman_challenge=self.group.challenge(a),
        )
        base = base_string("POST", url, values, prepend=self.secret.hex())
        return authorization_header(credential.realm, values, sign_rsa(self.signature_key, base))

    def accept(self, answer: object, a: int, now: datetime) -> LiveSession:
        """The session that IBKR's answer gives.

        Args:
            answer: the parsed JSON.
            a: the number of the request.
            now: the time, in UTC.

        Raises:
            TokenMismatch: IBKR has derived another token.
            AnswerUnreadable: the answer has not the members of a handshake.
        """
        members = answer if isinstance(answer, dict) else {}
        response, signature = members.get("diffie_hellman_response"), members.get("live_session_token_signature")
        if not isinstance(response, str) or not isinstance(signature, str):
            raise AnswerUnreadable("IBKR's answer to the handshake has no live session token")
        try:
            token = derive_token(self.group.shared_number(response, a), self.secret)
        except ValueError as exc:
            raise AnswerUnreadable(str(exc)) from exc
        credential = self.credential
        if not is_confirmed(token, credential.consumer_key, signature):
            raise TokenMismatch
        ends = end_of_life(now, members.get("live_session_token_expiration"))
        return LiveSession(credential.consumer_key, credential.access_token, credential.realm, token, now, ends)


def _read(name: str, read: Callable[[], Part]) -> Part:
    try:
        return read()
    except (KeyProblem, ParametersProblem) as exc:
        raise CredentialProblem(f"the {name} cannot be used: {exc}", "check it with profile check") from None
