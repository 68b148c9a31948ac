"""Access through a company: what is signed, and which answers give a credential."""

from __future__ import annotations

import base64
import re
from urllib.parse import unquote

import pytest
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.hashes import SHA256

from ibkr_bridge.oauth.base_string import base_string
from ibkr_bridge.oauth.credential import Consumer
from ibkr_bridge.oauth.third_party import (
    AnswerUnusable,
    access_token_header,
    credential_of,
    request_token_header,
    request_token_of,
)
from tests.oauth.credentials import credential, signature_key

URL = "https://api.ibkr.com/v1/api/oauth/request_token"
REQUEST_TOKEN, VERIFIER = "25ebcc75204da80b73f4", "61c107d4cf34ac6d9f2b"


@pytest.fixture(scope="module")
def consumer() -> Consumer:
    """A company with the keys for tests."""
    own = credential()
    return Consumer("0123456789abcdef012345678", own.signature_key, own.encryption_key, own.dh_parameters)


def signed_values(header: str) -> dict[str, str]:
    """The parameters of a header whose signature is good, without a prepend."""
    values = dict(re.findall(r'(\w+)="([^"]*)"', header))
    signature = base64.b64decode(unquote(values.pop("oauth_signature")))
    del values["realm"]
    signed = base_string("POST", URL, values)
    signature_key().public_key().verify(signature, signed.encode(), padding.PKCS1v15(), SHA256())
    return values


def test_a_request_token_is_requested_out_of_band(consumer: Consumer) -> None:
    """The callback that IBKR registered is used."""
    values = signed_values(request_token_header(consumer, signature_key(), URL, "nonce0123", 1790000000))

    assert (values["oauth_callback"], "oauth_token" in values) == ("oob", False)


def test_a_verifier_is_traded_with_its_request_token(consumer: Consumer) -> None:
    """Both are signed."""
    header = access_token_header(consumer, signature_key(), URL, "nonce0123", 1790000000, REQUEST_TOKEN, VERIFIER)

    values = signed_values(header)
    assert (values["oauth_token"], values["oauth_verifier"]) == (REQUEST_TOKEN, VERIFIER)


@pytest.mark.parametrize(("token", "verifier"), [("", VERIFIER), (REQUEST_TOKEN, 'a"b'), (REQUEST_TOKEN, "a\r\nb" * 9)])
def test_what_came_through_a_browser_is_checked(consumer: Consumer, token: str, verifier: str) -> None:
    """It would stand in a header."""
    with pytest.raises(AnswerUnusable):
        access_token_header(consumer, signature_key(), URL, "nonce0123", 1790000000, token, verifier)


@pytest.mark.parametrize("answer", [None, [], {}, {"oauth_token": 1}, {"oauth_token": "a b"}])
def test_an_answer_without_a_request_token_is_unusable(answer: object) -> None:
    """It would stand in an address."""
    with pytest.raises(AnswerUnusable):
        request_token_of(answer)


@pytest.mark.parametrize(("flag", "is_paper"), [({"is_paper": True}, True), ({"is_true": False}, False), ({}, None)])
def test_the_credential_has_the_keys_of_the_company(
    consumer: Consumer, flag: dict[str, bool], is_paper: bool | None
) -> None:
    """And the token of the user."""
    answer = {"oauth_token": "a1b2c3d4e5f6a7b8c9d0", "oauth_token_secret": credential().access_token_secret, **flag}

    made = credential_of(consumer, answer)

    assert (made.access_token, made.is_paper) == ("a1b2c3d4e5f6a7b8c9d0", is_paper)
    assert (made.consumer_key, made.signature_key) == (consumer.consumer_key, consumer.signature_key.strip())
    assert request_token_of({"oauth_token": REQUEST_TOKEN}) == REQUEST_TOKEN


@pytest.mark.parametrize("answer", [None, {}, {"oauth_token": "a"}, {"oauth_token": "abc", "oauth_token_secret": "%%"}])
def test_an_answer_without_token_or_secret_is_unusable(consumer: Consumer, answer: object) -> None:
    """Nothing of it is kept."""
    with pytest.raises(AnswerUnusable):
        credential_of(consumer, answer)
