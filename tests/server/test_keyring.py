"""Who is calling: keys, and where a request carries them."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from multidict import CIMultiDict, CIMultiDictProxy

from ibkr_bridge.events import Bus, Event, ListenerFailed
from ibkr_bridge.ibkr.endpoint import Effect
from ibkr_bridge.server.keyring import KeyRing, key_from_headers
from tests.harness import KEY, PREVIOUS, READING, settings_for


def ring(**env: str) -> KeyRing:
    """The keys of a bridge."""
    return KeyRing(settings_for("https://127.0.0.1:5000", Path("/nowhere"), **env))


def carried(*headers: tuple[str, str]) -> bytes | None:
    """The key a request with such headers carries."""
    return key_from_headers(CIMultiDictProxy(CIMultiDict(headers)))


EVERY_KEY = {"IBKR_BRIDGE_KEY_PREVIOUS": PREVIOUS, "IBKR_BRIDGE_READONLY_KEY": READING}


@pytest.mark.parametrize(("key", "label"), [(KEY, "full"), (PREVIOUS, "previous"), (READING, "read-only")])
def test_each_key_is_known_by_its_name(key: str, label: str) -> None:
    """The log says which key called, never the key."""
    found = ring(**EVERY_KEY).find_key(key.encode())

    assert found is not None
    assert found.label == label


def test_the_reading_key_may_read_and_nothing_else() -> None:
    """Not even ask for the session: that would cost the ration."""
    keys = ring(**EVERY_KEY)
    reading, full, previous = (keys.find_key(key.encode()) for key in (READING, KEY, PREVIOUS))

    assert reading is not None
    assert full is not None
    assert previous is not None
    assert reading.effects == {Effect.READ}
    assert full.effects == previous.effects == set(Effect)


@pytest.mark.parametrize("key", [b"", b" ", KEY[:-1].encode(), KEY.encode() + b"\0", KEY.upper().encode(), b"\xff"])
def test_almost_a_key_is_none(key: bytes) -> None:
    """There is no nearly."""
    assert ring(**EVERY_KEY).find_key(key) is None


def test_keys_that_were_not_set_open_nothing() -> None:
    """An absent key must not become the empty one."""
    keys = ring()

    assert [keys.find_key(key.encode()) for key in (PREVIOUS, READING, "", "None")] == [None] * 4
    assert repr(keys) == "<KeyRing full>"


def test_no_key_stands_in_the_repr() -> None:
    """Rings end up in tracebacks."""
    assert repr(ring(**EVERY_KEY)) == "<KeyRing full, previous, read-only>"


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
def test_a_key_is_found_where_it_was_sent(headers: list[tuple[str, str]], key: str) -> None:
    """Our own header first, Bearer where it is absent."""
    assert carried(*headers) == key.encode()


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
def test_no_key_and_keys_that_differ_are_the_same_nothing(headers: list[tuple[str, str]]) -> None:
    """Programs on the way could pick different ones; nobody gets to choose."""
    assert carried(*headers) is None


@settings(deadline=None)
@given(st.binary(min_size=1))
def test_the_bytes_that_were_sent_are_the_bytes_that_are_compared(raw: bytes) -> None:
    """Whatever is no UTF-8 is wrong, not a crash."""
    assert carried(("X-Bridge-Key", raw.decode("utf-8", "surrogateescape"))) == raw


@settings(deadline=None)
@given(st.binary())
def test_no_guess_opens(guess: bytes) -> None:
    """The three keys, and nothing else in the world."""
    found = ring(**EVERY_KEY).find_key(guess)

    assert (found is not None) == (guess in (KEY.encode(), PREVIOUS.encode(), READING.encode()))


def test_a_subscriber_that_raises_stops_no_other(bus: Bus, events_seen: list[Event]) -> None:
    """Else a stream whose key was replaced would read on."""
    settings = settings_for("https://127.0.0.1:5000", Path("/nowhere"))
    keys, called = KeyRing(settings, bus=bus), []
    keys.subscribe(_raise)
    keys.subscribe(lambda _: called.append("second"))

    keys.replace(settings)

    assert called == ["second"]
    assert [type(event) for event in events_seen] == [ListenerFailed]


def _raise(_: None) -> None:
    raise RuntimeError
