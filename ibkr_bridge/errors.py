"""The errors that a caller can get instead of IBKR's response.

    BridgeError
    ├── AccessDenied            invalid_key · insufficient_scope ·
    │                           host_not_allowed · origin_not_allowed           who or where the caller is
    ├── InvalidRequest          bad_path · bad_request · not_bridged ·
    │                           method_not_allowed · payload_too_large ·
    │                           uri_too_long · unsupported_media_type ·
    │                           not_supported · validation_failed ·
    │                           account_not_found · instrument_not_found ·
    │                           order_not_found · ambiguous_symbol ·
    │                           profile_required · profile_not_found ·
    │                           profile_exists · request_token_unknown          what was sent
    ├── Refused                 read_only · paper_only · account_not_allowed ·
    │                           order_limit_exceeded · trading_paused ·
    │                           confirmation_required                           a rule refused; nothing was sent
    ├── Conflict                order_in_progress · duplicate_order ·
    │                           idempotency_mismatch · reply_not_found          another order blocks this one
    ├── TemporarilyUnavailable  rate_limited · penalty_box · busy ·
    │                           session_unavailable · maintenance ·
    │                           shutting_down · journal_unavailable ·
    │                           market_data_limit                               nothing was sent; waiting may help
    ├── GatewayError            gateway_unreachable · gateway_timeout ·
    │                           gateway_protocol_error · gateway_forbidden ·
    │                           upstream_refused · upstream_error ·
    │                           order_rejected · order_not_working ·
    │                           order_unknown · order_not_placed                                the Gateway or IBKR
    └── Internal                internal                                        a bug of the bridge

Packages raise these; only `server/problem_details.py` turns them into HTTP. A message says what happened, a hint says
what to do. Neither repeats what the caller sent, so neither can contain a key, a cookie or an account number.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import ClassVar


class BridgeError(Exception):
    """An error for the caller. The message is for people.

    Args:
        detail: what happened, one sentence.
        hint: what to do about it; that of the class if left out.
        retry_after: seconds after which the call may be repeated; None if waiting does not help.
        field: the member or parameter that is to blame; None if it is none in particular.
        members: further members of the answer, in the form of JSON.
    """

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal"  # stable: programs switch on it
    hint: str = ""
    headers: ClassVar[dict[str, str]] = {}
    request_id: str | None = None
    """The id of the request that got it first, if it is a replay."""
    needs_sign_in: bool = False
    """Whether a person has to sign in at IBKR first."""

    def __init__(
        self,
        detail: str,
        *,
        hint: str | None = None,
        retry_after: float | None = None,
        field: str | None = None,
        members: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.retry_after = retry_after
        self.field = field
        self.members = members or {}
        if hint is not None:
            self.hint = hint

    @property
    def retryable(self) -> bool:
        """Whether the same call, sent again later, may succeed and does no harm."""
        return self.retry_after is not None

    @property
    def title(self) -> str:
        """The code in words, the same for every occurrence (RFC 9457)."""
        return self.code.replace("_", " ").capitalize()


class AccessDenied(BridgeError):
    """The caller has no access, or not to this route."""

    status = 403


class InvalidKey(AccessDenied):
    """No key, a wrong key, two keys that differ, or an expired token: one response for all, so that guessing reveals
    nothing."""

    status, code = 401, "invalid_key"
    hint = "send the header X-Bridge-Key with the value of IBKR_BRIDGE_KEY"
    headers: ClassVar[dict[str, str]] = {"WWW-Authenticate": 'Bearer realm="ibkr-bridge"'}


class InsufficientScope(AccessDenied):
    """The key or the token may only read."""

    code = "insufficient_scope"
    hint = "use the full key (IBKR_BRIDGE_KEY) for this call"


class HostNotAllowed(AccessDenied):
    """The Host header names neither the bridge's address, nor a loopback name, nor a listed one (DNS rebinding)."""

    code = "host_not_allowed"
    hint = "call the bridge by its own address, or list the name in IBKR_BRIDGE_ALLOWED_HOSTS"


