"""The credential of a request, and which of several places counts."""

from __future__ import annotations

from pathlib import Path

import pytest
from multidict import CIMultiDict, CIMultiDictProxy

from ibkr_bridge.ibkr.endpoint import Effect
from ibkr_bridge.server.credentials import Credential, extract, has_any
from ibkr_bridge.server.keyring import KeyRing
from ibkr_bridge.server.request_target import read_target
from ibkr_bridge.server.routing import OwnRoutes
from ibkr_bridge.server.tokens import TokenRequest
from tests.harness import KEY, READONLY_KEY, settings_for

ROUTES = OwnRoutes(
    {"/feed": {"GET": Effect.READ}, "/plain": {"GET": Effect.READ}},
    open_paths=frozenset(),
    websockets=frozenset(),
    token_in_query=frozenset({"/feed"}),
)


@pytest.fixture
def keyring() -> KeyRing:
    """A key ring of two keys."""
    return KeyRing(settings_for("https://127.0.0.1:1", Path("/unused"), IBKR_BRIDGE_READONLY_KEY=READONLY_KEY))


def token_of(keyring: KeyRing, key: str = KEY) -> str:
    """A valid token that was issued for this key."""
    principal = keyring.find_key(key.encode())
    assert principal is not None
    return keyring.issue(principal, TokenRequest())[0]


def extract_credential(target: str | None, *headers: tuple[str, str]) -> Credential | None:
    """The credential of a request with these headers; `None` stands for a target that cannot be parsed."""
    header_map = CIMultiDictProxy(CIMultiDict(headers))
    return extract(header_map, read_target(target) if target is not None else None, ROUTES)


def test_the_key_header_carries_a_key_but_no_token() -> None:
    """The header is for keys only."""
    assert extract_credential("/plain", ("X-Bridge-Key", "abc")) == Credential(
        b"abc", may_be_key=True, may_be_token=False
    )


def test_a_bearer_may_be_a_key_or_a_token() -> None:
    """Some libraries can send only this header."""
    assert extract_credential("/plain", ("Authorization", "Bearer abc")) == Credential(
        b"abc", may_be_key=True, may_be_token=True
    )


def test_the_query_of_a_stream_may_have_a_token_but_no_key() -> None:
    """URLs are logged in many places, so a key must not work there."""
    assert extract_credential("/feed?token=abc") == Credential(b"abc", may_be_key=False, may_be_token=True)


@pytest.mark.parametrize("target", ["/plain?token=abc", "/feed", "/feed?tok=abc", "/feed?Token=abc", None])
def test_other_queries_carry_no_credential(target: str | None) -> None:
    """Only the paths that browsers open without headers accept a token in the query."""
    assert extract_credential(target) is None


def test_different_tokens_in_one_query_are_no_credential() -> None:
    """Programs on the way may use different ones. The same token twice counts once."""
    assert extract_credential("/feed?token=abc&a=1&token=abc") == Credential(
        b"abc", may_be_key=False, may_be_token=True
    )
    assert extract_credential("/feed?token=abc&token=abd") is None
    assert extract_credential("/feed?token=abc&token=") is None


def test_a_token_in_the_query_is_percent_decoded() -> None:
    """A client may escape more characters than it must."""
    credential = extract_credential("/feed?token=%61b%2Ec")

    assert credential is not None
    assert credential.value == b"ab.c"


@pytest.mark.parametrize(
    "header", [("X-Bridge-Key", "wrong"), ("Authorization", "Bearer wrong"), ("Authorization", "Basic abc")]
)
def test_a_header_overrides_a_token_in_the_query(keyring: KeyRing, header: tuple[str, str]) -> None:
    """A valid token in the query does not replace an invalid header."""
    credential = extract_credential(f"/feed?token={token_of(keyring)}", header)

    assert credential is None or credential.authenticate(keyring) is None


def test_an_empty_key_header_overrides_a_bearer() -> None:
    """It was sent, so it decides, and it is empty."""
    assert extract_credential("/plain", ("X-Bridge-Key", ""), ("Authorization", f"Bearer {KEY}")) is None


def test_a_key_authenticates_only_where_keys_are_allowed(keyring: KeyRing) -> None:
    """The same bytes in the query are refused."""
    as_header = Credential(KEY.encode(), may_be_key=True, may_be_token=False).authenticate(keyring)
    as_query = Credential(KEY.encode(), may_be_key=False, may_be_token=True).authenticate(keyring)

    assert as_header is not None
    assert (as_header.label, as_query) == ("full", None)


def test_a_token_authenticates_only_where_tokens_are_allowed(keyring: KeyRing) -> None:
    """It has no more rights than the key that it was issued for."""
    token = token_of(keyring, READONLY_KEY).encode()

    as_bearer = Credential(token, may_be_key=True, may_be_token=True).authenticate(keyring)
    as_key = Credential(token, may_be_key=True, may_be_token=False).authenticate(keyring)

    assert as_bearer is not None
    assert as_bearer.is_token
    assert as_bearer.effects == {Effect.READ}
    assert as_key is None


def test_a_credential_is_like_a_token_only_where_tokens_are_allowed(keyring: KeyRing) -> None:
    """The form tells a page of the user's program from another page before the token is checked."""
    token = token_of(keyring).encode()

    assert Credential(token, may_be_key=False, may_be_token=True).is_like_token
    assert not Credential(token, may_be_key=True, may_be_token=False).is_like_token
    assert not Credential(KEY.encode(), may_be_key=True, may_be_token=True).is_like_token


def test_the_repr_of_a_credential_does_not_contain_it() -> None:
    """Tracebacks contain such reprs."""
    assert "secret" not in repr(Credential(b"secret", may_be_key=True, may_be_token=False))


@pytest.mark.parametrize(
    ("headers", "parameters", "carries"),
    [
        ({"X-Bridge-Key": ""}, (), True),
        ({"authorization": "Basic x"}, (), True),
        ({}, ("token",), True),
        ({"Cookie": "key"}, ("symbol",), False),
    ],
)
def test_anything_in_the_place_of_a_credential_counts(
    headers: dict[str, str], parameters: tuple[str, ...], carries: bool
) -> None:
    """The log tells a request without a key from one with a wrong one."""
    assert has_any(CIMultiDictProxy(CIMultiDict(headers)), parameters) is carries
