"""A profile without rate limits and without a cache: for tests and benches of everything else.

The number of Gateway slots is still limited.
"""

from __future__ import annotations

from collections.abc import Callable

from ibkr_bridge.cache.cached_reads import CachedReads
from ibkr_bridge.calls.context import CallContext
from ibkr_bridge.calls.messages import Call, Response
from ibkr_bridge.calls.stage import Proceed
from ibkr_bridge.ibkr.endpoint import Endpoint
from ibkr_bridge.limits.admission_queue import Limits
from ibkr_bridge.profiles.options import ProfileOptions


class NoCache(CachedReads):
    """The stage without cache and without shared calls: every read is sent."""

    async def __call__(self, context: CallContext, proceed: Proceed) -> Response:
        """See `Stage`."""
        return await proceed(context)

    def observer(self, endpoint: Endpoint, call: Call) -> Callable[[Response], None]:
        """Store nothing."""
        return lambda _: None


def unlimited(slots: int = 4) -> ProfileOptions:
    """Options without limits and without a cache."""
    limits = Limits(slots, slots_for_orders=1, total=None, by_priority={}, of_endpoint=lambda _: None)
    return ProfileOptions(limits, cached_reads=NoCache)


UNLIMITED = unlimited()
