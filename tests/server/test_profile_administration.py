"""Making and removing profiles while the bridge runs: what is on the disk afterwards, and which keys are good."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ibkr_bridge.config.profile_files import read_profiles
from ibkr_bridge.errors import BadRequest, ProfileExists, ProfileNotFound
from ibkr_bridge.server.named_keys import KeyScope, load_named_keys
from ibkr_bridge.server.profile_administration import ProfileAdministration, key_name
from tests.harness import Harness, settings_for

GATEWAY = {"gateway_url": "http://127.0.0.1:10", "maintenance": "none"}


@pytest.fixture
async def bridge(tmp_path: Path) -> AsyncIterator[Harness]:
    """A bridge without a Gateway."""
    async with Harness(settings_for("http://127.0.0.1:9", tmp_path / "state")) as harness:
        yield harness


@pytest.fixture
def administration(bridge: Harness) -> ProfileAdministration:
    return bridge.bridge._administration()


def directory(tmp_path: Path) -> Path:
    """Where the files of profiles are."""
    return tmp_path / "state" / "profiles"


async def test_a_profile_that_was_made_is_found_by_the_next_start(
    administration: ProfileAdministration, bridge: Harness, tmp_path: Path
) -> None:
    """Its file has the settings as they were given, and only its owner can read it."""
    members = {**GATEWAY, "accounts": ["DU1111111"], "max_order_value": 100.5, "read_only": True, "user": 'a"b'}
    made = await administration.create("anna", members)
    (read,), problems = read_profiles([directory(tmp_path)], bridge.bridge.settings)

    assert (problems, read) == ([], made.settings)
    assert (directory(tmp_path) / "anna.toml").stat().st_mode & 0o777 == 0o600


async def test_a_refused_profile_leaves_nothing_behind(administration: ProfileAdministration, tmp_path: Path) -> None:
    """Every problem is named."""
    with pytest.raises(BadRequest) as caught:
        await administration.create("anna", {"mode": "wild", "watch": "never"})

    assert "mode" in caught.value.detail
    assert "watch" in caught.value.detail
    assert not directory(tmp_path).exists()


async def test_a_name_is_taken_once(administration: ProfileAdministration) -> None:
    """The first one is not touched."""
    await administration.create("anna", GATEWAY)

    with pytest.raises(ProfileExists):
        await administration.create("anna", {"gateway_url": "http://127.0.0.1:11"})
    with pytest.raises(ProfileExists):
        await administration.create("main", GATEWAY)


async def test_keys_are_digests_and_end_with_their_profile(
    administration: ProfileAdministration, bridge: Harness, tmp_path: Path
) -> None:
    """A key that serves another profile too loses only the one that is gone."""
    await administration.create("anna", GATEWAY)
    key, reading = administration.add_key("anna", KeyScope.TRADE), administration.add_key("anna", KeyScope.READ)
    stored = load_named_keys(tmp_path / "state")

    assert [(each.name, each.profiles) for each in stored] == [("anna", ("anna",)), ("anna-read", ("anna",))]
    assert key not in (tmp_path / "state" / "keys.json").read_text()
    principals = [bridge.bridge.keys.find_key(each.encode()) for each in (key, reading)]
    assert [each.profiles for each in principals if each is not None] == [("anna",), ("anna",)]

    await administration.forget("anna")
    assert load_named_keys(tmp_path / "state") == ()
    assert bridge.bridge.keys.find_key(key.encode()) is None


async def test_two_keys_of_a_scope_are_live(administration: ProfileAdministration) -> None:
    """The one in use and its successor."""
    await administration.create("anna", GATEWAY)
    administration.add_key("anna", KeyScope.TRADE)
    administration.add_key("anna", KeyScope.TRADE)

    with pytest.raises(BadRequest, match="2 keys already"):
        administration.add_key("anna", KeyScope.TRADE)
    with pytest.raises(ProfileNotFound):
        administration.add_key("nobody", KeyScope.TRADE)


async def test_a_profile_of_the_operator_is_not_removed(administration: ProfileAdministration) -> None:
    """A file that somebody wrote by hand is theirs."""
    with pytest.raises(BadRequest, match="the environment"):
        await administration.forget("main")
    with pytest.raises(ProfileNotFound):
        await administration.forget("nobody")


def test_the_name_of_a_key_is_that_of_its_profile() -> None:
    """The log shows it."""
    assert (key_name("anna", KeyScope.TRADE), key_name("anna", KeyScope.READ)) == ("anna", "anna-read")
    assert len(key_name("a" * 32, KeyScope.READ)) == 32
