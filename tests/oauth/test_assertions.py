"""The assertions of OAuth 2.0, read again by a library that is not the bridge's code."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.hashes import SHA256

from ibkr_bridge.oauth.assertions import client_assertion, session_assertion, token_request
from ibkr_bridge.oauth.credential import OAuth2Credential
from tests.oauth.credentials import signature_key, text_of

NOW = datetime(2026, 6, 17, 16, 0, tzinfo=UTC)
SECONDS = int(NOW.timestamp())


@pytest.fixture(scope="module")
def client() -> OAuth2Credential:
    """A client whose key is known."""
    return OAuth2Credential("client-of-tests", "key-1", text_of(signature_key()), "user-of-tests", "203.0.113.7")


def read(assertion: str) -> tuple[dict[str, object], dict[str, object]]:
    """Head and claims of an assertion whose signature is good."""
    head, claims, signature = assertion.split(".")
    raw = [base64.urlsafe_b64decode(each + "=" * (-len(each) % 4)) for each in (head, claims, signature)]
    signature_key().public_key().verify(raw[2], f"{head}.{claims}".encode(), padding.PKCS1v15(), SHA256())
    assert "=" not in assertion
    assert b" " not in raw[0] + raw[1]
    return json.loads(raw[0]), json.loads(raw[1])


def test_the_client_proves_itself_for_seconds(client: OAuth2Credential) -> None:
    """The audience is a text and no address."""
    head, claims = read(client_assertion(client, signature_key(), NOW))

    assert head == {"alg": "RS256", "typ": "JWT", "kid": "key-1"}
    assert claims == {
        "iss": "client-of-tests",
        "sub": "client-of-tests",
        "aud": "/token",
        "exp": SECONDS + 20,
        "iat": SECONDS - 10,
    }


def test_the_session_names_user_and_address(client: OAuth2Credential) -> None:
    """IBKR compares the address with that of the caller. There is neither subject nor audience."""
    _, claims = read(session_assertion(client, signature_key(), NOW))

    assert claims == {
        "iss": "client-of-tests",
        "credential": "user-of-tests",
        "ip": "203.0.113.7",
        "iat": SECONDS,
        "exp": SECONDS + 86400,
    }


def test_the_form_has_the_assertion_and_the_scope(client: OAuth2Credential) -> None:
    """As RFC 7523 wants it."""
    assert token_request(client, "text") == {
        "grant_type": "client_credentials",
        "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        "client_assertion": "text",
        "scope": "sso-sessions.write",
    }
