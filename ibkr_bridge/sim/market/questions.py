"""The one open question of a user, the prompts, and the order changes that wait for their answers.

All of them belong to one brokerage session and end with it.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass

from ibkr_bridge.sim.market.book import Order
from ibkr_bridge.sim.market.sessions import Brokerage

REPLY_ID_NAMESPACE = uuid.UUID("7d1f1a52-3f0e-4b7a-9a4f-2f6f3f1d0a11")


@dataclass(frozen=True)
class Change:
    """What to do once everything is confirmed: place `order`, or replace the order `order_number` by it."""

    order_number: int | None
    order: Order


@dataclass(frozen=True)
class PendingQuestion:
    """An open question: its id, the changes that wait for it, the messages confirmed before, and its own messages."""

    id: str
    changes: list[Change]
    confirmed: frozenset[str]
    message_ids: tuple[str, ...]
    session: Brokerage | None


@dataclass(frozen=True)
class Prompt:
    """A prompt that waits for one of its options; the answer must name the order's number and the request id."""

    order_number: int
    request_id: str
    changes: list[Change]
    session: Brokerage | None


class QuestionDesk:
    """The open question and the prompts of a user. IBKR holds at most one question at a time."""

    def __init__(self) -> None:
        self.asks_together = False
        """Whether all messages about an order come in one question; else each has a question of its own."""
        self._count = 0
        self._pending: PendingQuestion | None = None
        self._prompts: dict[tuple[int, str], Prompt] = {}

    def open_question(
        self, changes: list[Change], confirmed: frozenset[str], message_ids: tuple[str, ...], session: Brokerage | None
    ) -> PendingQuestion:
        """Open a question under a new id; it replaces the former one."""
        self._count += 1
        self._pending = PendingQuestion(
            str(uuid.uuid5(REPLY_ID_NAMESPACE, str(self._count))), changes, confirmed, message_ids, session
        )
        return self._pending

    def take_question(self, reply_id: str, session: Brokerage | None) -> PendingQuestion | None:
        """Return the question with that id if it is open in this session; close any open question."""
        pending = self._pending
        self.clear()
        return pending if pending and pending.id == reply_id and pending.session is session else None

    def open_prompt(self, order_number: int, changes: list[Change], session: Brokerage | None) -> Prompt:
        """Open a prompt. Other order calls do not close it, unlike a question, since it names its order."""
        self._count += 1
        prompt = Prompt(order_number, str(22_000 + self._count), changes, session)
        self._prompts[order_number, prompt.request_id] = prompt
        return prompt

    def take_prompt(self, order_number: int, request_id: str, session: Brokerage | None) -> Prompt | None:
        """Return and close the prompt of that order and request, if it is open in this session."""
        prompt = self._prompts.pop((order_number, request_id), None)
        return prompt if prompt and prompt.session is session else None

    def clear(self) -> None:
        """Close the open question, as another order call has arrived."""
        self._pending = None
