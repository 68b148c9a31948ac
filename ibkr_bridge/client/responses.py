"""Turn a response of the bridge into an error if it is not a good one. Pure: status, headers and body go in."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any

import msgspec

from ibkr_bridge import errors
from ibkr_bridge.client.errors import (
    AccessDenied,
    BridgeRefused,
    ClientError,
    Conflict,
    GatewayError,
    IbkrError,
    Internal,
    InvalidRequest,
    NotJson,
    OrderUnknown,
    Refused,
    TemporarilyUnavailable,
)
from ibkr_bridge.client.reply import Reply
from ibkr_bridge.models.session import Action
from ibkr_bridge.redaction import Redactor

BRIDGE_MARK_HEADER = "X-Bridge-Mode"  # in every response of the bridge; many other programs use port 8000
MAX_RETRY_AFTER_S = 1e9  # thirty years; a long row of digits would become infinity, which JSON does not have
MAX_QUOTED_LENGTH = 200  # characters of IBKR's own error text in a message

FAMILIES = {
    kind.__name__: kind
    for kind in (AccessDenied, InvalidRequest, Refused, Conflict, TemporarilyUnavailable, GatewayError, Internal)
}
FAMILY_BY_CODE: Mapping[str, type[BridgeRefused]] = {  # built from the error tree, so a new code is included
    **{
        leaf.code: FAMILIES[root.__name__]
        for root in errors.BridgeError.__subclasses__()
        for leaf in errors.error_classes(root)
    },
    OrderUnknown.code: OrderUnknown,
}


def error_of(reply: Reply, now: datetime) -> ClientError | None:
    """The error that a response stands for; None if its status is 2xx.

    Args:
        reply: any response of the bridge.
        now: for a `Retry-After` that is a date.
    """
    if 200 <= reply.status < 300:
        return None
    retry_after = parse_retry_after(reply.headers.get("Retry-After"), now)
    return (_bridge_error if reply.source == "bridge" else _ibkr_error)(reply, retry_after)


def _bridge_error(reply: Reply, retry_after: float | None) -> ClientError:
    members = _object(reply)
    code = members.get("code")
    if not isinstance(code, str):
        return _plain_text_error(reply, retry_after)
    return FAMILY_BY_CODE.get(code, BridgeRefused)(
        str(members.get("detail", "")),
        code=code,
        hint=str(members.get("hint", "")),
        field=_text(members.get("field")),
        order_id=_text(members.get("order_id")),
        user_message=_text(members.get("user_message")),
        action=_action(members.get("action")),
        request_id=reply.request_id or str(members.get("request_id", "")) or None,
        retry_after=retry_after,
        retryable=members.get("retryable") is True,
        status=reply.status,
        headers=reply.headers,
        body=reply.body,
    )


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _action(value: object) -> Action | None:
    """What the user can do; None if it is missing, or of a kind that a newer bridge has."""
    try:
        return msgspec.convert(value, Action)
    except msgspec.ValidationError:
        return None


def _plain_text_error(reply: Reply, retry_after: float | None) -> ClientError:
    """The error of a response without a code: /health, /livez and /readyz send text, responses to HEAD nothing."""
    kind, code = (TemporarilyUnavailable, "not_ready") if reply.status == 503 else (BridgeRefused, "refused")
    return kind(
        reply.text.strip() or f"the bridge answered {reply.status}",
        code=code,
        status=reply.status,
        headers=reply.headers,
        body=reply.body,
        request_id=reply.request_id,
        retry_after=retry_after,
    )


def _ibkr_error(reply: Reply, retry_after: float | None) -> ClientError:
    message = _object(reply).get("error")
    quoted = f": {Redactor().redact(message)[:MAX_QUOTED_LENGTH]}" if isinstance(message, str) and message else ""
    return IbkrError(
        f"IBKR answered {reply.status}{quoted}",
        request_id=reply.request_id,
        retry_after=retry_after,
        retryable=retry_after is not None and reply.status in (429, 503),
        status=reply.status,
        headers=reply.headers,
        body=reply.body,
    )


def _object(reply: Reply) -> dict[str, Any]:
    try:
        parsed = reply.json()
    except NotJson:
        return {}
    return parsed if isinstance(parsed, dict) else {}


def parse_retry_after(header: str | None, now: datetime) -> float | None:
    """Parse a `Retry-After`, seconds or a date, into seconds from now; None if it is absent or malformed."""
    if header is None:
        return None
    text = header.strip()
    if text.isascii() and text.isdigit():
        return min(float(text), MAX_RETRY_AFTER_S)
    try:
        return max(0.0, (parsedate_to_datetime(text) - now).total_seconds())
    except (TypeError, ValueError, OverflowError):  # not a date, or a date without a time zone
        return None
