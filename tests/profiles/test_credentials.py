"""The credentials of profiles: imported in one or two parts, sealed on the disk, and known to the redactor."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from ibkr_bridge.config.settings import Settings
from ibkr_bridge.oauth.credential import CredentialProblem, OAuth1Credential
from ibkr_bridge.profiles.credentials import Credentials, Imported
from ibkr_bridge.profiles.sealed_store import NoCredential, SealedStore
from ibkr_bridge.redaction import Redactor
from ibkr_bridge.vault.key_file import new_key_line
from tests.harness import settings_for

KEYS = {
    "signature_key": "-----BEGIN PRIVATE KEY-----\nCANARYSIGN\n-----END PRIVATE KEY-----",
    "encryption_key": "-----BEGIN PRIVATE KEY-----\nCANARYENCR\n-----END PRIVATE KEY-----",
    "dh_parameters": "-----BEGIN DH PARAMETERS-----\nCANARYDH\n-----END DH PARAMETERS-----",
}
TOKENS = {"consumer_key": "TESTCONSU", "access_token": "a1b2c3d4e5f6a7b8c9d0", "access_token_secret": "Q0FOQVJZ"}


@pytest.fixture
def main(tmp_path: Path) -> Settings:
    """The settings of a bridge with a file of keys."""
    keys, state = tmp_path / "keys", tmp_path / "state"
    state.mkdir(mode=0o700)
    keys.write_text(new_key_line())
    keys.chmod(0o400)
    return replace(settings_for("https://127.0.0.1:1", state), vault_keys=keys)


@pytest.fixture
def anna(main: Settings) -> Settings:
    return replace(main, profile="anna", user="user-17")


@pytest.fixture
def redactor() -> Redactor:
    return Redactor()


@pytest.fixture
def credentials(main: Settings, redactor: Redactor) -> Credentials:
    return Credentials(SealedStore(main), redactor)


async def test_a_credential_comes_in_two_parts(credentials: Credentials, anna: Settings, redactor: Redactor) -> None:
    """First the keys that the bridge made, then what IBKR's page shows."""
    first = await credentials.import_members(anna, KEYS)
    with pytest.raises(NoCredential, match="profile import anna"):
        await credentials.load(anna)
    second = await credentials.import_members(anna, TOKENS)
    loaded = await credentials.load(anna)

    assert first == Imported("keys", ("consumer_key", "access_token", "access_token_secret"))
    assert second == Imported("oauth1a", ())
    assert isinstance(loaded, OAuth1Credential)
    assert (loaded.consumer_key, loaded.signature_key) == ("TESTCONSU", KEYS["signature_key"])
    for secret in (*KEYS.values(), *TOKENS.values()):
        assert redactor.contains_secret(f"a line with {secret} in it")


async def test_it_comes_in_one_part_too_and_is_replaced_in_part(credentials: Credentials, anna: Settings) -> None:
    """A token that was generated anew leaves the keys as they are."""
    await credentials.import_members(anna, {**KEYS, **TOKENS})
    await credentials.import_members(anna, {"access_token_secret": "QUJDREVG"})
    loaded = await credentials.load(anna)

    assert isinstance(loaded, OAuth1Credential)
    assert (loaded.access_token_secret, loaded.encryption_key) == ("QUJDREVG", KEYS["encryption_key"])


async def test_a_part_that_makes_no_sense_is_refused(credentials: Credentials, anna: Settings) -> None:
    """Nothing is stored, and the words have nothing of it."""
    with pytest.raises(CredentialProblem, match="lacks"):
        await credentials.import_members(anna, {"signature_key": KEYS["signature_key"]})
    with pytest.raises(CredentialProblem) as caught:
        await credentials.import_members(anna, {**KEYS, **TOKENS, "access_token": 'CANARY"\n'})
    with pytest.raises(NoCredential, match="no credential was imported"):
        await credentials.load(anna)
    assert "CANARY" not in str(caught.value)


async def test_nothing_of_it_is_on_the_disk(credentials: Credentials, anna: Settings, tmp_path: Path) -> None:
    """It is sealed before it is written."""
    await credentials.import_members(anna, {**KEYS, **TOKENS})
    files = b"".join(each.read_bytes() for each in (tmp_path / "state").rglob("*") if each.is_file())

    assert files
    assert not [each for each in (b"CANARY", b"Q0FOQVJZ", b"TESTCONSU", b"a1b2c3d4") if each in files]


async def test_a_locked_vault_says_so_until_its_keys_are_there(
    main: Settings, anna: Settings, credentials: Credentials, tmp_path: Path
) -> None:
    """No restart is needed."""
    await credentials.import_members(anna, {**KEYS, **TOKENS})
    aside = tmp_path / "aside"
    (tmp_path / "keys").rename(aside)
    later = Credentials(SealedStore(main), Redactor())
    with pytest.raises(NoCredential, match="is missing") as caught:
        await later.load(anna)
    aside.rename(tmp_path / "keys")

    assert caught.value.reason == "vault_locked"
    assert isinstance(await later.load(anna), OAuth1Credential)


async def test_a_damaged_file_is_no_credential(credentials: Credentials, anna: Settings, tmp_path: Path) -> None:
    """It is never taken for one."""
    await credentials.import_members(anna, {**KEYS, **TOKENS})
    (tmp_path / "state" / "credentials" / "anna.json").write_text("c2VjcmV0")

    with pytest.raises(NoCredential) as caught:
        await credentials.load(anna)
    assert caught.value.reason == "credential_unreadable"


async def test_a_forgotten_credential_is_gone(credentials: Credentials, anna: Settings) -> None:
    """Twice does no harm."""
    await credentials.import_members(anna, {**KEYS, **TOKENS})

    assert (await credentials.forget(anna), await credentials.forget(anna)) == (True, False)
    with pytest.raises(NoCredential):
        await credentials.load(anna)
