"""The keys of a bridge, and the headers in which a request carries one."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from multidict import CIMultiDict, CIMultiDictProxy

from ibkr_bridge.events import Bus, Event, ListenerFailed
from ibkr_bridge.ibkr.endpoint import Effect
from ibkr_bridge.server.keyring import KeyRing, key_from_headers
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
    assert full.effects == previous.effects == set(Effect)


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
    assert repr(new_keyring(**EVERY_KEY)) == "<KeyRing full, previous, read-only>"


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


@settings(deadline=None)
@given(st.binary(min_size=1))
def test_a_key_is_compared_as_the_bytes_that_were_sent(raw: bytes) -> None:
    """Bytes that are not UTF-8 are a wrong key, not an error."""
    assert key_in(("X-Bridge-Key", raw.decode("utf-8", "surrogateescape"))) == raw


@settings(deadline=None)
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
