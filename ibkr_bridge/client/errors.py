"""The errors of the client: what is raised if no good response came. Pure.

    ClientError
    ├── NoResponse              no complete response of this bridge came
    │   ├── BridgeUnreachable        nothing listens there; nothing was sent
    │   ├── BridgeTimeout            the bridge did not answer in time
    │   ├── BridgeConnectionLost     the connection ended before the response was complete
    │   └── NotThisBridge            another program answers there
    ├── BridgeRefused           the bridge itself refused; `code` says why (docs/errors.md)
    │   ├── AccessDenied · InvalidRequest · Refused · Conflict · TemporarilyUnavailable · Internal
    │   └── GatewayError             these seven are the bridge's own families (`ibkr_bridge/errors.py`)
    │       └── OrderUnknown         the requested change may have happened: never send it again
    └── IbkrError               IBKR's own response, passed through unchanged
        └── NotJson                  the status is good, but the body is not JSON

A message never holds the key or an account number. A body may hold one, so it is an attribute and not in the message.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from ibkr_bridge import errors
from ibkr_bridge.models.session import Action
from ibkr_bridge.program_name import INSTALLED_NAME, is_installed


class ClientError(Exception):
    """A call without a usable response. The message is for people, `code` for programs.

    Args:
        detail: what happened, one sentence.
        code: the code of the bridge's error; by default that of the class.
        hint: what to do about it, for a developer or an operator.
        field: the member or parameter of the request that is wrong; None if no one is.
        order_id: the order of the call in the bridge's journal; None if the journal has none of it.
        user_message: a sentence that an app may show to its user; by default that of the class.
        action: what the user can do; None if the bridge did not say.
        request_id: the id of the call in the bridge's log.
        retry_after: seconds after which a repeat makes sense; None if nobody named them.
        retryable: whether the same call, sent again later, may succeed and does no harm.
        status, headers, body: the response, if one came; headers without regard to case.
    """

    code: str = "client_error"
    hint: str = ""
    user_message: str = "Something went wrong. Try again later."
    is_harmless: ClassVar[bool] = False

    def __init__(
        self,
        detail: str,
        *,
        code: str | None = None,
        hint: str | None = None,
        field: str | None = None,
        order_id: str | None = None,
        user_message: str | None = None,
        action: Action | None = None,
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
        self.field = field
        self.order_id = order_id
        self.user_message = user_message or self.user_message
        self.action = action
        self.request_id = request_id
        self.retry_after = retry_after
        self.retryable = self.is_harmless if retryable is None else retryable
        self.status = status
        """HTTP's number; None if no response came."""
        self.headers: Mapping[str, str] = headers or {}
        self.body = body
        """The body of the response; empty if none came."""
        self.idempotency_key: str | None = None
        """The key of an order call of the plain API: the same call with the same key is safe to send again."""

    def __str__(self) -> str:
        request = f" (request {self.request_id})" if self.request_id else ""
        return f"{self.code}: {self.detail}{f'; {self.hint}' if self.hint else ''}{request}"


class NoResponse(ClientError):
    """No complete response of this bridge came. If a change had been sent, `OrderUnknown` is raised instead."""

    user_message = "The trading connection does not answer. Try again in a moment."


class BridgeUnreachable(NoResponse):
    """No connection; nothing was sent."""

    code, is_harmless = "bridge_unreachable", True
    hint = "start the bridge ({start}), or correct IBKR_BRIDGE_URL".format(
        start=f"systemctl start {INSTALLED_NAME}" if is_installed() else "python bridge.py"
    )


class BridgeTimeout(NoResponse):
    """The bridge accepted the connection and did not answer in time."""

    code, is_harmless = "bridge_timeout", True
    hint = "look into the bridge's log; restart the bridge if this lasts"


class BridgeConnectionLost(NoResponse):
    """The connection ended before the response was complete, or its body cannot be decompressed."""

    code, is_harmless = "bridge_connection_lost", True
    hint = "look into the bridge's log; it may be restarting"


class NotThisBridge(NoResponse):
    """Another program answers at the bridge's address."""

    code = "not_this_bridge"
    hint = "correct IBKR_BRIDGE_URL"


class BridgeRefused(ClientError):
    """The bridge itself refused. A code that this client does not know raises this class."""


class AccessDenied(BridgeRefused):
    """The caller may not do this: `invalid_key`, `insufficient_scope`, `host_not_allowed`, `origin_not_allowed`."""


class InvalidRequest(BridgeRefused):
    """The call must be changed: `bad_path`, `bad_request`, `not_bridged`, `not_supported`, `method_not_allowed`,
    `payload_too_large`, `uri_too_long`, `unsupported_media_type`, `validation_failed`, `account_not_found`,
    `instrument_not_found`, `order_not_found`, `ambiguous_symbol`."""


class Refused(BridgeRefused):
    """A rule of the bridge refused the call, and nothing was sent. A person has to change a setting or end a pause."""


class Conflict(BridgeRefused):
    """Another order is in the way, and nothing was sent: `order_in_progress`, `duplicate_order`,
    `idempotency_mismatch`, `reply_not_found`."""


class TemporarilyUnavailable(BridgeRefused):
    """Nothing was sent; waiting may help: `rate_limited`, `penalty_box`, `busy`, `session_unavailable`,
    `maintenance`, `shutting_down`, `journal_unavailable`, `market_data_limit`, `not_ready`."""


class GatewayError(BridgeRefused):
    """The Gateway, or IBKR behind it, failed."""


class OrderUnknown(GatewayError):
    """The requested change may have happened. Never send it again: look for it first."""

    code, hint = errors.OrderUnknown.code, errors.OrderUnknown.hint
    user_message = "It is not known whether this was carried out. Do not send it again."


class Internal(BridgeRefused):
    """A bug of the bridge; its log has more under the request's id."""


class IbkrError(ClientError):
    """IBKR's own response, unchanged, with an error status; `status` and `body` are IBKR's."""

    code = "ibkr_error"
    user_message = "Interactive Brokers did not accept this."


class NotJson(IbkrError):
    """The status is good, but the body is not JSON; `request()` returns it unchanged."""

    code = "not_json"
    hint = "read it unchanged: request(…).body"
