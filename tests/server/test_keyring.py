"""The keys of a bridge, and the headers in which a request carries one."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict, CIMultiDictProxy

from ibkr_bridge.config.settings import Settings
from ibkr_bridge.errors import InsufficientScope, InvalidKey
from ibkr_bridge.events import Bus, Event, ListenerFailed
from ibkr_bridge.ibkr.endpoint import Effect
from ibkr_bridge.server.keyring import ALL_EFFECTS, KeyRing, Principal, key_from_headers
from ibkr_bridge.server.named_keys import KeyScope, NamedKey, add_key
from ibkr_bridge.server.tokens import TokenRequest, TokenScope
from tests.clocks import NOON
from tests.harness import KEY, PREVIOUS_KEY, READONLY_KEY, settings_for


def new_keyring(**env: str) -> KeyRing:
    """The key ring of a bridge with these settings."""
    return KeyRing(settings_for("https://127.0.0.1:5000", Path("/nowhere"), **env))


def key_in(*headers: tuple[str, str]) -> bytes | None:
    """The key of a request with these headers."""
    return key_from_headers(CIMultiDictProxy(CIMultiDict(headers)))


EVERY_KEY = {"IBKR_BRIDGE_KEY_PREVIOUS": PREVIOUS_KEY, "IBKR_BRIDGE_READONLY_KEY": READONLY_KEY}


@pytest.mark.parametrize(("key", "label"), [(KEY, "full"), (PREVIOUS_KEY, "previous"), (READONLY_KEY, "read-only")])
def test_each_key_has_a_label(key: str, label: str) -> None:
    """The log shows the label of the key, never the key."""
    principal = new_keyring(**EVERY_KEY).find_key(key.encode())

    assert principal is not None
    assert principal.label == label


def test_the_read_only_key_may_only_read() -> None:
    """It may not open the session either, since IBKR limits how often that is done."""
    keys = new_keyring(**EVERY_KEY)
    reading, full, previous = (keys.find_key(key.encode()) for key in (READONLY_KEY, KEY, PREVIOUS_KEY))

    assert reading is not None
    assert full is not None
    assert previous is not None
    assert reading.effects == {Effect.READ}
    assert full.effects == previous.effects == ALL_EFFECTS


@pytest.mark.parametrize("key", [b"", b" ", KEY[:-1].encode(), KEY.encode() + b"\0", KEY.upper().encode(), b"\xff"])
def test_a_similar_key_is_refused(key: bytes) -> None:
    """Keys are compared byte for byte."""
    assert new_keyring(**EVERY_KEY).find_key(key) is None


def test_keys_that_are_not_set_authenticate_nobody() -> None:
    """A missing key must not become the empty key."""
    keys = new_keyring()

    assert [keys.find_key(key.encode()) for key in (PREVIOUS_KEY, READONLY_KEY, "", "None")] == [None] * 4
    assert repr(keys) == "<KeyRing full>"


def test_the_repr_shows_no_key() -> None:
    """Tracebacks contain such reprs."""
    keys = new_keyring(**EVERY_KEY)

    assert repr(keys) == "<KeyRing full, previous, read-only>"
    assert not any(word in repr(keys._keys) for word in ("digest", "secret"))


@pytest.mark.parametrize(
    ("headers", "key"),
    [
        ([("X-Bridge-Key", KEY)], KEY),
        ([("x-bridge-key", KEY)], KEY),
        ([("X-Bridge-Key", KEY), ("X-Bridge-Key", KEY)], KEY),
        ([("X-Bridge-Key", KEY), ("Authorization", "Bearer other")], KEY),
        ([("Authorization", f"Bearer {KEY}")], KEY),
        ([("authorization", f"bEARER   {KEY} ")], KEY),
        ([("Authorization", f"Bearer {KEY}"), ("Authorization", f"Bearer {KEY}")], KEY),
    ],
)
def test_a_key_is_read_from_its_header_or_from_bearer(headers: list[tuple[str, str]], key: str) -> None:
    """Bearer counts only if our own header is absent."""
    assert key_in(*headers) == key.encode()


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("X-Bridge-Key", "")],
        [("X-Bridge-Key", KEY), ("X-Bridge-Key", "other")],
        [("X-Bridge-Key", KEY), ("X-Bridge-Key", "")],
        [("X-Bridge-Key", ""), ("Authorization", f"Bearer {KEY}")],
        [("Authorization", f"Bearer {KEY}"), ("Authorization", "Bearer other")],
        [("Authorization", f"Bearer {KEY}"), ("Authorization", f"Basic {KEY}")],
        [("Authorization", KEY)],
        [("Authorization", f"Basic {KEY}")],
        [("Authorization", "Bearer")],
        [("Authorization", "Bearer ")],
        [("Authorization", f"Bearer{KEY}")],
        [("Cookie", f"X-Bridge-Key={KEY}")],
    ],
)
def test_missing_or_different_keys_are_no_key(headers: list[tuple[str, str]]) -> None:
    """Programs on the way could use different ones, so none of them counts."""
    assert key_in(*headers) is None


@given(st.binary(min_size=1))
def test_a_key_is_compared_as_the_bytes_that_were_sent(raw: bytes) -> None:
    """Bytes that are not UTF-8 are a wrong key, not an error."""
    assert key_in(("X-Bridge-Key", raw.decode("utf-8", "surrogateescape"))) == raw


@given(st.binary())
def test_no_other_bytes_authenticate(guess: bytes) -> None:
    """Only the three keys do."""
    principal = new_keyring(**EVERY_KEY).find_key(guess)

    assert (principal is not None) == (guess in (KEY.encode(), PREVIOUS_KEY.encode(), READONLY_KEY.encode()))


def test_a_subscriber_that_raises_does_not_stop_the_others(bus: Bus, events_seen: list[Event]) -> None:
    """Otherwise a stream would stay open after its key was replaced."""
    settings = settings_for("https://127.0.0.1:5000", Path("/nowhere"))
    keys, called = KeyRing(settings, bus=bus), []
    keys.subscribe(_raise)
    keys.subscribe(lambda _: called.append("second"))

    keys.replace(settings)

    assert called == ["second"]
    assert [type(event) for event in events_seen] == [ListenerFailed]


def _raise(_: None) -> None:
    raise RuntimeError


# -- tokens of a key

OTHER_KEY = KEY[::-1]


class TimedRing:
    """A key ring with a clock that the test moves."""

    def __init__(self, **env: str) -> None:
        self.now = NOON
        self.keys = KeyRing(settings_of(**env), lambda: self.now)

    def principal(self, key: str = KEY) -> Principal:
        """The principal of a key."""
        principal = self.keys.find_key(key.encode())
        assert principal is not None
        return principal

    def token(self, key: str = KEY, scope: TokenScope = TokenScope.TRADE) -> bytes:
        """A token for a minute."""
        return self.keys.issue(self.principal(key), TokenRequest(scope, 60))[0].encode()


def settings_of(**env: str) -> Settings:
    """The settings of a bridge with every key, or with those of `env`."""
    return settings_for("https://127.0.0.1:5000", Path("/nowhere"), **{**EVERY_KEY, **env})


@pytest.mark.parametrize(
    ("key", "scope", "label", "effects"),
    [
        (KEY, TokenScope.TRADE, "full token", ALL_EFFECTS),
        (PREVIOUS_KEY, TokenScope.READ, "read-only token", frozenset({Effect.READ})),
        (READONLY_KEY, TokenScope.READ, "read-only token", frozenset({Effect.READ})),
    ],
)
def test_a_token_stands_for_its_key_within_its_scope(
    key: str, scope: TokenScope, label: str, effects: frozenset[Effect]
) -> None:
    """What it starts belongs to the owner of the key, and its share of the bridge is reduced."""
    ring = TimedRing()
    owner = ring.principal(key)

    principal = ring.keys.find_token(ring.token(key, scope))

    assert principal is not None
    assert (principal.label, principal.effects, principal.owner) == (label, effects, owner.owner)
    assert (principal.is_token, principal.has_reduced_share, principal.profiles) == (True, True, owner.profiles)
    assert principal.expires == NOON + timedelta(seconds=60)
    assert (owner.is_token, owner.has_reduced_share) == (False, key == READONLY_KEY)


def test_a_token_is_valid_for_as_long_as_was_requested_and_no_longer() -> None:
    """Its claims have whole seconds, so it may be valid for a part of a second more."""
    ring = TimedRing()
    whole, claims = ring.keys.issue(ring.principal(), TokenRequest(TokenScope.READ, 60))
    ring.now += timedelta(microseconds=1)
    _, later_claims = ring.keys.issue(ring.principal(), TokenRequest(TokenScope.READ, 61))
    principal = ring.keys.find_token(whole.encode())
    assert principal is not None

    validity = []
    for seconds in (59.999, 60.0, 61.0):
        ring.now = NOON + timedelta(seconds=seconds)
        validity.append((ring.keys.find_token(whole.encode()) is not None, ring.keys.is_still_valid(principal)))

    assert (claims.issued, claims.expires) == (NOON, NOON + timedelta(seconds=60))
    assert (later_claims.issued, later_claims.expires) == (NOON, NOON + timedelta(seconds=62))
    assert claims.token_id != later_claims.token_id
    assert validity == [(True, True), (False, False), (False, False)]


def test_a_token_allows_no_more_than_its_key() -> None:
    """A token cannot request another one, which would make its time meaningless."""
    ring = TimedRing()
    token = ring.keys.find_token(ring.token())
    assert token is not None

    with pytest.raises(InsufficientScope, match="a token of this key may only read"):
        ring.keys.issue(ring.principal(READONLY_KEY), TokenRequest(TokenScope.TRADE))
    with pytest.raises(InsufficientScope, match="a token cannot request another token"):
        ring.keys.issue(token, TokenRequest(TokenScope.READ))


@pytest.mark.parametrize("key", [KEY, READONLY_KEY, PREVIOUS_KEY])
def test_a_new_full_key_ends_all_tokens(key: str) -> None:
    """It is how a person revokes them. The keys that are still configured stay valid."""
    ring = TimedRing()
    owner, token = ring.principal(key), ring.token(key, TokenScope.READ)
    principal = ring.keys.find_token(token)
    assert principal is not None
    was_valid = ring.keys.is_still_valid(principal), ring.keys.is_still_valid(owner)

    ring.keys.replace(settings_of(IBKR_BRIDGE_KEY=OTHER_KEY))

    assert was_valid == (True, True)
    assert ring.keys.find_token(token) is None
    assert not ring.keys.is_still_valid(principal)
    assert ring.keys.is_still_valid(owner) is (key != KEY)


def test_a_key_that_was_replaced_gets_no_token() -> None:
    """The request was authenticated a moment before."""
    ring = TimedRing()
    owner = ring.principal()
    ring.keys.replace(settings_of(IBKR_BRIDGE_KEY=OTHER_KEY))

    with pytest.raises(InvalidKey, match="has been replaced"):
        ring.keys.issue(owner, TokenRequest())


def test_a_full_key_that_becomes_the_read_only_key_is_not_valid_for_more() -> None:
    """A stream that it opened for trading must end."""
    ring = TimedRing()
    owner = ring.principal()

    ring.keys.replace(settings_of(IBKR_BRIDGE_KEY=OTHER_KEY, IBKR_BRIDGE_READONLY_KEY=KEY))

    assert not ring.keys.is_still_valid(owner)
    assert ring.keys.is_still_valid(ring.principal())


def test_a_named_key_has_its_name_and_its_scope() -> None:
    """The log shows the name, also of its tokens."""
    ring, settings = new_keyring(), settings_for("https://127.0.0.1:5000", Path("/nowhere"))
    keys, key = add_key((), "dashboard", KeyScope.READ, NOON)
    ring.replace(settings, keys)

    principal = ring.find_key(key.encode())
    assert principal is not None
    token, _ = ring.issue(principal, TokenRequest())
    holder = ring.find_token(token.encode())

    assert (principal.label, principal.effects) == ("dashboard", frozenset({Effect.READ}))
    assert holder is not None
    assert (holder.label, holder.owner) == ("dashboard token", principal.owner)
    assert ring.find_key(KEY.encode()) is not None


def test_a_named_key_ends_with_its_digest() -> None:
    """And so do its tokens, also those of streams that are open."""
    ring, settings = new_keyring(), settings_for("https://127.0.0.1:5000", Path("/nowhere"))
    keys, key = add_key((), "bot", KeyScope.TRADE, NOON)
    ring.replace(settings, keys)
    principal = ring.find_key(key.encode())
    assert principal is not None
    token, _ = ring.issue(principal, TokenRequest(TokenScope.TRADE))
    holder = ring.find_token(token.encode())
    assert holder is not None

    ring.replace(settings)

    assert ring.find_key(key.encode()) is None
    assert ring.find_token(token.encode()) is None
    assert not ring.is_still_valid(principal)
    assert not ring.is_still_valid(holder)


def test_the_digest_of_a_named_key_opens_nothing() -> None:
    """Somebody who reads the file must not get in with what it says."""
    ring, settings = new_keyring(), settings_for("https://127.0.0.1:5000", Path("/nowhere"))
    keys, _ = add_key((), "bot", KeyScope.TRADE, NOON)
    ring.replace(settings, keys)
    (stored,) = keys

    assert isinstance(stored, NamedKey)
    assert ring.find_key(stored.sha256.encode()) is None
    assert ring.find_key(stored.digest) is None