class OriginNotAllowed(AccessDenied):
    """The request comes from a web page of another origin."""

    code = "origin_not_allowed"
    hint = "call the bridge from your server; a page may open only /ws, with a token of POST /auth/token"


class InvalidRequest(BridgeError):
    """The request itself is invalid."""

    status = 400


class BadPath(InvalidRequest):
    """The path is not written in its one canonical form."""

    code = "bad_path"
    hint = "send a plain path: no empty or dot segments, no encoded slashes, no ';', no characters outside ASCII"


class BadRequest(InvalidRequest):
    """The request is well-formed HTTP, but the bridge cannot send it on."""

    code = "bad_request"
    hint = "correct the request as the detail says"


class NotBridged(InvalidRequest):
    """The bridge does not serve this path."""

    status, code = 404, "not_bridged"
    hint = "only /iserver, /portfolio and /marketdata are bridged; IBKR_BRIDGE_EXTRA_PREFIXES opens more"


class NotSupported(InvalidRequest):
    """IBKR has this endpoint, but not on the way by which this profile reaches IBKR."""

    status, code = 501, "not_supported"
    hint = "use a profile that reaches IBKR in another way, or another endpoint"


class MethodNotAllowed(InvalidRequest):
    """The path exists, but not with this method."""

    status, code = 405, "method_not_allowed"
    hint = "use GET, POST, PUT or DELETE as IBKR's reference says for this path"

    def __init__(self, detail: str, allowed: str) -> None:
        super().__init__(detail, hint=f"this path accepts {allowed}")
        self.headers = {"Allow": allowed}  # type: ignore[misc]  # each path has its own methods


class PayloadTooLarge(InvalidRequest):
    """The body is larger than any call of this API needs, or has more than 5000 members."""

    status, code = 413, "payload_too_large"
    hint = "send at most 1 MiB"


class UriTooLong(InvalidRequest):
    """The Gateway accepts request lines of 4096 bytes, and the bridge needs some of them for a prefix."""

    status, code = 414, "uri_too_long"
    hint = "request fewer conids or fields at a time: path and query may have 4000 bytes"


class UnsupportedMediaType(InvalidRequest):
    """The body is compressed. The bridge reads bodies as they are, and never unpacks one."""

    status, code = 415, "unsupported_media_type"
    hint = "send the body without Content-Encoding"
    headers: ClassVar[dict[str, str]] = {"Accept-Encoding": "identity"}


class ValidationFailed(InvalidRequest):
    """A parameter or a member of the body is not valid. Nothing was sent."""

    status, code = 422, "validation_failed"
    hint = "correct what `field` names, as the detail says"


class AccountNotFound(InvalidRequest):
    """The login has no such account."""

    status, code = 404, "account_not_found"
    hint = "GET /accounts lists the accounts of the login"


class InstrumentNotFound(InvalidRequest):
    """IBKR has no such instrument."""

    status, code = 404, "instrument_not_found"
    hint = "GET /instruments?symbol= finds instruments; write SYMBOL@EXCHANGE, or use the conid"


class OrderNotFound(InvalidRequest):
    """Neither the journal nor IBKR's list of the day has such an order."""

    status, code = 404, "order_not_found"
    hint = "GET /orders lists the orders of the last day"


class ProfileRequired(InvalidRequest):
    """The key serves several profiles, and the request names none of them."""

    code = "profile_required"
    hint = "send the header X-Bridge-Profile with the name of one of the profiles of this key; GET /profiles lists them"


class ProfileNotFound(InvalidRequest):
    """This key has no such profile: one response for a profile that does not exist and for one of somebody else."""

    status, code = 404, "profile_not_found"
    hint = "GET /profiles lists the profiles of this key"


class ProfileExists(InvalidRequest):
    """A profile of this name runs already."""

    status, code = 409, "profile_exists"
    hint = "choose another name, or forget the profile first"


class RequestTokenUnknown(InvalidRequest):
    """This request token was not made for this profile, was used, or is older than ten minutes."""

    status, code = 404, "request_token_unknown"
    hint = "begin the connection again: POST /profiles/{name}/connection"


