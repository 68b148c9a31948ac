"""Named keys: how they are made, revoked and stored."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ibkr_bridge.server.named_keys import (
    FILE,
    MAX_NAMES,
    KeyScope,
    NamedKey,
    NamedKeysError,
    add_key,
    load_named_keys,
    parse_named_keys,
    revoke_keys,
    save_named_keys,
)
from tests.clocks import NOON

DIGEST = "ab" * 32
ROW = {"name": "dashboard", "scope": "read", "created": "2026-01-01T00:00:00Z", "sha256": DIGEST}


def test_only_the_digest_of_a_key_is_stored(tmp_path: Path) -> None:
    """Somebody who reads the file or a backup of it has no key."""
    keys, key = add_key((), "dashboard", KeyScope.READ, NOON)
    save_named_keys(tmp_path, keys)

    text = (tmp_path / FILE).read_text()

    assert key not in text
    assert hashlib.sha256(key.encode()).hexdigest() in text
    assert (tmp_path / FILE).stat().st_mode & 0o777 == 0o600
    assert load_named_keys(tmp_path) == keys


def test_a_key_has_256_random_bits() -> None:
    """That is why a fast hash is enough."""
    made = {add_key((), "bot", KeyScope.TRADE, NOON)[1] for _ in range(50)}

    assert len(made) == 50
    assert {len(key) for key in made} == {len("ibkrb_") + 43}


def test_a_name_has_two_keys_at_most() -> None:
    """One in use and its successor; a third would be one that nobody remembers."""
    keys, _ = add_key((), "bot", KeyScope.TRADE, NOON)
    keys, _ = add_key(keys, "bot", KeyScope.TRADE, NOON)

    with pytest.raises(NamedKeysError, match="revoke bot --older"):
        add_key(keys, "bot", KeyScope.TRADE, NOON)


def test_the_successor_has_the_same_scope() -> None:
    """Else a name in the log would not tell what its key may do."""
    keys, _ = add_key((), "bot", KeyScope.READ, NOON)

    with pytest.raises(NamedKeysError, match="bot has a key that may read"):
        add_key(keys, "bot", KeyScope.TRADE, NOON)


@pytest.mark.parametrize(
    "name", ["", "Bot", "1bot", "a b", "a" * 33, "bot\n", "../bot", "full", "previous", "read-only"]
)
def test_a_name_that_would_mislead_is_refused(name: str) -> None:
    """It stands in the log, and must not look like a key of the settings."""
    with pytest.raises(NamedKeysError):
        add_key((), name, KeyScope.READ, NOON)


def test_the_number_of_names_is_limited() -> None:
    """Each request is compared with every key."""
    keys: tuple[NamedKey, ...] = ()
    for number in range(MAX_NAMES):
        keys, _ = add_key(keys, f"bot{number}", KeyScope.READ, NOON)

    with pytest.raises(NamedKeysError, match="512 names already"):
        add_key(keys, "another", KeyScope.READ, NOON)


def test_the_older_key_is_revoked_alone() -> None:
    """The caller uses the newer one by then."""
    older, _ = add_key((), "bot", KeyScope.TRADE, NOON)
    both, _ = add_key(older, "bot", KeyScope.TRADE, NOON)
    with_other, _ = add_key(both, "other", KeyScope.READ, NOON)

    assert revoke_keys(with_other, "bot", only_older=True) == with_other[1:]
    assert revoke_keys(with_other, "bot", only_older=False) == with_other[2:]


def test_revoking_nothing_is_reported() -> None:
    """A typing error must not look like a revoked key."""
    keys, _ = add_key((), "bot", KeyScope.TRADE, NOON)

    with pytest.raises(NamedKeysError, match="no key of this name"):
        revoke_keys(keys, "bott", only_older=False)
    with pytest.raises(NamedKeysError, match="one key only"):
        revoke_keys(keys, "bot", only_older=True)


@pytest.mark.parametrize(
    "rows",
    [
        [{**ROW, "sha256": "ab"}],
        [{**ROW, "name": "full"}],
        [{**ROW, "name": "x\n"}],
        [{**ROW, "scope": "all"}],
        [{**ROW, "created": "2026-01-01T00:00:00"}],
        [{**ROW, "extra": 1}],
        [{"name": "dashboard"}],
        [ROW, ROW],
        [{**ROW, "sha256": f"{number:064x}"} for number in range(3)],
        [{**ROW, "name": f"n{number}", "sha256": f"{number:064x}"} for number in range(MAX_NAMES + 1)],
        [3],
    ],
)
def test_a_file_with_an_error_gives_no_key(rows: list[object]) -> None:
    """A file that was changed by hand must not add a key that nobody meant."""
    with pytest.raises(NamedKeysError) as caught:
        parse_named_keys(json.dumps({"keys": rows}))

    assert DIGEST not in str(caught.value)
    assert caught.value.hint


@given(st.text())
def test_no_text_confuses_the_parser(text: str) -> None:
    """The file may be damaged in any way."""
    try:
        parse_named_keys(text)
    except NamedKeysError as exc:
        assert exc.hint


def test_without_a_file_there_are_no_keys(tmp_path: Path) -> None:
    """Most bridges have none."""
    assert load_named_keys(None) == load_named_keys(tmp_path) == ()


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    """It could lead to a file that somebody else writes."""
    (tmp_path / "elsewhere").write_text(json.dumps({"keys": [ROW]}))
    (tmp_path / FILE).symlink_to(tmp_path / "elsewhere")

    with pytest.raises(NamedKeysError, match="cannot be read"):
        load_named_keys(tmp_path)
