"""The keys of a company that IBKR has approved: one consumer, with which all its users connect. Sealed in the vault."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict

from ibkr_bridge.oauth.credential import Consumer, checked, secrets_of
from ibkr_bridge.profiles.sealed_store import NoCredential, SealedStore
from ibkr_bridge.redaction import Redactor
from ibkr_bridge.vault.store_port import Owner

KIND = "consumer"
OWNER = Owner("_consumer", "_consumer")
"""Its place in the vault. No profile can have this name, which begins with a letter."""


class Company:
    """The consumer of one bridge.

    Args:
        store: has it sealed.
        redactor: gets every secret.
    """

    def __init__(self, store: SealedStore, redactor: Redactor) -> None:
        self._store = store
        self._redactor = redactor

    async def load(self) -> Consumer | None:
        """The consumer; None if nobody has stored one.

        Raises:
            NoCredential: the vault is locked, or has something that cannot be opened.
        """
        kind, data = await self._store.load(OWNER)
        if kind is None:
            return None
        try:
            return self._hidden(Consumer(**json.loads(data)))
        except (ValueError, TypeError) as exc:
            raise NoCredential("credential_unreadable", "the stored keys of the company have another form") from exc

    async def save(self, members: Mapping[str, str]) -> None:
        """Store the consumer, in the place of an earlier one.

        Raises:
            CredentialProblem: a member cannot be used.
            NoCredential: the vault is locked, or cannot be written.
        """
        from ibkr_bridge.profiles.third_party import check_keys  # loads cryptography

        consumer = self._hidden(checked(Consumer(**members)))
        check_keys(consumer)
        await self._store.save(OWNER, KIND, json.dumps(asdict(consumer)).encode())

    async def forget(self) -> bool:
        """Remove the consumer. Returns whether there was one.

        Raises:
            NoCredential: the store cannot be used.
        """
        return await self._store.forget(OWNER)

    def _hidden(self, consumer: Consumer) -> Consumer:
        for secret in secrets_of(consumer):
            self._redactor.add_secret(secret, permanent=True)
        return consumer
