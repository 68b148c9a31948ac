"""Interprets IBKR's response to an order call. Pure.

A status of 200 alone means nothing: refusals and questions come with it too. If the body has none of IBKR's four forms,
or the status is a server error, the order may or may not exist: the reconciler then searches for it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Any

from ibkr_bridge.ibkr.bodies import LOST_SESSION_PHRASES, parse_json, session_phrases
from ibkr_bridge.orders.journal.order_record import cut
from ibkr_bridge.orders.journal.transitions import OrderEvent

REPLY_ID = re.compile(r"[A-Za-z0-9_-]{1,80}")
MESSAGE_ID = re.compile(r"[A-Za-z0-9]{1,20}")
MAX_ERROR_LENGTH = 300  # characters of IBKR's error text that are stored
MAX_READ_LENGTH = 1000  # characters of it that decide what it means
AND_MORE = " and more"  # stands for the rest, so that no pattern for a whole text matches the beginning alone
WORD_AT_END = re.compile(r"\w*\Z")
REPLY_ID_UNKNOWN = "reply id not found"
UNCONFIRMED = "order not confirmed"
NO_SESSION = tuple(phrase.decode() for phrase in LOST_SESSION_PHRASES)
"""The same texts for the text of an error that has been parsed."""
MALFORMED = re.compile(
    r"\s*(bad request\b.*|invalid(?! response| reply| answer| state)( \w+){1,3}\W*)", re.IGNORECASE | re.DOTALL
)
"""Whole texts of a status 500 that IBKR sends before it does anything, for malformed tickets for example."""
NOT_PROCESSED_STATUSES = frozenset(range(400, 500)) - {HTTPStatus.REQUEST_TIMEOUT, 499}
"""Statuses that say that the call itself was wrong. 408 and 499 say only that somebody stopped waiting."""
NO_SUCH_ORDER = re.compile(
    r"\W*(no such order|(the )?order( ?id)?( ?#?[\w.-]*\d[\w.-]*)? (is |was |has been |is already |was already )?"
    r"(not found|does not exist|doesn.?t exist|cancell?ed|expired|inactive|not active))\W*",
    re.IGNORECASE,
)
"""Whole texts that say of an order that it is over or not there. A placement is refused by these alone: in a longer
text the words may concern another part of IBKR's system, while the order exists.
"""
ORDER_GONE = re.compile(
    r"\bno such order\b|\border\w*\b.*\b(not found|not exist|doesn.?t exist|cancell?ed|expired|inactive|not active)\b"
    r"|\b(cannot|can.?t|can not|unable to) (be )?(cancel|modif)|\btoo late to (cancel|modif)"
    r"|\bnot (cancell?able|modifiable)\b",
    re.IGNORECASE | re.DOTALL,
)
"""IBKR's texts for an order that is over or that it does not have. They count only as the answer to a cancel or a
change, whatever its status: IBKR did nothing.
"""
ORDER_EXECUTED = re.compile(r"\border\w*\b.*\b(filled|executed|completed)\b", re.IGNORECASE | re.DOTALL)
"""IBKR's texts for an order that was executed. They count only as the answer to a cancel or a change. About a placement
they could mean that it was carried out.
"""
UNCLEAR = "IBKR's response does not show whether the order was placed"


@dataclass(frozen=True)
class Question:
    """IBKR's request to confirm an order: the ids to reply to, and the ids of its messages."""

    replies: tuple[str, ...]
    messages: tuple[str, ...]

    @property
    def can_be_confirmed(self) -> bool:
        """Whether the bridge could confirm it by itself: there is one question, and all its messages have ids."""
        return len(self.replies) == 1 and bool(self.messages)


@dataclass(frozen=True)
class OrderOutcome:
    """What a response says of the order."""

    event: OrderEvent
    order_ids: tuple[str, ...] = ()
    status: str | None = None
    """IBKR's word for the order's state."""
    error: str | None = None
    question: Question | None = None
    may_be_sent_again: bool = False
    """Whether IBKR did not process the call, so that the same call may be sent again."""


def mark_unprocessed(outcome: OrderOutcome, status: int, body: bytes) -> OrderOutcome:
    """A refusal for want of a session was not processed, whatever its form: plain text, a page, another member."""
    is_refusal = outcome.event is OrderEvent.TURNED_DOWN
    return replace(outcome, may_be_sent_again=True) if is_refusal and session_phrases(status, body) else outcome


def interpret_placement(status: int, body: bytes) -> OrderOutcome:
    """Interpret the response to a placement, a modification or a reply: taken, asked, turned down, dropped, or lost."""
    parsed = parse_json(body)
    if status != 200:
        return _as_error_status(status, parsed)
    parts = [part for part in (parsed if isinstance(parsed, list) else [parsed]) if isinstance(part, dict)]
    if isinstance(parsed, list) and len(parts) != len(parsed):
        return OrderOutcome(OrderEvent.LOST, error=UNCLEAR)
    for read in (_as_question, _as_taken, _as_embedded_error):
        outcome = read(parts)
        if outcome is not None:
            return outcome
    return OrderOutcome(OrderEvent.LOST, error=UNCLEAR)


