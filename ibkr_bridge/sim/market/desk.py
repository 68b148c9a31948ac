"""The order desk's short memory: the one question that hangs, and the order changes that wait for its reply."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

from ibkr_bridge.sim.market.book import Order

SPACE = uuid.UUID("7d1f1a52-3f0e-4b7a-9a4f-2f6f3f1d0a11")


@dataclass(frozen=True)
class Change:
    """What is to be done once all is confirmed: a new order, or another shape of the order `number`."""

    number: int | None
    order: Order


@dataclass(frozen=True)
class Pending:
    """A question that hangs: its id, what depends on it, what was confirmed before, and which message it asks now."""

    id: str
    changes: list[Change]
    confirmed: frozenset[str]
    asked: str


class Desk:
    """At most one question at a time, as IBKR keeps it for a user."""

    def __init__(self) -> None:
        self._asked = 0
        self._pending: Pending | None = None

    def hang(self, changes: list[Change], confirmed: frozenset[str], asked: str) -> Pending:
        """Let a question hang, under a new id."""
        self._asked += 1
        self._pending = Pending(str(uuid.uuid5(SPACE, str(self._asked))), changes, confirmed, asked)
        return self._pending

    def take(self, number: str) -> Pending | None:
        """The question of that id, if it still hangs. Whatever hung is gone afterwards."""
        pending = self._pending
        self.forget()
        return pending if pending is not None and pending.id == number else None

    def forget(self) -> None:
        """Another order call came in between."""
        self._pending = None
