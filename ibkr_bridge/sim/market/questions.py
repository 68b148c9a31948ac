"""The order desk's short memory: the one question that hangs, the prompts, and the order changes that wait for them.

All of it belongs to one brokerage session and ends with it.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass

from ibkr_bridge.sim.market.book import Order
from ibkr_bridge.sim.market.sessions import Brokerage

REPLY_ID_NAMESPACE = uuid.UUID("7d1f1a52-3f0e-4b7a-9a4f-2f6f3f1d0a11")


@dataclass(frozen=True)
class Change:
    """What is to be done once all is confirmed: a new order, or another shape of the order `number`."""

    order_number: int | None
    order: Order


@dataclass(frozen=True)
class PendingQuestion:
    """A question that hangs: its id, what depends on it, what was confirmed before, and which message it asks now."""

    id: str
    changes: list[Change]
    confirmed: frozenset[str]
    message_id: str
    session: Brokerage | None


@dataclass(frozen=True)
class Prompt:
    """A prompt that waits for one of its options: the order's number and the request's, which the answer must name."""

    order_number: int
    request_id: str
    changes: list[Change]
    session: Brokerage | None


class QuestionDesk:
    """At most one question at a time, as IBKR keeps it for a user."""

    def __init__(self) -> None:
        self._count = 0
        self._pending: PendingQuestion | None = None
        self._prompts: dict[tuple[int, str], Prompt] = {}

    def open_question(
        self, changes: list[Change], confirmed: frozenset[str], message_id: str, session: Brokerage | None
    ) -> PendingQuestion:
        """Let a question hang, under a new id."""
        self._count += 1
        self._pending = PendingQuestion(
            str(uuid.uuid5(REPLY_ID_NAMESPACE, str(self._count))), changes, confirmed, message_id, session
        )
        return self._pending

    def take_question(self, reply_id: str, session: Brokerage | None) -> PendingQuestion | None:
        """The question of that id, if it still hangs in this session. Whatever hung is gone afterwards."""
        pending = self._pending
        self.clear()
        return pending if pending and pending.id == reply_id and pending.session is session else None

    def open_prompt(self, order_number: int, changes: list[Change], session: Brokerage | None) -> Prompt:
        """Let a prompt wait; unlike a question it outlives other order calls, since it names its order."""
        self._count += 1
        prompt = Prompt(order_number, str(22_000 + self._count), changes, session)
        self._prompts[order_number, prompt.request_id] = prompt
        return prompt

    def take_prompt(self, order_number: int, request_id: str, session: Brokerage | None) -> Prompt | None:
        """The prompt of that order and request, if it waits in this session; it does so no longer."""
        prompt = self._prompts.pop((order_number, request_id), None)
        return prompt if prompt and prompt.session is session else None

    def clear(self) -> None:
        """Another order call came in between."""
        self._pending = None
