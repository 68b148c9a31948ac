"""Base strings and headers, checked with IBKR's own numbers."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ibkr_bridge.oauth.base_string import (
    HMAC_SHA256,
    RSA_SHA256,
    authorization_header,
    base_string,
    parameters,
    percent_encode,
)
from ibkr_bridge.oauth.signing import sign_hmac
from tests.oauth.vectors import CONSUMER

API = "https://api.ibkr.com/v1/api"
TOKEN = base64.b64decode("/gluE6ewoz/cquYyvWiBROMZ0J0=")
OURS = parameters(CONSUMER, HMAC_SHA256, "abcdef0123456789", 1790000000, token="a1b2c3d4e5f6a7b8c9d0")


@pytest.mark.parametrize(
    ("method", "path", "signature"),
    [
        ("GET", "/portfolio/accounts", "6ASrdiEgD8MR5AaNsqBvO4S3AxHKh2EubQ2P9rAGzso="),
        ("GET", "/iserver/marketdata/snapshot", "b1yB2f16avjkI4CLvaHSGA8BHowrqOnoDmqHQ7F/j6A="),
        ("POST", "/iserver/auth/ssodh/init", "+BFjgYWEUZ3yS1C3LXjS9aJ9/QnzGE7DRkxNNsMBG38="),
    ],
)
def test_signed_calls_in_todays_form(method: str, path: str, signature: str) -> None:
    """The query is in none of them."""
    assert sign_hmac(TOKEN, base_string(method, API + path, OURS)).decode() == signature


def test_the_form_of_2018_with_the_query_among_the_parameters() -> None:
    """IBKR's own example."""
    values = {
        **parameters(CONSUMER, HMAC_SHA256, "aecef17086308940e861", 1473795686, token="6f531f8fd316915af53f"),
        "conid": "8314",
    }
    base = base_string("GET", "http://localhost:12345/tradingapi/v1/marketdata/snapshot", values)

    assert sign_hmac(base64.b64decode("YBWbLw+9RYP2nWrPQHxHZkBb1aM="), base).decode() == (
        "+BdIuZDNooYZAbO9RZUCTC5F/3HjFOb04Tu4crpi0v8="
    )


def test_the_prepend_is_neither_encoded_nor_separated() -> None:
    """It is the secret in hex."""
    values = parameters(CONSUMER, RSA_SHA256, "n", 1)

    assert base_string("POST", "https://x/y", values, "00ff").startswith(
        "00ffPOST&https%3A%2F%2Fx%2Fy&oauth_consumer_key%3D"
    )


def test_the_header_has_the_realm_first_and_encodes_the_signature_alone() -> None:
    """As IBKR's documentation shows it."""
    header = authorization_header("limited_poa", {"oauth_token": "t", "oauth_nonce": "n"}, b"+/=")

    assert header == 'OAuth realm="limited_poa", oauth_nonce="n", oauth_signature="%2B%2F%3D", oauth_token="t"'


def test_a_request_without_a_token_has_none() -> None:
    """Before there is one, and there is never a version."""
    assert set(parameters(CONSUMER, RSA_SHA256, "n", 1, oauth_callback="oob")) == {
        *("oauth_consumer_key", "oauth_nonce", "oauth_signature_method", "oauth_timestamp", "oauth_callback"),
    }


@given(st.text())
def test_an_encoded_text_has_only_bare_characters(text: str) -> None:
    """Letters, digits, four marks, and escapes in capitals."""
    assume_utf8 = text.encode("utf-8", "ignore").decode()

    assert all(each.isascii() and (each.isalnum() or each in "-._~%") for each in percent_encode(assume_utf8))
