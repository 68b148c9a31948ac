"""What a request shows at the door, and which of several places is believed."""

from __future__ import annotations

from pathlib import Path

import pytest
from multidict import CIMultiDict, CIMultiDictProxy

from ibkr_bridge.ibkr.endpoint import Effect
from ibkr_bridge.server.credentials import Credential, extract
from ibkr_bridge.server.keyring import KeyRing
from ibkr_bridge.server.request_target import read_target
from ibkr_bridge.server.routing import OwnRoutes
from ibkr_bridge.server.tokens import TokenRequest
from tests.harness import KEY, READING, settings_for

ROUTES = OwnRoutes(
    {"/feed": {"GET": Effect.READ}, "/plain": {"GET": Effect.READ}},
    open_paths=frozenset(),
    websockets=frozenset(),
    token_in_query=frozenset({"/feed"}),
)


@pytest.fixture
def ring() -> KeyRing:
    """A ring of two keys."""
    return KeyRing(settings_for("https://127.0.0.1:1", Path("/unused"), IBKR_BRIDGE_READONLY_KEY=READING))


def token_of(ring: KeyRing, key: str = KEY) -> str:
    """A good token."""
    principal = ring.find_key(key.encode())
    assert principal is not None
    return ring.issue(principal, TokenRequest())[0]


def shown(target: str | None, *headers: tuple[str, str]) -> Credential | None:
    """What a request with these headers shows; without a target that could be read, too."""
    sent = CIMultiDictProxy(CIMultiDict(headers))
    return extract(sent, read_target(target) if target is not None else None, ROUTES)


def test_a_key_in_its_header_is_a_key_and_no_token() -> None:
    """The header is for keys: a token there would be understood by nobody else."""
    assert shown("/plain", ("X-Bridge-Key", "abc")) == Credential(b"abc", may_be_key=True, may_be_token=False)


def test_a_bearer_may_be_either() -> None:
    """Libraries that know only this header have both."""
    assert shown("/plain", ("Authorization", "Bearer abc")) == Credential(b"abc", may_be_key=True, may_be_token=True)


def test_the_query_of_a_stream_may_hold_a_token_and_never_a_key() -> None:
    """Addresses are written down everywhere; a key must not work there, or somebody would put it there."""
    assert shown("/feed?token=abc") == Credential(b"abc", may_be_key=False, may_be_token=True)


@pytest.mark.parametrize("target", ["/plain?token=abc", "/feed", "/feed?tok=abc", "/feed?Token=abc", None])
def test_elsewhere_a_query_shows_nothing(target: str | None) -> None:
    """Only the paths that browsers open without headers take one there."""
    assert shown(target) is None


def test_the_same_token_twice_is_one_and_two_that_differ_are_none() -> None:
    """Programs on the way may pick different ones."""
    assert shown("/feed?token=abc&a=1&token=abc") == Credential(b"abc", may_be_key=False, may_be_token=True)
    assert shown("/feed?token=abc&token=abd") is None
    assert shown("/feed?token=abc&token=") is None


def test_a_token_in_the_query_is_read_decoded() -> None:
    """A careful client escapes more than it must."""
    found = shown("/feed?token=%61b%2Ec")

    assert found is not None
    assert found.value == b"ab.c"


@pytest.mark.parametrize(
    "header", [("X-Bridge-Key", "wrong"), ("Authorization", "Bearer wrong"), ("Authorization", "Basic abc")]
)
def test_whoever_sends_a_header_is_judged_by_it(ring: KeyRing, header: tuple[str, str]) -> None:
    """A good token in the query does not mend a bad header: one place decides."""
    found = shown(f"/feed?token={token_of(ring)}", header)

    assert found is None or found.authenticate(ring) is None


def test_an_empty_header_hides_the_bearer_beside_it() -> None:
    """It was sent, so it decides, and it says nothing."""
    assert shown("/plain", ("X-Bridge-Key", ""), ("Authorization", f"Bearer {KEY}")) is None


def test_a_key_opens_as_a_key_where_it_may_be_one(ring: KeyRing) -> None:
    """The same bytes are worth nothing in the query."""
    as_header = Credential(KEY.encode(), may_be_key=True, may_be_token=False).authenticate(ring)
    as_query = Credential(KEY.encode(), may_be_key=False, may_be_token=True).authenticate(ring)

    assert as_header is not None
    assert (as_header.label, as_query) == ("full", None)


def test_a_token_opens_as_a_token_where_it_may_be_one(ring: KeyRing) -> None:
    """It opens no more than the key that asked for it."""
    token = token_of(ring, READING).encode()

    as_bearer = Credential(token, may_be_key=True, may_be_token=True).authenticate(ring)
    as_key = Credential(token, may_be_key=True, may_be_token=False).authenticate(ring)

    assert as_bearer is not None
    assert as_bearer.is_token
    assert as_bearer.effects == {Effect.READ}
    assert as_key is None


def test_looks_make_a_token_only_where_one_may_stand(ring: KeyRing) -> None:
    """By its looks a page of the app is told from a stranger's before the token is judged."""
    token = token_of(ring).encode()

    assert Credential(token, may_be_key=False, may_be_token=True).is_like_token
    assert not Credential(token, may_be_key=True, may_be_token=False).is_like_token
    assert not Credential(KEY.encode(), may_be_key=True, may_be_token=True).is_like_token


def test_what_was_shown_does_not_stand_in_its_own_description() -> None:
    """Descriptions end up in tracebacks."""
    assert "secret" not in repr(Credential(b"secret", may_be_key=True, may_be_token=False))
