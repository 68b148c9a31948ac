"""The order desk's short memory: the one question that hangs, the prompts, and the order changes that wait for them.

All of it belongs to one brokerage session and ends with it.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass

from ibkr_bridge.sim.market.book import Order
from ibkr_bridge.sim.market.sessions import Brokerage

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
    session: Brokerage | None


@dataclass(frozen=True)
class Prompt:
    """A prompt that waits for one of its options: the order's number and the request's, which the answer must name."""

    number: int
    request: str
    changes: list[Change]
    session: Brokerage | None


class QuestionDesk:
    """At most one question at a time, as IBKR keeps it for a user."""

    def __init__(self) -> None:
        self._asked = 0
        self._pending: Pending | None = None
        self._prompts: dict[tuple[int, str], Prompt] = {}

    def open_question(
        self, changes: list[Change], confirmed: frozenset[str], asked: str, session: Brokerage | None
    ) -> Pending:
        """Let a question hang, under a new id."""
        self._asked += 1
        self._pending = Pending(str(uuid.uuid5(SPACE, str(self._asked))), changes, confirmed, asked, session)
        return self._pending

    def take(self, number: str, session: Brokerage | None) -> Pending | None:
        """The question of that id, if it still hangs in this session. Whatever hung is gone afterwards."""
        pending = self._pending
        self.clear()
        return pending if pending and pending.id == number and pending.session is session else None

    def prompt(self, number: int, changes: list[Change], session: Brokerage | None) -> Prompt:
        """Let a prompt wait; unlike a question it outlives other order calls, since it names its order."""
        self._asked += 1
        made = Prompt(number, str(22_000 + self._asked), changes, session)
        self._prompts[number, made.request] = made
        return made

    def answered(self, number: int, request: str, session: Brokerage | None) -> Prompt | None:
        """The prompt of that order and request, if it waits in this session; it does so no longer."""
        prompt = self._prompts.pop((number, request), None)
        return prompt if prompt and prompt.session is session else None

    def clear(self) -> None:
        """Another order call came in between."""
        self._pending = None
