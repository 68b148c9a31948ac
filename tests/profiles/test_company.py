"""The keys of a company: sealed like a credential, under a name that no profile can have."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ibkr_bridge.oauth.credential import Consumer, CredentialProblem
from ibkr_bridge.profiles.company import OWNER, Company
from ibkr_bridge.profiles.sealed_store import NoCredential, SealedStore
from ibkr_bridge.redaction import Redactor
from ibkr_bridge.server.named_keys import NAME_PATTERN
from tests.oauth.credentials import credential
from tests.profiles.test_sealed_store import main, sealed_store

__all__ = ["main", "sealed_store"]
MEMBERS = {
    "consumer_key": "shopskeyx",
    "signature_key": credential().signature_key,
    "encryption_key": credential().encryption_key,
    "dh_parameters": credential().dh_parameters,
    "realm": "",
}


async def test_what_is_saved_is_loaded_and_forgotten(sealed_store: SealedStore) -> None:
    """Nine letters are stored in capitals, as IBKR does."""
    redactor = Redactor()
    company = Company(sealed_store, redactor)
    before = await company.load()
    await company.save(MEMBERS)
    loaded = await Company(sealed_store, Redactor()).load()

    assert before is None
    assert isinstance(loaded, Consumer)
    assert (loaded.consumer_key, loaded.realm) == ("SHOPSKEYX", "limited_poa")
    assert redactor.contains_secret("SHOPSKEYX")
    assert [await company.forget(), await company.forget(), await company.load()] == [True, False, None]


@pytest.mark.parametrize(
    ("member", "value"), [("consumer_key", ""), ("signature_key", "none"), ("dh_parameters", "-----BEGIN X-----")]
)
async def test_keys_that_cannot_be_used_are_not_stored(sealed_store: SealedStore, member: str, value: str) -> None:
    """The words name the part, and nothing of it."""
    company = Company(sealed_store, Redactor())
    with pytest.raises(CredentialProblem, match=member.partition("_")[0].replace("dh", "DH|dh")):
        await company.save({**MEMBERS, member: value})

    assert await company.load() is None


async def test_what_has_another_form_is_never_used(sealed_store: SealedStore, tmp_path: Path) -> None:
    """A later bridge may have written it."""
    await sealed_store.save(OWNER, "consumer", b'{"other": 1}')

    with pytest.raises(NoCredential, match="another form"):
        await Company(sealed_store, Redactor()).load()


def test_no_profile_has_its_name() -> None:
    """Else a user could replace the keys of all."""
    assert re.match(NAME_PATTERN, OWNER.profile) is None
