"""What IBKR answers to an order call: a question, warnings beside a placed order, the figures of a preview. Pure."""

from __future__ import annotations

import re
from datetime import datetime
from decimal import Decimal

from ibkr_bridge.models.orders import OpenQuestion, Preview
from ibkr_bridge.translation.numbers import object_of, parse_body, rows_of, to_decimal, to_text

MAX_TEXTS = 20  # sentences of a question that are shown


def read_question(body: bytes, question_id: str | None, expires_at: datetime | None) -> OpenQuestion | None:
    """The question in an answer of IBKR's; None if there is none.

    Args:
        question_id: which one, if the answer has several; the first if left out.
    """
    parsed = parse_body(body)
    for part in rows_of(parsed if isinstance(parsed, list) else [parsed]):
        identity, message = to_text(part.get("id")), part.get("message")
        if identity is None or message is None or question_id not in (None, identity):
            continue
        texts = [str(each) for each in (message if isinstance(message, list) else [message])][:MAX_TEXTS]
        listed = part.get("messageIds")
        ids = [str(each) for each in listed] if isinstance(listed, list) else []
        return OpenQuestion(identity, texts, ids, expires_at)
    return None


def read_warnings(body: bytes) -> list[str]:
    """IBKR's warnings beside an order that it has taken."""
    parsed = parse_body(body)
    parts = rows_of(parsed if isinstance(parsed, list) else [parsed])
    texts = (to_text(part.get("warning_message") or part.get("text")) for part in parts)
    return [text for text in texts if text is not None]


MONEY = re.compile(r"([+-]?[\d,.]+)\s*([A-Z]{3})?")


def read_preview(body: object) -> Preview:
    """IBKR's answer to a preview. The figures are texts, some with a currency: `1,502.50 USD`."""
    answer = object_of(body)

    def figure(part: str, member: str) -> Decimal | None:
        match = MONEY.fullmatch(to_text(object_of(answer.get(part)).get(member)) or "")
        return to_decimal(match[1]) if match else None

    total = MONEY.fullmatch(to_text(object_of(answer.get("amount")).get("amount")) or "")
    warning = to_text(answer.get("warn"))
    return Preview(
        currency=total[2] if total else None,
        amount=figure("amount", "amount"),
        commission=figure("amount", "commission"),
        total=figure("amount", "total"),
        equity_before=figure("equity", "current"),
        equity_after=figure("equity", "after"),
        initial_margin_before=figure("initial", "current"),
        initial_margin_after=figure("initial", "after"),
        maintenance_margin_before=figure("maintenance", "current"),
        maintenance_margin_after=figure("maintenance", "after"),
        position_before=figure("position", "current"),
        position_after=figure("position", "after"),
        warnings=[warning] if warning else [],
        error=to_text(answer.get("error")),
    )