class AmbiguousSymbol(InvalidRequest):
    """The symbol stands for several instruments, and nothing says which one is meant."""

    status, code = 409, "ambiguous_symbol"
    hint = "use the conid of one of the candidates, or write SYMBOL@EXCHANGE"


class Refused(BridgeError):
    """A rule refused the call. Nothing was sent."""

    status = 403


class ReadOnly(Refused):
    """This bridge, or this key, does not trade."""

    code = "read_only"
    hint = "set IBKR_READ_ONLY=no to trade through this bridge"


class PaperOnly(Refused):
    """Paper mode, and the account is not known to be a paper account."""

    code = "paper_only"
    hint = "set IBKR_TRADING_MODE=live to trade with real money"


class AccountNotAllowed(Refused):
    """The account is not in IBKR_ALLOWED_ACCOUNTS, or the login does not have it."""

    code = "account_not_allowed"
    hint = "add the account to IBKR_ALLOWED_ACCOUNTS"


class OrderLimitExceeded(Refused):
    """The order is larger than allowed, or its size cannot be bounded."""

    code = "order_limit_exceeded"
    hint = "see IBKR_MAX_ORDER_QUANTITY and IBKR_MAX_ORDER_VALUE"


class TradingPaused(Refused):
    """Somebody stopped trading by hand."""

    code = "trading_paused"
    hint = "POST /gateway/resume with the full key allows new orders again"


class ConfirmationRequired(Refused):
    """The call affects more than one order, and its caller has not confirmed that this is intended."""

    code = "confirmation_required"
    hint = "send the header X-Bridge-Confirm: cancel-all to cancel every open order of the account"


class Conflict(BridgeError):
    """Another order blocks this one. Nothing was sent."""

    status = 409


class OrderInProgress(Conflict):
    """Another order must be finished first: it is being sent, has an open question, or is being searched for."""

    code = "order_in_progress"
    hint = "GET /orders shows the other order; repeat the call when that order is finished"


class DuplicateOrder(Conflict):
    """An order with this cOID and other content was placed within 24 hours."""

    code = "duplicate_order"
    hint = "use a new cOID for each order, or none; GET /orders shows the order that has this one"


class IdempotencyMismatch(Conflict):
    """This Idempotency-Key was used for another call within 24 hours."""

    status, code = 422, "idempotency_mismatch"
    hint = "use a new Idempotency-Key for each order, and the same one only to repeat the same call"


class ReplyNotFound(Conflict):
    """No question with this id is open: the bridge never passed it on, or it has ended."""

    status, code = 404, "reply_not_found"
    hint = "GET /orders shows the state of the order; place it again if it is not placed"


class TemporarilyUnavailable(BridgeError):
    """Nothing was sent; the same call may work later."""

    status = 503


class RateLimited(TemporarilyUnavailable):
    """IBKR's limits make this call wait longer than its caller allows, or IBKR answered that it had too many calls."""

    status, code = 429, "rate_limited"
    hint = "send this call less often; Retry-After says how long to wait"


class InPenaltyBox(TemporarilyUnavailable):
    """IBKR has put this address into its penalty box. Every further call makes the penalty longer."""

    status, code = 429, "penalty_box"
    hint = "wait until the penalty ends (GET /gateway/status shows the seconds left); cancels are still sent"


class Busy(TemporarilyUnavailable):
    """Too many calls are waiting for the few slots of the Gateway, or their bodies take more than 32 MiB together."""

    code = "busy"
    hint = "send fewer calls at once; X-Bridge-Wait lets a call wait longer for a slot"


class SessionUnavailable(TemporarilyUnavailable):
    """Nobody is signed in, or the brokerage session is being reopened."""

    code = "session_unavailable"
    hint = "GET /gateway/auth-status says why and what to do"


class Maintenance(TemporarilyUnavailable):
    """IBKR is in a known maintenance window."""

    code = "maintenance"
    hint = "wait until the maintenance window ends; the bridge then continues by itself"


