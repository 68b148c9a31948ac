"""The keeper's calls to the Gateway: without the slots of callers, but counted in IBKR's limits, and cached.

IBKR counts all calls alike, so the keeper's calls count in the same windows as those of callers. The keeper's
responses are cached for callers, who would otherwise hit the rate limit.
"""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus

from ibkr_bridge.cache.cached_reads import CachedReads
from ibkr_bridge.calls.messages import Call, OnReleased, Precondition, Response, noop
from ibkr_bridge.calls.upstream_port import Upstream
from ibkr_bridge.errors import GatewayTimeout, RateLimited
from ibkr_bridge.ibkr.catalogue import endpoint_of
from ibkr_bridge.ibkr.endpoint import Endpoint, RateLimit
from ibkr_bridge.limits.address_ceiling import AddressCeiling
from ibkr_bridge.limits.admission import AdmissionController, no_second_call_error
from ibkr_bridge.limits.penalty_box import PenaltyBox

ObserverFactory = Callable[[], Callable[[Endpoint, Call, Response], None]]


def _no_second_sending(limit: RateLimit | None) -> Precondition:
    """Stops the second sending of a call that has a limit: the limit has no room for it."""
    checked = 0

    def check() -> None:
        nonlocal checked
        checked += 1
        if checked > 1 and limit is not None:
            raise no_second_call_error()

    return check


class KeeperUpstream:
    """One Gateway, for its keeper.

    Args:
        upstream: sends the calls.
        admission: counts the calls in IBKR's limits.
        penalty_box: knows what IBKR refuses now; learns of a 429.
        cached_reads: caches the responses.
        observer_factory: called before each call; returns an observer for its response.
        on_sent: called for every call that is sent, for limits that outlive a restart.
        ceiling: counts the calls of all profiles at this address.
    """

    def __init__(
        self,
        upstream: Upstream,
        admission: AdmissionController,
        penalty_box: PenaltyBox,
        cached_reads: CachedReads,
        observer_factory: ObserverFactory,
        on_sent: Callable[[Endpoint], None],
        ceiling: AddressCeiling,
    ) -> None:
        self._upstream = upstream
        self._admission = admission
        self._penalty_box = penalty_box
        self._cached_reads = cached_reads
        self._observer_factory = observer_factory
        self._on_sent = on_sent
        self._ceiling = ceiling

    async def send(self, call: Call, *, timeout_s: float | None = None, on_released: OnReleased = noop) -> Response:
        """See `Upstream.send`.

        Raises:
            TemporarilyUnavailable: IBKR refuses it for now.
            RateLimited: a caller sent this call so recently that IBKR would refuse it now; nothing was sent.
        """
        endpoint = endpoint_of(call.method, call.target)
        limit = self._upstream.traits.limit(endpoint)
        if endpoint.satisfies or endpoint.composition:
            # Calls about the session are sent anyway: once a minute while IBKR's penalty lasts.
            self._penalty_box.check(endpoint)
        on_answered = self._admission.admit_out_of_band(endpoint)
        if on_answered is None:
            on_released()
            raise RateLimited("this call was sent a moment ago", retry_after=limit.period_s if limit else None)

        on_answered_at_address = self._ceiling.count(endpoint)

        def release() -> None:
            on_answered()
            on_answered_at_address()
            on_released()

        self._on_sent(endpoint)
        sent_at = self._admission.now()
        observe = self._observer_factory()
        cache_response = self._cached_reads.observer(endpoint, call) if endpoint.is_shareable else None
        try:
            response = await self._upstream.send(
                call, timeout_s=timeout_s, preconditions=(_no_second_sending(limit),), on_released=release
            )
        except GatewayTimeout:
            self._admission.on_silence()
            raise
        self._admission.on_answer(sent_at)
        if response.status == HTTPStatus.TOO_MANY_REQUESTS and limit is not None:
            self._penalty_box.on_429(endpoint, None)
        observe(endpoint, call, response)
        if cache_response is not None:
            cache_response(response)
        return response
