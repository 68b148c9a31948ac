"""How a user of a company gives it access: a request token, IBKR's page, a verifier, an access token. Pure.

The company is registered at IBKR with its keys and a callback. No `state` goes with the user, so whoever begins must
remember for whom a request token was made, for minutes, and use it once.
"""

from __future__ import annotations

import re

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from ibkr_bridge.oauth.base_string import RSA_SHA256, authorization_header, base_string, parameters
from ibkr_bridge.oauth.credential import Consumer, CredentialProblem, ThirdPartyCredential, checked
from ibkr_bridge.oauth.signing import sign_rsa

REQUEST_TOKEN_PATH, ACCESS_TOKEN_PATH = "/v1/api/oauth/request_token", "/v1/api/oauth/access_token"
CALLBACK = "oob"  # the registered callback is used
TOKEN = re.compile(r"[A-Za-z0-9]{8,128}")
"""Request tokens, access tokens and verifiers; IBKR's have 20 characters."""


class AnswerUnusable(Exception):
    """IBKR's answer has not what it should have. The message is for a person."""


def request_token_header(consumer: Consumer, key: RSAPrivateKey, url: str, nonce: str, timestamp: int) -> str:
    """The value of `Authorization` for the request of a request token."""
    values = parameters(*(consumer.consumer_key, RSA_SHA256, nonce, timestamp), oauth_callback=CALLBACK)
    return _signed(consumer, key, url, values)


def access_token_header(
    consumer: Consumer, key: RSAPrivateKey, url: str, nonce: str, timestamp: int, request_token: str, verifier: str
) -> str:
    """The value of `Authorization` with which a verifier is traded for an access token.

    Raises:
        AnswerUnusable: the request token or the verifier, which came through a browser, cannot be one.
    """
    if not TOKEN.fullmatch(request_token) or not TOKEN.fullmatch(verifier):
        raise AnswerUnusable("the request token or the verifier is not as IBKR makes it")
    values = parameters(
        *(consumer.consumer_key, RSA_SHA256, nonce, timestamp), token=request_token, oauth_verifier=verifier
    )
    return _signed(consumer, key, url, values)


def request_token_of(answer: object) -> str:
    """The request token in IBKR's answer.

    Raises:
        AnswerUnusable: there is none.
    """
    token = answer.get("oauth_token") if isinstance(answer, dict) else None
    if not isinstance(token, str) or not TOKEN.fullmatch(token):
        raise AnswerUnusable("IBKR's answer has no request token")
    return token


def credential_of(consumer: Consumer, answer: object) -> ThirdPartyCredential:
    """The credential of the user, from IBKR's answer to the trade.

    Raises:
        AnswerUnusable: the answer has no token or no secret.
    """
    members = answer if isinstance(answer, dict) else {}
    token, secret = members.get("oauth_token"), members.get("oauth_token_secret")
    is_paper = members.get("is_paper", members.get("is_true"))  # IBKR's schema misnames the flag
    if not isinstance(token, str) or not isinstance(secret, str):
        raise AnswerUnusable("IBKR's answer has no access token")
    credential = ThirdPartyCredential(
        *(consumer.consumer_key, token, secret, consumer.signature_key, consumer.encryption_key),
        dh_parameters=consumer.dh_parameters,
        realm=consumer.realm,
        is_paper=is_paper if isinstance(is_paper, bool) else None,
    )
    try:
        return checked(credential)
    except CredentialProblem as exc:
        raise AnswerUnusable(f"IBKR's answer cannot be used: {exc.detail}") from None


def _signed(consumer: Consumer, key: RSAPrivateKey, url: str, values: dict[str, str]) -> str:
    """A header that is signed without a prepend: there is no secret yet."""
    return authorization_header(consumer.realm, values, sign_rsa(key, base_string("POST", url, values)))
