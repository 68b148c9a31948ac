"""IBKR's numbers, against vectors that were computed elsewhere."""

from __future__ import annotations

import base64
import hashlib

import pytest

from ibkr_bridge.sim.api_host.arithmetic import (
    Group,
    agree,
    base_string,
    find_number,
    hmac_signature,
    shortest_twos_complement,
)

SECRET = bytes(range(32))
CONSUMER = "TESTCONS"
EDGES = (  # the client's number, bits of the shared number, live session token, its signature
    (1, 2047, "MvOv4nH9o4EGPOT3Q/qcr3QSIxs=", "bba41356fd9480771dd5b98a7cd0f3feb75e3d0c"),
    (3, 2041, "PrYDllqBFkuqKlC7GFgqBXvYy0w=", "6298f5c2e6c683c67e2ae75b0ea80b70227aabe9"),
    (4, 2048, "/gluE6ewoz/cquYyvWiBROMZ0J0=", "8ebb3ada26ed32b32be02a591107908cbe6b992e"),
    (163, 2039, "oiGjoXFozXPCu3Z94pJmgu8Q05c=", "52484c2007f3394e72ba2a808a1b1217da4771d1"),
    (550, 2040, "R5z1fNa1O78gh0sTOpkk3RvzVZU=", "aef0a48fc22f6a9fac3b889b54ee07876c473cdd"),
)
SIGNED = {
    "oauth_consumer_key": CONSUMER,
    "oauth_nonce": "abcdef0123456789",
    "oauth_signature_method": "HMAC-SHA256",
    "oauth_timestamp": "1790000000",
    "oauth_token": "a1b2c3d4e5f6a7b8c9d0",
}
URL = "https://api.ibkr.com/v1/api"
SNAPSHOT = f"{URL}/iserver/marketdata/snapshot"
QUERY = {"conids": "265598", "fields": "31,84"}
CALLS: tuple[tuple[str, str, dict[str, str], str], ...] = (
    ("GET", f"{URL}/portfolio/accounts", {}, "6ASrdiEgD8MR5AaNsqBvO4S3AxHKh2EubQ2P9rAGzso="),
    ("GET", SNAPSHOT, {}, "b1yB2f16avjkI4CLvaHSGA8BHowrqOnoDmqHQ7F/j6A="),
    ("GET", SNAPSHOT, QUERY, "CbJvBCXgYt78bbapBvwkd8gR16TZW6lA8bR2+CKJIHA="),
    ("GET", f"{SNAPSHOT}?conids=265598&fields=31,84", {}, "xawn/HGELQjDuWYI61sANqgkflnOxoht1uEwxtcb25I="),
    ("POST", f"{URL}/iserver/auth/ssodh/init", {}, "+BFjgYWEUZ3yS1C3LXjS9aJ9/QnzGE7DRkxNNsMBG38="),
)


def number(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest(), "big")


@pytest.mark.parametrize(("client", "bits", "token", "signature"), EDGES)
def test_tokens_at_the_edges_of_the_encoding(client: int, bits: int, token: str, signature: str) -> None:
    group = Group()
    challenge = pow(group.g, number(f"ibkr-bridge client {client}"), group.p)
    agreement = agree(group, challenge, number("ibkr-bridge server"), SECRET)
    assert agreement.shared.bit_length() == bits
    assert base64.b64encode(agreement.live_session_token).decode() == token
    assert agreement.signature(CONSUMER) == signature


@pytest.mark.parametrize(("method", "url", "query", "signature"), CALLS)
def test_signatures_of_calls(method: str, url: str, query: dict[str, str], signature: str) -> None:
    key = base64.b64decode(EDGES[2][2])
    assert hmac_signature(key, base_string(method, url, {**SIGNED, **query})) == signature


def test_a_number_whose_top_bit_is_set_gets_one_more_byte() -> None:
    assert shortest_twos_complement(0x7F) == b"\x7f"
    assert shortest_twos_complement(0x80) == b"\x00\x80"


def test_a_number_is_found_for_a_rare_length() -> None:
    """The start is not taken if it gives another length."""
    group = Group()
    challenge = pow(group.g, 12345, group.p)
    found = find_number(group, challenge, 1 << 200, 2039)
    assert found > 1 << 200
    assert pow(challenge, found, group.p).bit_length() == 2039
