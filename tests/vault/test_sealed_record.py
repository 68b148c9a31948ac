"""Sealed records: only the right key opens them, and only at their place."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ibkr_bridge.vault.sealed_record import HEAD_BYTES, KeyEncryptionKey, Place, Sealer, SealError

OLD, NEW = KeyEncryptionKey(bytes(range(32))), KeyEncryptionKey(bytes(range(32, 64)))
PLACE = Place("credential", "user-1", "ibkr", "main", 3)
CONTENT = b"two private keys and a token"


@given(st.binary(max_size=5000))
def test_what_was_sealed_is_opened(content: bytes) -> None:
    """Whatever it is."""
    sealer = Sealer([NEW])

    assert sealer.open(sealer.seal(content, PLACE), PLACE) == content


@pytest.mark.parametrize(
    "change", [{"user": "user-2"}, {"profile": "other"}, {"exchange": "x"}, {"purpose": "token"}, {"version": 2}]
)
def test_a_record_that_was_moved_does_not_open(change: dict[str, object]) -> None:
    """To another user, profile or version."""
    sealer = Sealer([NEW])

    with pytest.raises(SealError, match="belongs to another"):
        sealer.open(sealer.seal(CONTENT, PLACE), replace(PLACE, **change))  # type: ignore[arg-type]


@given(st.integers(min_value=0), st.integers(1, 255))
def test_no_byte_can_be_changed(position: int, change: int) -> None:
    """Neither of the record nor of what stands before it."""
    sealer = Sealer([NEW, OLD])
    sealed = bytearray(sealer.seal(CONTENT, PLACE))
    sealed[position % len(sealed)] ^= change

    with pytest.raises(SealError):
        sealer.open(bytes(sealed), PLACE)


def test_a_new_key_seals_and_the_former_one_still_opens() -> None:
    """Until every record is sealed anew."""
    former = Sealer([OLD]).seal(CONTENT, PLACE)
    both = Sealer([NEW, OLD])

    assert both.open(former, PLACE) == CONTENT
    assert not both.is_current(former)
    assert both.is_current(both.seal(CONTENT, PLACE))
    with pytest.raises(SealError, match="key that sealed this record is missing"):
        Sealer([NEW]).open(former, PLACE)


def test_the_same_record_is_sealed_differently_each_time() -> None:
    """Nobody can see that it has not changed, and no nonce is used twice."""
    sealer = Sealer([NEW])

    assert len({sealer.seal(CONTENT, PLACE) for _ in range(100)}) == 100


@pytest.mark.parametrize("sealed", [b"", b"IBS1", b"x" * 200, b"IBS1" + bytes(HEAD_BYTES), b"IBS1" + bytes(2_000_000)])
def test_what_is_no_record_is_refused(sealed: bytes) -> None:
    """Whatever a database holds."""
    with pytest.raises(SealError):
        Sealer([NEW]).open(sealed, PLACE)


def test_two_places_never_read_alike() -> None:
    """The parts have their lengths in front."""
    one, other = Place("a", "b1", "c", "d", 1), Place("a", "b", "1c", "d", 1)

    assert one.associated_data != other.associated_data


def test_keys_are_not_shown_and_have_the_right_length() -> None:
    """Their ids reveal nothing."""
    assert "key=" not in repr(NEW)
    assert NEW.id != OLD.id
    with pytest.raises(ValueError, match="32 bytes"):
        KeyEncryptionKey(b"short")
    with pytest.raises(ValueError, match="no key"):
        Sealer([])
