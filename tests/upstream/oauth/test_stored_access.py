"""Access with the credential that is stored now."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import timedelta

import pytest

from ibkr_bridge.oauth.credential import Credential
from ibkr_bridge.oauth.refusals import Refusal
from ibkr_bridge.upstream.oauth.access import Access, AccessMaker, AccessRefused
from ibkr_bridge.upstream.oauth.stored_access import NotStored, StoredAccess
from tests.clocks import NOON
from tests.oauth.credentials import credential
from tests.upstream.oauth.test_access import FakeAccess


@dataclass
class Maker:
    """Gets access with one credential."""

    used: Credential
    attempts: list[Credential] = field(default_factory=list)

    async def make(self) -> Access:
        """See `AccessMaker.make`."""
        self.attempts.append(self.used)
        return FakeAccess(len(self.attempts), NOON, NOON + timedelta(days=1))


class Store:
    """What is stored; the test changes it."""

    def __init__(self) -> None:
        self.content: Credential | NotStored = credential()
        self.makers: list[Maker] = []
        self.access = StoredAccess(self.load, self.maker_of)

    async def load(self) -> Credential:
        """The credential, or why there is none."""
        if isinstance(self.content, NotStored):
            raise self.content
        return self.content

    def maker_of(self, used: Credential) -> AccessMaker:
        """Remember each maker that was made."""
        self.makers.append(Maker(used))
        return self.makers[-1]


async def test_the_keys_of_a_credential_are_read_once() -> None:
    """Until another one is stored."""
    store = Store()
    await store.access.make()
    await store.access.make()
    assert [len(each.attempts) for each in store.makers] == [2]

    store.content = replace(credential(), access_token_secret="QUJDREVG", is_paper=True)
    await store.access.make()
    assert ([len(each.attempts) for each in store.makers], store.access.is_paper) == ([2, 1], True)


@pytest.mark.parametrize("refusal", [Refusal.VAULT_LOCKED, Refusal.CREDENTIAL_MISSING, Refusal.CREDENTIAL_UNREADABLE])
async def test_what_is_not_stored_is_a_refusal_and_not_the_end(refusal: Refusal) -> None:
    """When it is there, the next attempt uses it."""
    store = Store()
    store.content = NotStored(refusal, "the words")

    with pytest.raises(AccessRefused) as caught:
        await store.access.make()
    assert (caught.value.refusal, caught.value.words, store.makers, store.access.is_paper) == (
        refusal,
        "the words",
        [],
        None,
    )
    store.content = credential()
    await store.access.make()
    assert len(store.makers) == 1
