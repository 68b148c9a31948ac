"""Gets access with the credential that is stored now: opened when it is needed, and read again for each attempt.

So a credential that was imported a moment ago, or a vault whose key has come back, needs no restart.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from ibkr_bridge.oauth.credential import Credential
from ibkr_bridge.oauth.refusals import Refusal
from ibkr_bridge.upstream.oauth.access import Access, AccessMaker, AccessRefused


class NotStored(Exception):
    """There is no credential that can be used.

    Args:
        refusal: `VAULT_LOCKED`, `CREDENTIAL_MISSING` or `CREDENTIAL_UNREADABLE`.
        words: why, for a person.
    """

    def __init__(self, refusal: Refusal, words: str) -> None:
        super().__init__(words)
        self.refusal = refusal
        self.words = words


class StoredAccess:
    """An `AccessMaker` whose credential is loaded first.

    Args:
        load: returns the credential, or raises `NotStored`.
        maker_of: returns what gets access with a credential.
    """

    def __init__(
        self, load: Callable[[], Awaitable[Credential]], maker_of: Callable[[Credential], AccessMaker]
    ) -> None:
        self._load = load
        self._maker_of = maker_of
        self._latest: tuple[Credential, AccessMaker] | None = None

    async def make(self) -> Access:
        """See `AccessMaker.make`."""
        try:
            credential = await self._load()
        except NotStored as exc:
            self._latest = None
            raise AccessRefused(exc.refusal, exc.words) from None
        if self._latest is None or self._latest[0] != credential:
            self._latest = credential, self._maker_of(credential)
        return await self._latest[1].make()

    @property
    def is_paper(self) -> bool | None:
        """Whether the credential is of a paper account; None if it is not known."""
        return self._latest[0].is_paper if self._latest is not None else None
