"""What IBKR's answer to an order call says of the order. Pure.

A status of 200 says nothing: refusals come with it too, and so do questions. What cannot be read as one of IBKR's four
shapes, or comes from a server in trouble, leaves it open whether the order exists: then it is looked for.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ibkr_bridge.ibkr.bodies import parse_json
from ibkr_bridge.orders.journal.transitions import OrderEvent

REPLY_ID = re.compile(r"[A-Za-z0-9_-]{1,80}")
MESSAGE_ID = re.compile(r"[A-Za-z0-9]{1,20}")
MAX_ERROR_LENGTH = 300  # characters of IBKR's own words that are kept as an error
REPLY_ID_UNKNOWN = "reply id not found"
UNCONFIRMED = "order not confirmed"
NO_SESSION = ("no bridge", "init session first", "query /accounts first", "no session", "not authenticated")
"""What IBKR says to a call that has no session: it has looked no further."""
MALFORMED = (*NO_SESSION, "bad request", "invalid")
"""What a status of 500 says that comes before anything was done, as for tickets that are malformed."""
UNCLEAR = "IBKR's answer does not say what became of it"


@dataclass(frozen=True)
class Question:
    """IBKR asks back: the ids to reply to, and what its messages are called."""

    replies: tuple[str, ...]
    messages: tuple[str, ...]

    @property
    def can_be_confirmed(self) -> bool:
        """Whether the bridge could reply by itself: there is one question, and all its messages have names."""
        return len(self.replies) == 1 and bool(self.messages)


@dataclass(frozen=True)
class OrderOutcome:
    """What an answer says."""

    event: OrderEvent
    order_ids: tuple[str, ...] = ()
    status: str | None = None
    """IBKR's word for the order's state."""
    error: str | None = None
    question: Question | None = None
    may_be_sent_again: bool = False
    """Whether IBKR did not even look at the call, so that the same one may be sent again."""


def interpret_placement(status: int, body: bytes) -> OrderOutcome:
    """What an answer to a placement, a change or a reply says: taken, asked, turned down, dropped, or lost."""
    told = parse_json(body)
    if status != 200:
        return _as_error_status(status, told)
    parts = [part for part in (told if isinstance(told, list) else [told]) if isinstance(part, dict)]
    if isinstance(told, list) and len(parts) != len(told):
        return OrderOutcome(OrderEvent.LOST, error=UNCLEAR)
    for read in (_as_question, _as_taken, _as_embedded_error):
        outcome = read(parts)
        if outcome is not None:
            return outcome
    return OrderOutcome(OrderEvent.LOST, error=UNCLEAR)


def interpret_partial_reply(status: int, body: bytes, rest: tuple[str, ...]) -> OrderOutcome:
    """What an answer to one of several replies says: while others are open, their questions still hang."""
    outcome = interpret_placement(status, body)
    if not rest or outcome.event is not OrderEvent.TAKEN:
        return outcome
    return OrderOutcome(OrderEvent.ASKED, outcome.order_ids, outcome.status, question=Question(rest, ()))


def interpret_cancel(status: int, body: bytes) -> OrderOutcome:
    """What an answer to a cancel, or to an answered notice, says: IBKR's words differ, any that is no error will do."""
    told = parse_json(body)
    if status != 200:
        return _as_error_status(status, told)
    parts = [part for part in (told if isinstance(told, list) else [told]) if isinstance(part, dict)]
    no = _as_embedded_error(parts)
    if no is not None:
        return no
    done = bool(parts) or (isinstance(told, str) and told) or body.strip() == b"Success"
    return _as_cancelled(parts) if done else OrderOutcome(OrderEvent.LOST, error=UNCLEAR)


def _as_cancelled(parts: Sequence[Mapping[str, Any]]) -> OrderOutcome:
    return OrderOutcome(
        OrderEvent.TAKEN, _order_ids(parts), status=next((str(part["msg"]) for part in parts if "msg" in part), None)
    )


def _as_question(parts: Sequence[Mapping[str, Any]]) -> OrderOutcome | None:
    asking = [part for part in parts if "id" in part and "message" in part]
    if not asking:
        return None
    replies = tuple(str(part["id"]) for part in asking if REPLY_ID.fullmatch(str(part["id"])))
    if len(replies) != len(asking):
        return OrderOutcome(OrderEvent.LOST, error=UNCLEAR)
    listed = [part.get("messageIds") for part in asking]
    known = all(isinstance(ids, list) and ids and all(_is_name(each) for each in ids) for ids in listed)
    messages = tuple(str(each) for ids in listed if isinstance(ids, list) for each in ids) if known else ()
    return OrderOutcome(OrderEvent.ASKED, _order_ids(parts), question=Question(replies, messages))


def _is_name(value: object) -> bool:
    return isinstance(value, str) and MESSAGE_ID.fullmatch(value) is not None


def _as_taken(parts: Sequence[Mapping[str, Any]]) -> OrderOutcome | None:
    ids = _order_ids(parts)
    if not ids or any("error" in part or part.get("prompt") is True for part in parts):
        return None
    return OrderOutcome(
        OrderEvent.TAKEN,
        ids,
        status=next((str(part["order_status"]) for part in parts if "order_status" in part), None),
    )


def _as_embedded_error(parts: Sequence[Mapping[str, Any]]) -> OrderOutcome | None:
    """An error inside a 200. Beside an order's number it is no plain no: that order may stand, or stand still until
    somebody answers a notice."""
    for part in parts:
        text = part.get("error", part.get("text") if part.get("prompt") is True else None)
        if text is not None or part.get("success") is False:
            ids = _order_ids(parts)
            said = str(text or "refused")[:MAX_ERROR_LENGTH]
            return OrderOutcome(OrderEvent.LOST, ids, error=said) if ids else _as_turned_down(said)
    return None


def _as_turned_down(text: str) -> OrderOutcome:
    said = text.lower()
    gone = REPLY_ID_UNKNOWN in said or UNCONFIRMED in said
    unseen = any(phrase in said for phrase in NO_SESSION)
    return OrderOutcome(
        OrderEvent.DROPPED if gone else OrderEvent.TURNED_DOWN, error=text[:MAX_ERROR_LENGTH], may_be_sent_again=unseen
    )


def _as_error_status(status: int, told: object) -> OrderOutcome:
    """Another status than 200. A server in trouble may have passed the order on before it gave up."""
    text = told.get("error") if isinstance(told, dict) else None
    said = str(text or f"IBKR answered {status}")
    if 400 <= status < 500 or (status == 500 and any(word in said.lower() for word in MALFORMED)):
        return _as_turned_down(said)
    return OrderOutcome(OrderEvent.LOST, error=said[:MAX_ERROR_LENGTH])


def _order_ids(parts: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    found = (part.get("order_id", part.get("orderId")) for part in parts)
    return tuple(str(each)[:40] for each in found if isinstance(each, int | str) and str(each))
