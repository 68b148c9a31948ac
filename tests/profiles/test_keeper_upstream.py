"""The keeper's own calls: beside the callers' slots, counted in IBKR's limits, and remembered."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from ibkr_bridge.cache.cached_reads import CachedReads, cache_key
from ibkr_bridge.calls.messages import Call, Response
from ibkr_bridge.errors import GatewayProtocolError, InPenaltyBox, RateLimited
from ibkr_bridge.events import Bus
from ibkr_bridge.ibkr.catalogue import endpoint_of
from ibkr_bridge.ibkr.endpoint import Endpoint, RateLimit
from ibkr_bridge.limits.admission import AdmissionController
from ibkr_bridge.limits.admission_queue import Limits
from ibkr_bridge.limits.penalty_box import PenaltyBox
from ibkr_bridge.profiles.keeper_upstream import KeeperUpstream
from tests.clocks import ManualClock
from tests.contract.upstreams import Act, Scene, memory_scene

STATUS, PORTFOLIO = Call("POST", "/v1/api/iserver/auth/status"), Call("GET", "/v1/api/portfolio/accounts")
ACCOUNTS = Call("GET", "/v1/api/iserver/accounts")


class World:
    """The keeper's road, and all that it tells."""

    def __init__(self, scene: Scene) -> None:
        self.scene, self.clock = scene, ManualClock()
        limits = Limits(1, 0, RateLimit(100, 1.0, "ours"), {}, lambda endpoint: endpoint.rate_limit)
        self.admission = AdmissionController(limits, self.clock)
        self.box = PenaltyBox(None, Bus(), self.clock.utc)
        self.reads = CachedReads(self.clock)
        self.noticed: list[tuple[Endpoint, int]] = []
        self.spent: list[str] = []
        self.released = 0
        self.road = KeeperUpstream(
            scene.upstream, self.admission, self.box, self.reads, lambda: self._notice, self._spend
        )

    def _notice(self, endpoint: Endpoint, call: Call, response: Response) -> None:
        self.noticed.append((endpoint, response.status))

    def _spend(self, endpoint: Endpoint) -> None:
        self.spent.append(endpoint.path)

    def release(self) -> None:
        """The upstream is done with it."""
        self.released += 1

    async def send(self, call: Call) -> Response:
        """One call of the keeper's."""
        return await self.road.send(call, on_released=self.release)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """Nothing was asked yet."""
    async with memory_scene() as scene:
        yield World(scene)


async def test_a_call_takes_no_slot_and_is_counted_all_the_same(world: World) -> None:
    """Callers may hold every slot; IBKR counts calls whoever makes them."""
    await world.send(STATUS)

    assert (world.admission.slots_taken, world.admission.budget_used, world.released) == (0, 1, 1)
    assert world.spent == [endpoint_of(STATUS.method, STATUS.target).path]


async def test_what_the_keeper_was_told_is_told_to_callers(world: World) -> None:
    """They would have to wait until it may be asked again."""
    await world.send(PORTFOLIO)

    entry = world.reads.cache.get(cache_key(PORTFOLIO), world.clock.now(), None)

    assert entry is not None
    assert [status for _, status in world.noticed] == [200]


async def test_what_a_caller_asked_a_moment_ago_is_not_asked_again(world: World) -> None:
    """IBKR would refuse it; nothing is sent, and the call is over."""
    await world.send(PORTFOLIO)

    with pytest.raises(RateLimited) as caught:
        await world.send(PORTFOLIO)

    assert (len(world.scene.arrived), world.released, caught.value.retry_after) == (1, 2, 5.0)


@pytest.mark.parametrize(("call", "is_sent"), [(STATUS, True), (PORTFOLIO, False), (ACCOUNTS, False)])
async def test_in_the_box_only_the_session_itself_is_looked_at(world: World, call: Call, is_sent: bool) -> None:
    """Once a minute; what the session's first calls are for can wait."""
    world.box.enter()

    if is_sent:
        await world.send(call)
    else:
        with pytest.raises(InPenaltyBox):
            await world.send(call)

    assert bool(world.scene.arrived) is is_sent


async def test_a_call_with_a_limit_is_not_sent_a_second_time(world: World) -> None:
    """Its window has one place; one without a limit is sent again."""
    world.scene.plan = [Act.BREAK_OFF, Act.ANSWER]
    with pytest.raises(GatewayProtocolError, match="no second call"):
        await world.send(PORTFOLIO)
    world.scene.plan = [Act.BREAK_OFF, Act.ANSWER]
    unlimited = Call("GET", "/v1/api/portfolio/subaccounts2")

    await world.send(unlimited)

    assert world.scene.arrived == [PORTFOLIO.target, unlimited.target, unlimited.target]
    assert world.released == 2


@pytest.mark.parametrize(("call", "closed"), [(PORTFOLIO, ["/portfolio/accounts"]), (STATUS, [])])
async def test_a_429_closes_an_endpoint_that_has_a_limit(
    world: World, monkeypatch: pytest.MonkeyPatch, call: Call, closed: list[str]
) -> None:
    """The response goes to the keeper, who judges it for the session."""

    async def refuse(*_: object, **__: object) -> Response:
        return Response(429, {}, b"")

    monkeypatch.setattr(world.scene.upstream, "send", refuse)

    assert (await world.send(call)).status == 429
    assert list(world.box.closed_endpoints) == closed