class ShuttingDown(TemporarilyUnavailable):
    """The bridge is finishing its work before it ends."""

    code = "shutting_down"
    hint = "repeat the call in a few seconds, when the bridge is back"


class JournalUnavailable(TemporarilyUnavailable):
    """The journal of orders cannot be written, so no order may be sent. Reads still work."""

    code = "journal_unavailable"
    hint = "make the state directory writable and see that its disk is not full; the log says what is wrong"


class MarketDataLimit(TemporarilyUnavailable):
    """IBKR limits the number of streams at a time, and all of them are in use."""

    status, code = 429, "market_data_limit"
    hint = "stream fewer contracts at a time; GET /gateway/status shows how many are in use"


class GatewayError(BridgeError):
    """The Gateway, or IBKR behind it, failed."""

    status = 502


class GatewayUnreachable(GatewayError):
    """No connection to the Gateway; nothing was sent."""

    status, code = 503, "gateway_unreachable"
    hint = "start the Gateway (or IBeam), or correct IBKR_GATEWAY_URL"


class GatewayTimeout(GatewayError):
    """The Gateway received the call and did not answer in time, or did not complete the TLS handshake.

    For a change it means the second: nothing was sent. A change that was sent and not answered is `OrderUnknown`.
    """

    status, code = 504, "gateway_timeout"
    hint = "IBKR does not answer: wait; restart the Gateway only if /readyz says `gateway_stuck`, as it costs the login"


class GatewayProtocolError(GatewayError):
    """The Gateway closed the connection, or its response is not HTTP."""

    code = "gateway_protocol_error"
    hint = "check the Gateway's own log; it may be restarting"


class GatewayForbidden(GatewayError):
    """The Gateway's address rules exclude the bridge."""

    status, code = 503, "gateway_forbidden"
    hint = "add the bridge's address to ips.allow in the Gateway's conf.yaml and restart the Gateway"


class UpstreamRefused(GatewayError):
    """IBKR answered 401 although the session is up: it refuses this call to this user."""

    status, code = 403, "upstream_refused"
    hint = "the user signed in at the Gateway may lack the permission or subscription for this call"


class UpstreamError(GatewayError):
    """IBKR did not carry out the read, or its answer cannot be used."""

    code = "upstream_error"
    hint = "send the request again in a few seconds; if it fails again, IBKR does not offer this for the instrument"


class OrderRejected(GatewayError):
    """IBKR refused the order. It does not exist."""

    status, code = 422, "order_rejected"
    hint = "change the order as IBKR's words say, and send it as a new one"


class OrderNotWorking(GatewayError):
    """IBKR does not cancel or change the order: it is over, or never worked."""

    status, code = 409, "order_not_working"
    hint = "GET /orders/{id} shows what became of the order"


class OrderUnknown(GatewayError):
    """The call was sent and no response came that shows its outcome: what it requested may have happened."""

    code = "order_unknown"
    hint = "do not send it again: the bridge searches for it; GET /orders/{order_id} shows the result"


UNKNOWN_CHANGE_HINT = (
    "look whether it happened before you send it again; if it was an order, the bridge searches for it: GET /orders"
)


def unknown_change(reason: str) -> OrderUnknown:
    """The error for a change that was sent and whose outcome nothing shows. Orders get their own, with their id."""
    return OrderUnknown(f"{reason}; what was requested may have happened", hint=UNKNOWN_CHANGE_HINT)


class OrderNotPlaced(GatewayError):
    """The order was sent, its response was lost, and a search showed that it does not exist at IBKR."""

    code = "order_not_placed"
    hint = "it may be sent again, as a new order with a new cOID or Idempotency-Key"


class Internal(BridgeError):
    """A bug of the bridge; the details are in the log under the request's id."""

    hint = "search the bridge's log for the request id"


def error_classes(root: type[BridgeError] = BridgeError) -> Iterator[type[BridgeError]]:
    """Every error class that a caller can get: the leaves of the tree."""
    children = root.__subclasses__()
    if not children:
        yield root
    for child in children:
        yield from error_classes(child)
