"""Problems of the vault as errors for a caller."""

from __future__ import annotations

import pytest

from ibkr_bridge.errors import BadRequest
from ibkr_bridge.oauth.credential import CredentialProblem
from ibkr_bridge.profiles.sealed_store import NoCredential
from ibkr_bridge.server.vault_errors import VAULT_HINT, vault_errors


@pytest.mark.parametrize(
    ("raised", "detail", "hint"),
    [
        (CredentialProblem("the key is short", "make another"), "the key is short", "make another"),
        (NoCredential("vault_locked", "there is no key"), "not removed: there is no key", VAULT_HINT),
    ],
)
def test_the_words_of_the_vault_reach_the_caller(raised: Exception, detail: str, hint: str) -> None:
    """With what to do about it."""
    with pytest.raises(BadRequest) as caught, vault_errors("not removed: "):
        raise raised

    assert (caught.value.detail, caught.value.hint) == (detail, hint)


def test_other_errors_are_bugs() -> None:
    """They must not look like a mistake of the caller."""
    with pytest.raises(RuntimeError), vault_errors():
        raise RuntimeError
