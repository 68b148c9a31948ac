"""What a caller of the bridge hears instead of a good answer: one small family of errors. Pure.

    ClientError
    ├── NoAnswer           no whole answer of this bridge came
    │   ├── BridgeUnreachable   nothing listens there; nothing was sent
    │   ├── BridgeSilent        it did not answer in time
    │   ├── BridgeCutOff        the connection ended before the whole answer was here
    │   └── NotThisBridge       something else answers there
    ├── BridgeSaidNo       the bridge itself refused; `code` says why (docs/errors.md)
    │   ├── NoEntry · Malformed · Refused · Conflict · NotNow · Internal      as the bridge's own families
    │   └── GatewayTrouble
    │       └── OrderUnknown    what was asked for may have happened: never send it again
    └── IbkrSaidNo         IBKR's own answer, passed through unchanged
        └── NotJson             IBKR said yes, but in no JSON

A message never holds the key or an account number; a body may, so it is kept beside the message, not in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from ibkr_bridge import errors


class ClientError(Exception):
    """A call that brought nothing usable. The message is for people, `code` for programs.

    Args:
        detail: what happened, one sentence.
        code: the bridge's, where it said one.
        hint: what to do about it.
        request_id: under which the bridge's log knows the call.
        retry_after: seconds after which asking again makes sense; None where nobody said so.
        retryable: whether the same call, sent again later, may succeed and does no harm.
        status, headers, body: the response, if one came; headers without regard to case.
    """

    code: str = "client_error"
    hint: str = ""
    is_harmless: ClassVar[bool] = False

    def __init__(
        self,
        detail: str,
        *,
        code: str | None = None,
        hint: str | None = None,
        request_id: str | None = None,
        retry_after: float | None = None,
        retryable: bool | None = None,
        status: int | None = None,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.code = code or self.code
        self.hint = self.hint if hint is None else hint
        self.request_id = request_id
        self.retry_after = retry_after
        self.retryable = self.is_harmless if retryable is None else retryable
        self.status = status
        """HTTP's number; None if no response came."""
        self.headers: Mapping[str, str] = headers or {}
        self.body = body
        """The body of the response; empty if none came."""

    def __str__(self) -> str:
        known = f" (request {self.request_id})" if self.request_id else ""
        return f"{self.code}: {self.detail}{f'; {self.hint}' if self.hint else ''}{known}"


class NoResponse(ClientError):
    """No whole answer of this bridge came. Where a change had been sent, that is `OrderUnknown` instead."""


class BridgeUnreachable(NoResponse):
    """No connection; nothing was sent."""

    code, is_harmless = "bridge_unreachable", True
    hint = "start the bridge (python bridge.py), or correct IBKR_BRIDGE_URL"


class BridgeTimeout(NoResponse):
    """It took the call and did not answer in time."""

    code, is_harmless = "bridge_timeout", True
    hint = "look into its log; restart it if this lasts"


class BridgeConnectionLost(NoResponse):
    """The connection ended before the whole answer was here, or the answer cannot be unpacked."""

    code, is_harmless = "bridge_connection_lost", True
    hint = "look into the bridge's log; it may be restarting"


class NotThisBridge(NoResponse):
    """Something else answers at the bridge's address."""

    code = "not_this_bridge"
    hint = "correct IBKR_BRIDGE_URL"


class BridgeRefused(ClientError):
    """The bridge itself refused, in its own words."""


class AccessDenied(BridgeRefused):
    """Who or where the caller is: `invalid_key`, `scope`, `host_not_allowed`, `origin_not_allowed`."""


class InvalidRequest(BridgeRefused):
    """The call has to change: `bad_path`, `bad_request`, `not_bridged`, `not_supported`, `method_not_allowed`,
    `payload_too_large`,
    `uri_too_long`."""


class Refused(BridgeRefused):
    """The guard said no and nothing was sent; a person has to change a setting or lift a pause."""


class Conflict(BridgeRefused):
    """Another order is in the way, and nothing was sent: `order_in_progress`, `duplicate_order`,
    `idempotency_mismatch`, `reply_not_found`."""


class TemporarilyUnavailable(BridgeRefused):
    """Nothing was sent; waiting may help: `rate_limited`, `penalty_box`, `busy`, `session_unavailable`,
    `maintenance`, `shutting_down`, `journal_unavailable`, `market_data_limit`, `not_ready`."""


class GatewayError(BridgeRefused):
    """The Gateway, or IBKR behind it, did not do its part."""


class OrderUnknown(GatewayError):
    """What was asked for may have happened. Never send it again: look for it first."""

    code, hint = errors.OrderUnknown.code, errors.OrderUnknown.hint


class Internal(BridgeRefused):
    """The bridge's own bug; its log tells more under the request's id."""


class IbkrError(ClientError):
    """IBKR's own answer, unchanged, and it is no yes; `status` and `body` are IBKR's."""

    code = "ibkr_error"


class NotJson(IbkrError):
    """The status is a yes, but the body is no JSON; `request()` gives it as it is."""

    code = "not_json"
    hint = "take it as it is: request(…).body"
