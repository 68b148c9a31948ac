"""The keeper's own calls: they need no slot, count in IBKR's limits, and are cached."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from ibkr_bridge.cache.cached_reads import CachedReads, cache_key
from ibkr_bridge.calls.messages import Call, Response
from ibkr_bridge.errors import GatewayProtocolError, InPenaltyBox, RateLimited
from ibkr_bridge.events import Bus
from ibkr_bridge.ibkr.catalogue import endpoint_of
from ibkr_bridge.ibkr.endpoint import Endpoint, RateLimit
from ibkr_bridge.limits.address_ceiling import AddressCeiling
from ibkr_bridge.limits.admission import AdmissionController
from ibkr_bridge.limits.admission_queue import Limits
from ibkr_bridge.limits.penalty_box import PenaltyBox
from ibkr_bridge.profiles.keeper_upstream import KeeperUpstream
from ibkr_bridge.upstream.gateway.traits import GATEWAY_TRAITS
from tests.clocks import ManualClock
from tests.contract.upstreams import Act, Scene, memory_scene

STATUS, PORTFOLIO = Call("POST", "/v1/api/iserver/auth/status"), Call("GET", "/v1/api/portfolio/accounts")
ACCOUNTS = Call("GET", "/v1/api/iserver/accounts")


class KeeperUpstreamSetup:
    """The keeper's upstream with its parts, and a record of what it calls."""

    def __init__(self, scene: Scene) -> None:
        self.scene, self.clock = scene, ManualClock()
        limits = Limits(1, 0, RateLimit(100, 1.0, "ours"), {}, lambda endpoint: endpoint.rate_limit)
        self.admission = AdmissionController(limits, self.clock)
        self.penalty_box = PenaltyBox(None, Bus(), self.clock.utc, GATEWAY_TRAITS)
        self.cached_reads = CachedReads(self.clock)
        self.observed: list[tuple[Endpoint, int]] = []
        self.sent: list[str] = []
        self.released = 0
        self.upstream = KeeperUpstream(
            scene.upstream,
            self.admission,
            self.penalty_box,
            self.cached_reads,
            lambda: self._observe,
            self._record_sent,
            AddressCeiling(self.clock),
        )

    def _observe(self, endpoint: Endpoint, call: Call, response: Response) -> None:
        self.observed.append((endpoint, response.status))

    def _record_sent(self, endpoint: Endpoint) -> None:
        self.sent.append(endpoint.path)

    def release(self) -> None:
        """Count that the upstream has released a call."""
        self.released += 1

    async def send(self, call: Call) -> Response:
        """Send a call as the keeper does."""
        return await self.upstream.send(call, on_released=self.release)


@pytest.fixture
async def setup() -> AsyncIterator[KeeperUpstreamSetup]:
    """An upstream that has sent nothing yet."""
    async with memory_scene() as scene:
        yield KeeperUpstreamSetup(scene)


async def test_a_call_takes_no_slot_but_is_counted(setup: KeeperUpstreamSetup) -> None:
    """Callers may hold every slot; IBKR counts the calls of the keeper too."""
    await setup.send(STATUS)

    assert (setup.admission.slots_taken, setup.admission.budget_used, setup.released) == (0, 1, 1)
    assert setup.sent == [endpoint_of(STATUS.method, STATUS.target).path]


async def test_the_responses_of_the_keeper_are_cached_for_callers(setup: KeeperUpstreamSetup) -> None:
    """Otherwise callers would have to wait for the rate limit."""
    await setup.send(PORTFOLIO)

    entry = setup.cached_reads.cache.get(cache_key(PORTFOLIO), setup.clock.now(), None)

    assert entry is not None
    assert [status for _, status in setup.observed] == [200]


async def test_a_call_that_was_sent_a_moment_ago_is_refused(setup: KeeperUpstreamSetup) -> None:
    """IBKR would refuse it. Nothing is sent, and the call is released."""
    await setup.send(PORTFOLIO)

    with pytest.raises(RateLimited) as caught:
        await setup.send(PORTFOLIO)

    assert (len(setup.scene.arrived_targets), setup.released, caught.value.retry_after) == (1, 2, 5.0)


@pytest.mark.parametrize(("call", "is_sent"), [(STATUS, True), (PORTFOLIO, False), (ACCOUNTS, False)])
async def test_in_the_penalty_box_only_the_session_is_checked(
    setup: KeeperUpstreamSetup, call: Call, is_sent: bool
) -> None:
    """The calls of the preflight can wait."""
    setup.penalty_box.enter()

    if is_sent:
        await setup.send(call)
    else:
        with pytest.raises(InPenaltyBox):
            await setup.send(call)

    assert bool(setup.scene.arrived_targets) is is_sent


async def test_a_call_with_a_limit_is_not_sent_a_second_time(setup: KeeperUpstreamSetup) -> None:
    """Its window has room for one call. A call without a limit is sent again."""
    setup.scene.plan = [Act.BREAK_OFF, Act.ANSWER]
    with pytest.raises(GatewayProtocolError, match="no second call"):
        await setup.send(PORTFOLIO)
    setup.scene.plan = [Act.BREAK_OFF, Act.ANSWER]
    unlimited = Call("GET", "/v1/api/portfolio/subaccounts2")

    await setup.send(unlimited)

    assert setup.scene.arrived_targets == [PORTFOLIO.target, unlimited.target, unlimited.target]
    assert setup.released == 2


@pytest.mark.parametrize(("call", "closed"), [(PORTFOLIO, ["/portfolio/accounts"]), (STATUS, [])])
async def test_a_429_closes_an_endpoint_that_has_a_limit(
    setup: KeeperUpstreamSetup, monkeypatch: pytest.MonkeyPatch, call: Call, closed: list[str]
) -> None:
    """The keeper gets the response, since it decides about the session."""

    async def refuse(*_: object, **__: object) -> Response:
        return Response(429, {}, b"")

    monkeypatch.setattr(setup.scene.upstream, "send", refuse)

    assert (await setup.send(call)).status == 429
    assert list(setup.penalty_box.closed_endpoints) == closed
