"""The file of keys: who may read it, and what its lines must be."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ibkr_bridge.vault.key_file import (
    FileKeySource,
    KeyEncryptionKey,
    KeyFileProblem,
    new_key_line,
    parse_keys,
    read_key_file,
)
from ibkr_bridge.vault.sealed_record import KeyMissing, Place, SealError, WrappedKey

PLACE = Place("bundle", "u", "ibkr", "p", 1)


def write(tmp_path: Path, text: str, mode: int = 0o400) -> Path:
    """A file of keys."""
    file = tmp_path / "keys"
    file.write_text(text)
    file.chmod(mode)
    return file


def test_the_first_key_is_the_newest(tmp_path: Path) -> None:
    """Comments may say since when each is used."""
    first, second = new_key_line(), new_key_line()
    keys = read_key_file(write(tmp_path, f"# since December\n{first}\n\n{second}\n"))

    assert [len(each.key) for each in keys] == [32, 32]
    assert FileKeySource(keys).is_newest(keys[0].id)
    assert not FileKeySource(keys).is_newest(keys[1].id)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "must have 1 to 32 keys"),
        ("# nothing\n", "must have 1 to 32 keys"),
        ("secret", "line 1 is no key"),
        ("c2hvcnQ=", "line 1 is no key"),
        (f"\n{'A' * 43}=\n{'A' * 43}=", "each once"),
    ],
)
def test_another_text_is_refused(text: str, words: str) -> None:
    """A password is no key, and the message does not repeat it."""
    with pytest.raises(KeyFileProblem, match=words) as caught:
        parse_keys(text)

    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("mode", [0o440, 0o404, 0o640, 0o604])
def test_a_file_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    """They could open every credential."""
    with pytest.raises(KeyFileProblem, match="chmod 400"):
        read_key_file(write(tmp_path, new_key_line(), mode))


def test_a_missing_file_says_what_names_it(tmp_path: Path) -> None:
    """The bridge starts all the same, and shows these words."""
    with pytest.raises(KeyFileProblem, match="IBKR_BRIDGE_VAULT_KEYS"):
        read_key_file(tmp_path / "none")


@given(st.text())
def test_no_text_crashes_the_reader(text: str) -> None:
    """Whatever the file has, a person gets words."""
    try:
        assert parse_keys(text)
    except KeyFileProblem as exc:
        assert str(exc)


async def test_a_data_key_is_bound_to_its_key_and_its_place() -> None:
    """A wrapped key of another record opens nothing."""
    keys = FileKeySource((KeyEncryptionKey(b"a" * 32),))
    wrapped = await keys.wrap(b"d" * 32, PLACE)

    assert await keys.unwrap(wrapped, PLACE) == b"d" * 32
    with pytest.raises(SealError):
        await keys.unwrap(wrapped, Place("bundle", "u", "ibkr", "other", 1))
    with pytest.raises(KeyMissing):
        await keys.unwrap(WrappedKey(b"12345678", wrapped.wrapped), PLACE)
    with pytest.raises(SealError):
        await keys.unwrap(WrappedKey(wrapped.key_id, b"short"), PLACE)
    with pytest.raises(KeyMissing):
        await FileKeySource(()).wrap(b"d" * 32, PLACE)
