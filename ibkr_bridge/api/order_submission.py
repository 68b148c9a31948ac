"""Submits an order call for a request, and sees to the record and the delivery of its answer."""

from __future__ import annotations

from datetime import timedelta

from aiohttp import web

from ibkr_bridge.calls.context import CallContext, CallerGone
from ibkr_bridge.calls.messages import Response
from ibkr_bridge.clock import utc_text
from ibkr_bridge.ibkr.catalogue import account_from_path
from ibkr_bridge.orders.request import OrderRequest
from ibkr_bridge.profiles.profile import Profile
from ibkr_bridge.server.app_keys import REQUEST_CONTEXT
from ibkr_bridge.server.delivery import unread_check
from ibkr_bridge.server.request_parsing import idempotency_key

RESET_IS_SOON = timedelta(minutes=10)


async def submit_order(
    request: web.Request, profile: Profile, context: CallContext, segments: tuple[str, ...], identity: bytes = b""
) -> Response:
    """Submit an order call, and note its order record for the headers of the response and for its delivery.

    Args:
        segments: the path of the call below `/v1/api`, decoded.
        identity: what the caller wrote, if the body was made from it and may differ when it is sent again.

    Raises:
        BridgeError: nothing was sent, or (`OrderUnknown`) the outcome is unknown.
        ConnectionResetError: nothing was sent, and the caller has gone.
    """
    request_context = request[REQUEST_CONTEXT]
    order_request = _order_request(request, context, segments, identity)
    try:
        return await profile.orders.submit(order_request)
    except CallerGone as exc:
        raise ConnectionResetError("the caller disconnected before anything was sent") from exc
    finally:
        record = request_context.order_record = order_request.record
        request_context.warning = _warning(profile)
        if record is not None:
            submitter = profile.orders.submitter
            request_context.on_delivered = lambda arrived: submitter.on_delivery(record, arrived=arrived)
            record.was_unread = unread_check(request)


def _warning(profile: Profile) -> str:
    """That IBKR ends the login soon: the outcome of an order may then be known only after the next one."""
    reset = profile.keeper.next_reset
    return f"login_ends {utc_text(reset)}" if reset - profile.keeper.utc() <= RESET_IS_SOON else ""


def _order_request(
    request: web.Request, context: CallContext, segments: tuple[str, ...], identity: bytes
) -> OrderRequest:
    """Build the order request of a call from its context and headers."""
    request_context, operation = request[REQUEST_CONTEXT], context.endpoint.operation
    if operation is None:
        raise ValueError("not an order call")
    return OrderRequest(
        context,
        operation,
        owner=request_context.principal.owner if request_context.principal else "",
        request_id=request_context.request_id,
        idempotency_key=idempotency_key(request),
        confirmations=context.facts.confirmations,
        account=account_from_path(context.endpoint, segments),
        identity=identity,
        path_id=segments[-1] if segments else "",
    )
