"""Stage `AdmissionGate`: wait for a free slot and for room in each window.

The permit is released when the upstream no longer works on the call. That can be long after the caller has
disconnected.
"""

from __future__ import annotations

import functools
import time

from ibkr_bridge.calls.context import CallContext
from ibkr_bridge.calls.messages import Response, noop
from ibkr_bridge.calls.stage import Proceed
from ibkr_bridge.ibkr.endpoint import OrderOperation, Priority
from ibkr_bridge.limits.admission import AdmissionController, Permit, no_second_call_error
from ibkr_bridge.limits.persistent_windows import PersistentWindows


class AdmissionGate:
    """Lets a call in when there is room for it.

    Args:
        admission: slots and windows.
        persistent_windows: limits of a minute and longer, which are saved over a restart.
    """

    def __init__(self, admission: AdmissionController, persistent_windows: PersistentWindows) -> None:
        self._admission = admission
        self._persistent_windows = persistent_windows

    async def __call__(self, context: CallContext, proceed: Proceed) -> Response:
        """See `Stage`.

        Raises:
            RateLimited: IBKR's limits make the call wait longer than its caller would.
            Busy: no slot became free in time, or too many calls wait.
        """
        permit = await self._acquire(context)
        context.preconditions.append(functools.partial(_check_second_sending, permit))
        context.on_sent.append(functools.partial(self._mark_sent, permit))
        context.on_released.append(functools.partial(self._release, permit))
        context.on_given_up.append(lambda _: permit.on_given_up())
        response = await proceed(context)
        permit.on_answered()
        return response

    async def _acquire(self, context: CallContext) -> Permit:
        stands_with_orders = context.endpoint.operation is not None or context.serves_order
        priority = Priority.ORDERS if stands_with_orders else Priority.READS
        on_estimate = context.shared_call.on_estimate if context.shared_call is not None else noop
        began = time.monotonic()
        try:
            return await self._admission.acquire(
                context.endpoint,
                priority,
                context.key_label,
                context.remaining_wait(),
                has_reduced_share=context.has_reduced_share and not context.serves_order,
                needs_slot=context.endpoint.operation is not OrderOperation.CANCEL,
                on_estimate=on_estimate,
                is_connected=context.is_connected,
            )
        finally:
            context.timing.waited_s += time.monotonic() - began

    def _mark_sent(self, permit: Permit, context: CallContext) -> None:
        permit.mark_sent()
        self._persistent_windows.record(context.endpoint)

    def _release(self, permit: Permit, context: CallContext) -> None:
        permit.release()
        if context.is_sent:
            self._persistent_windows.record(context.endpoint)  # IBKR counts a long call until it ends


def _check_second_sending(permit: Permit, context: CallContext) -> None:
    """A read that is sent once more needs room in the windows once more."""
    if context.is_sent and not permit.readmit():
        raise no_second_call_error()
