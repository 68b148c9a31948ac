"""Stage `AddressGate`: wait for room in what all profiles send from one address.

It comes after the admission of the profile itself: a call waits here only while the profiles together want more than
the address may send, and keeps its place in its own profile meanwhile.
"""

from __future__ import annotations

import functools
import time

from ibkr_bridge.calls.context import CallContext
from ibkr_bridge.calls.messages import Response
from ibkr_bridge.calls.stage import Proceed
from ibkr_bridge.ibkr.endpoint import OrderOperation, Priority
from ibkr_bridge.limits.address_ceiling import AddressCeiling
from ibkr_bridge.limits.admission import Permit, no_second_call_error


class AddressGate:
    """Lets a call out when there is room for it.

    Args:
        ceiling: of the address from which the profile reaches IBKR.
        profile: its name; profiles alternate.
    """

    def __init__(self, ceiling: AddressCeiling, profile: str) -> None:
        self._ceiling = ceiling
        self._profile = profile

    async def __call__(self, context: CallContext, proceed: Proceed) -> Response:
        """See `Stage`.

        Raises:
            RateLimited: the other profiles make the call wait longer than its caller would.
            Busy: too many calls wait.
        """
        if not self._ceiling.is_shared:
            return await proceed(context)
        permit = await self._acquire(context)
        context.preconditions.append(functools.partial(_check_second_sending, permit))
        context.on_sent.append(lambda _: permit.mark_sent())
        context.on_released.append(lambda _: permit.release())
        context.on_given_up.append(lambda _: permit.on_given_up())
        response = await proceed(context)
        permit.on_answered()
        return response

    async def _acquire(self, context: CallContext) -> Permit:
        is_order = context.endpoint.operation is not None or context.serves_order
        began = time.monotonic()
        try:
            return await self._ceiling.admission.acquire(
                context.endpoint,
                Priority.ORDERS if is_order else Priority.READS,
                self._profile,
                context.remaining_wait(),
                needs_slot=context.endpoint.operation is not OrderOperation.CANCEL,
                is_connected=context.is_connected,
            )
        finally:
            context.timing.waited_s += time.monotonic() - began


def _check_second_sending(permit: Permit, context: CallContext) -> None:
    """A read that is sent once more needs room once more."""
    if context.is_sent and not permit.readmit():
        raise no_second_call_error()
