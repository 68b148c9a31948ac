"""The handshake of OAuth 1.0a: what is sent, and which answers are accepted."""

from __future__ import annotations

import base64
import hmac
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from urllib.parse import unquote

import pytest
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.hashes import SHA256

from ibkr_bridge.oauth.base_string import base_string
from ibkr_bridge.oauth.credential import CredentialProblem, secrets_of
from ibkr_bridge.oauth.live_session_token import derive_token
from ibkr_bridge.oauth.signing_keys import AnswerUnreadable, OAuth1Keys, TokenMismatch
from tests.oauth.credentials import CONSUMER_KEY, SECRET, credential, signature_key, text_of
from tests.oauth.vectors import GROUP_14

URL = "https://api.ibkr.com/v1/api/oauth/live_session_token"
A, B = 12345678901234567890, 98765432109876543210
NOW = datetime(2026, 6, 17, 16, 0, tzinfo=UTC)


@pytest.fixture(scope="module")
def keys() -> OAuth1Keys:
    """The keys of the credential for tests."""
    return OAuth1Keys.of(credential())


def answer(**changes: object) -> dict[str, object]:
    """IBKR's answer to the challenge of `A`."""
    token = derive_token(pow(GROUP_14.g, A * B, GROUP_14.p), SECRET)
    return {
        "diffie_hellman_response": f"{pow(GROUP_14.g, B, GROUP_14.p):x}",
        "live_session_token_signature": hmac.digest(token, CONSUMER_KEY.encode(), "sha1").hex(),
        "live_session_token_expiration": int((NOW + timedelta(hours=20)).timestamp() * 1000),
        **changes,
    }


def test_the_header_is_signed_with_the_secret_in_front(keys: OAuth1Keys) -> None:
    """The signature verifies with the public key that was uploaded."""
    header = keys.handshake_header(URL, A, "nonce0123", 1790000000)

    values = dict(re.findall(r'(\w+)="([^"]*)"', header))
    signature, realm = base64.b64decode(unquote(values.pop("oauth_signature"))), values.pop("realm")
    base = base_string("POST", URL, values, prepend=SECRET.hex())
    signature_key().public_key().verify(signature, base.encode(), padding.PKCS1v15(), SHA256())
    assert (realm, values["diffie_hellman_challenge"]) == ("limited_poa", f"{pow(GROUP_14.g, A, GROUP_14.p):x}")


def test_both_sides_have_the_same_token(keys: OAuth1Keys) -> None:
    """It lives as long as IBKR says."""
    session = keys.accept(answer(), A, NOW)

    assert session.token == derive_token(pow(GROUP_14.g, A * B, GROUP_14.p), SECRET)
    assert session.ends == NOW + timedelta(hours=20)
    assert session.token.hex() not in repr(session)


def test_a_token_that_ibkr_does_not_confirm_is_never_returned(keys: OAuth1Keys) -> None:
    """Other parameters, or somebody in between."""
    with pytest.raises(TokenMismatch):
        keys.accept(answer(live_session_token_signature="00" * 20), A, NOW)


@pytest.mark.parametrize(
    "body",
    [
        None,
        [],
        {},
        answer(diffie_hellman_response=1),
        answer(diffie_hellman_response="1"),
        answer(live_session_token_signature=None),
    ],
)
def test_an_answer_of_another_form_is_unreadable(keys: OAuth1Keys, body: object) -> None:
    """A proxy may have answered."""
    with pytest.raises(AnswerUnreadable):
        keys.accept(body, A, NOW)


@pytest.mark.parametrize(
    ("member", "text", "words"),
    [
        ("signature_key", "-----BEGIN X-----", "signature key"),
        ("encryption_key", "-----BEGIN X-----", "encryption key"),
        ("access_token_secret", "c2VjcmV0", "access token secret"),
        ("dh_parameters", "-----BEGIN X-----", "DH parameters"),
    ],
)
def test_the_part_that_cannot_be_used_is_named(member: str, text: str, words: str) -> None:
    """Without a text of it."""
    with pytest.raises(CredentialProblem, match=words) as found:
        OAuth1Keys.of(replace(credential(), **{member: text}))  # type: ignore[arg-type]  # each is a text

    assert not any(secret in str(found.value) for secret in secrets_of(credential()))


def test_swapped_keys_are_likely_to_be_noticed() -> None:
    """Decryption with a wrong key does not fail: it gives another secret, nearly always of another length."""
    swapped = replace(credential(), encryption_key=text_of(signature_key()))
    try:
        keys = OAuth1Keys.of(swapped)
    except CredentialProblem:
        return
    assert not keys.is_secret_likely


def test_nothing_of_the_keys_is_shown(keys: OAuth1Keys) -> None:
    """A traceback shows the values of a frame."""
    assert not any(secret in repr(keys) for secret in (*secrets_of(credential()), SECRET.hex(), repr(SECRET)))
