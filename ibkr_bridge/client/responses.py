"""What the bridge answered: a reply, and what it means where it is no yes. Pure: status, headers and body in."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any

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
from ibkr_bridge.redaction import Redactor

BRIDGE_MARK_HEADER = "X-Bridge-Mode"  # a header of every answer of the bridge; port 8000 is popular
MAX_RETRY_AFTER_S = 1e9  # seconds; a longer one is nobody's plan, and JSON has no infinity
MAX_QUOTED_LENGTH = 200  # characters of IBKR's own words in a message


FAMILIES = {
    kind.__name__: kind
    for kind in (AccessDenied, InvalidRequest, Refused, Conflict, TemporarilyUnavailable, GatewayError, Internal)
}
FAMILY_BY_CODE: Mapping[str, type[BridgeRefused]] = {  # a new code of the bridge finds its family by itself
    **{
        leaf.code: FAMILIES[root.__name__]
        for root in errors.BridgeError.__subclasses__()
        for leaf in errors.error_classes(root)
    },
    OrderUnknown.code: OrderUnknown,
}


def error_of(reply: Reply, now: datetime) -> ClientError | None:
    """What an answer of the bridge means where it is no yes; None where it is one.

    Args:
        now: for a `Retry-After` that names a time of day.
    """
    if 200 <= reply.status < 300:
        return None
    pause = parse_retry_after(reply.headers.get("Retry-After"), now)
    return (_bridge_error if reply.source == "bridge" else _ibkr_error)(reply, pause)


def _bridge_error(reply: Reply, pause: float | None) -> ClientError:
    told = _object(reply)
    code = told.get("code")
    if not isinstance(code, str):
        return _plain_text_error(reply, pause)
    return FAMILY_BY_CODE.get(code, BridgeRefused)(
        str(told.get("detail", "")),
        code=code,
        hint=str(told.get("hint", "")),
        request_id=reply.request_id or str(told.get("request_id", "")) or None,
        retry_after=pause,
        retryable=told.get("retryable") is True,
        status=reply.status,
        headers=reply.headers,
        body=reply.body,
    )


def _plain_text_error(reply: Reply, pause: float | None) -> ClientError:
    """What /health, /livez and /readyz say in their own words, and the answers to HEAD, which have none."""
    kind, code = (TemporarilyUnavailable, "not_ready") if reply.status == 503 else (BridgeRefused, "refused")
    said = reply.text.strip() or f"the bridge answered {reply.status}"
    return kind(
        said,
        code=code,
        status=reply.status,
        headers=reply.headers,
        body=reply.body,
        request_id=reply.request_id,
        retry_after=pause,
    )


def _ibkr_error(reply: Reply, pause: float | None) -> ClientError:
    said = _object(reply).get("error")
    words = f": {Redactor().redact(said)[:MAX_QUOTED_LENGTH]}" if isinstance(said, str) and said else ""
    return IbkrError(
        f"IBKR answered {reply.status}{words}",
        request_id=reply.request_id,
        retry_after=pause,
        retryable=pause is not None and reply.status in (429, 503),
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


def parse_retry_after(given: str | None, now: datetime) -> float | None:
    """A `Retry-After`, seconds or a date, as seconds from now; None where there is none that can be read."""
    if given is None:
        return None
    text = given.strip()
    if text.isascii() and text.isdigit():
        return min(float(text), MAX_RETRY_AFTER_S)
    try:
        return max(0.0, (parsedate_to_datetime(text) - now).total_seconds())
    except (TypeError, ValueError, OverflowError):  # no date, or one without a zone
        return None