def interpret_modification(status: int, body: bytes) -> OrderOutcome:
    """Interpret the response to a modification: as that to a placement, but the order may be over."""
    if status != HTTPStatus.OK and (refusal := _as_over(parse_json(body))):
        return refusal
    return interpret_placement(status, body)


def interpret_partial_reply(status: int, body: bytes, rest: tuple[str, ...]) -> OrderOutcome:
    """Interpret the response to one of several replies: the questions of the others stay open."""
    outcome = interpret_placement(status, body)
    if not rest or outcome.event is not OrderEvent.TAKEN:
        return outcome
    return OrderOutcome(OrderEvent.ASKED, outcome.order_ids, outcome.status, question=Question(rest, ()))


def interpret_cancel(status: int, body: bytes) -> OrderOutcome:
    """Interpret the response to a cancel or to an answered notice: IBKR's texts vary, any that is not an error
    counts.
    """
    parsed = parse_json(body)
    if status != HTTPStatus.OK:
        return _as_over(parsed) or _as_error_status(status, parsed)
    parts = [part for part in (parsed if isinstance(parsed, list) else [parsed]) if isinstance(part, dict)]
    refusal = _as_embedded_error(parts)
    if refusal is not None:
        return refusal
    done = bool(parts) or (isinstance(parsed, str) and parsed) or body.strip() == b"Success"
    if not done:
        return OrderOutcome(OrderEvent.LOST, error=UNCLEAR)
    message = next((shorten(str(part["msg"])) for part in parts if "msg" in part), None)
    return OrderOutcome(OrderEvent.TAKEN, _order_ids(parts), status=message)


def _as_question(parts: Sequence[Mapping[str, Any]]) -> OrderOutcome | None:
    questions = [part for part in parts if "id" in part and "message" in part]
    if not questions:
        return None
    replies = tuple(str(part["id"]) for part in questions if REPLY_ID.fullmatch(str(part["id"])))
    if len(replies) != len(questions):
        return OrderOutcome(OrderEvent.LOST, error=UNCLEAR)
    listed = [part.get("messageIds") for part in questions]
    have_ids = all(isinstance(ids, list) and ids and all(_is_name(each) for each in ids) for ids in listed)
    messages = tuple(str(each) for ids in listed if isinstance(ids, list) for each in ids) if have_ids else ()
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
        status=next((cut(part["order_status"]) for part in parts if "order_status" in part), None),
    )


def _as_embedded_error(parts: Sequence[Mapping[str, Any]]) -> OrderOutcome | None:
    """An error inside a 200. With an order number beside it, it is not a plain refusal: that order may exist, or may be
    on hold until somebody answers a notice.
    """
    for part in parts:
        text = part.get("error", part.get("text") if part.get("prompt") is True else None)
        if text is not None or part.get("success") is False:
            ids = _order_ids(parts)
            error_text = _beginning_of(str(text or "refused"))
            return OrderOutcome(OrderEvent.LOST, ids, error=shorten(error_text)) if ids else _as_turned_down(error_text)
    return None


def _as_turned_down(text: str) -> OrderOutcome:
    lower_text = text.lower()
    is_question_gone = REPLY_ID_UNKNOWN in lower_text or UNCONFIRMED in lower_text
    return OrderOutcome(
        OrderEvent.DROPPED if is_question_gone else OrderEvent.TURNED_DOWN,
        error=shorten(text),
        may_be_sent_again=_lacks_session(text),
    )


def _as_error_status(status: int, parsed: object) -> OrderOutcome:
    """Another status than 200. A failing server may have passed the order on before it failed."""
    text = _error_text(parsed)
    error_text = text or f"IBKR answered {status}"
    is_malformed = status == HTTPStatus.INTERNAL_SERVER_ERROR and _is_malformed(text)
    if status in NOT_PROCESSED_STATUSES or is_malformed or NO_SUCH_ORDER.fullmatch(text):
        return _as_turned_down(error_text)
    return OrderOutcome(OrderEvent.LOST, error=shorten(error_text))


def _is_malformed(text: str) -> bool:
    return MALFORMED.fullmatch(text) is not None or _lacks_session(text)


def _lacks_session(text: str) -> bool:
    """Whether the call had no session, so that IBKR did not process it."""
    return any(phrase in text.lower() for phrase in NO_SESSION)


def _as_over(parsed: object) -> OrderOutcome | None:
    """A refusal because the order is over, or was carried out already; None if the words say nothing of that."""
    text = _error_text(parsed)
    return _as_turned_down(text) if ORDER_GONE.search(text) or ORDER_EXECUTED.search(text) else None


def _error_text(parsed: object) -> str:
    text = parsed.get("error") if isinstance(parsed, dict) else None
    return _beginning_of(str(text)) if text else ""


def _beginning_of(text: str) -> str:
    return text if len(text) <= MAX_READ_LENGTH else text[:MAX_READ_LENGTH] + AND_MORE


def shorten(text: str) -> str:
    """The beginning of a text of IBKR's, without a word that would be cut in two: half an account number would not be
    recognised when the text is shown.
    """
    return text if len(text) <= MAX_ERROR_LENGTH else WORD_AT_END.sub("", text[:MAX_ERROR_LENGTH]) + "…"


def _order_ids(parts: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    values = (part.get("order_id", part.get("orderId")) for part in parts)
    return tuple(str(each)[:40] for each in values if isinstance(each, int | str) and str(each))
