"""Access to IBKR's Web API: one attempt at a time, renewed in time, and asked for as the ration allows."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import pytest

from ibkr_bridge.errors import GatewayError, GatewayTimeout, GatewayUnreachable
from ibkr_bridge.events import AccessGranted, Bus, Event
from ibkr_bridge.events import AccessRefused as AccessRefusedEvent
from ibkr_bridge.oauth.handshake_ration import HOUR_S, REPLACEMENT_GAPS_S
from ibkr_bridge.oauth.refusals import Refusal
from ibkr_bridge.upstream.oauth.access import (
    MAX_JITTER,
    RENEWED_BEFORE,
    AccessKeeper,
    AccessRefused,
    renewal_time,
)
from tests.clocks import ManualClock
from tests.harness import with_timeout


@dataclass(frozen=True)
class FakeAccess:
    """An access that signs nothing."""

    number: int
    made: datetime
    ends: datetime
    secrets: tuple[str, ...] = ("text-of-the-access",)

    def prepare(self, method: str, url: str) -> Callable[[], str]:
        """See `Access.prepare`."""
        return lambda: f"{method} {url}"

    def websocket_query(self) -> dict[str, str]:
        """See `Access.websocket_query`."""
        return {}


@dataclass
class Maker:
    """Gives access as the test says."""

    clock: ManualClock
    failures: list[Exception] = field(default_factory=list)
    life: timedelta = timedelta(hours=24)
    count: int = 0
    gate: asyncio.Event | None = None

    async def make(self) -> FakeAccess:
        """See `AccessMaker.make`."""
        self.count += 1
        if self.gate is not None:
            await self.gate.wait()
        if self.failures:
            raise self.failures.pop(0)
        now = self.clock.utc()
        return FakeAccess(self.count, now, now + self.life)


@dataclass
class Kept:
    """An access keeper with its maker, its clock and its events."""

    clock: ManualClock
    maker: Maker
    keeper: AccessKeeper
    events: list[Event]
    secrets: list[str]


@pytest.fixture
def kept() -> Kept:
    """An access keeper that has made nothing."""
    clock, bus, events, secrets = ManualClock(), Bus(), list[Event](), list[str]()
    bus.subscribe(events.append)
    maker = Maker(clock)
    return Kept(clock, maker, AccessKeeper(maker, clock, bus, secrets.append), events, secrets)


async def test_callers_share_one_attempt(kept: Kept) -> None:
    """A second token could end the first one."""
    kept.maker.gate = asyncio.Event()
    callers = [asyncio.create_task(kept.keeper.ensure()) for _ in range(5)]
    await asyncio.sleep(0)
    kept.maker.gate.set()

    accesses = await with_timeout(asyncio.gather(*callers))

    assert kept.maker.count == 1
    assert len({id(each) for each in accesses}) == 1
    assert [type(each) for each in kept.events] == [AccessGranted]
    assert kept.secrets == ["text-of-the-access"]


async def test_an_attempt_goes_on_when_its_caller_leaves(kept: Kept) -> None:
    """Others wait for it too."""
    kept.maker.gate = asyncio.Event()
    first = asyncio.create_task(kept.keeper.ensure())
    await asyncio.sleep(0)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first

    kept.maker.gate.set()

    assert await with_timeout(kept.keeper.ensure()) is not None
    assert kept.maker.count == 1


async def test_two_calls_that_meet_a_401_make_one_new_access(kept: Kept) -> None:
    """The second one finds it already replaced."""
    refused = await kept.keeper.ensure()
    assert refused is not None

    first, second = await asyncio.gather(kept.keeper.replace(refused), kept.keeper.replace(refused))
    third = await kept.keeper.replace(refused)

    assert first is second is third is kept.keeper.current is not refused
    assert kept.maker.count == 2


async def test_replacements_are_rationed(kept: Kept) -> None:
    """A refusal may concern one call and not the access; the present one stays."""
    access = await kept.keeper.ensure()
    assert access is not None
    another = await kept.keeper.replace(access)
    assert another is not None

    assert await kept.keeper.replace(another) is None
    assert kept.keeper.current is another
    kept.clock.advance(REPLACEMENT_GAPS_S[1])
    assert await kept.keeper.replace(another) is not None

    assert kept.maker.count == 3


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_the_renewal_is_an_hour_ahead_and_not_at_once_for_all(share: float) -> None:
    """Profiles that started together renew at different times."""
    made = ManualClock().utc()
    ends = made + timedelta(hours=24)

    assert renewal_time(made, ends, share) == ends - RENEWED_BEFORE - MAX_JITTER * share


def test_a_short_life_is_not_renewed_at_once() -> None:
    """It would be renewed for ever."""
    made = ManualClock().utc()

    assert renewal_time(made, made + timedelta(hours=1), 1.0) == made + timedelta(minutes=30)


async def test_an_access_is_renewed_before_it_ends(kept: Kept) -> None:
    """So no call meets its end."""
    first = await kept.keeper.ensure()
    kept.clock.advance(22 * HOUR_S)
    assert await kept.keeper.ensure() is first

    kept.clock.advance(HOUR_S)

    assert await kept.keeper.ensure() is not first
    assert kept.maker.count == 2


async def test_only_a_change_waits_for_a_renewal(kept: Kept) -> None:
    """A new token may end the present one, and a refused change is not sent again."""
    another: list[bool] = []
    kept.keeper.on_another = lambda: another.append(True)
    first = await kept.keeper.for_call(is_change=True)
    kept.maker.gate = asyncio.Event()
    kept.clock.advance(23 * HOUR_S)
    renewal = asyncio.create_task(kept.keeper.ensure())
    change = asyncio.create_task(kept.keeper.for_call(is_change=True))
    await asyncio.sleep(0)

    assert await kept.keeper.for_call(is_change=False) is first
    assert not change.done()
    kept.maker.gate.set()

    assert await with_timeout(change) is await with_timeout(renewal) is not first
    assert (kept.maker.count, another) == (2, [True])


async def test_a_failed_renewal_leaves_the_present_access(kept: Kept) -> None:
    """It is good for another hour."""
    first = await kept.keeper.ensure()
    kept.maker.failures = [GatewayTimeout("no answer")]
    kept.clock.advance(23 * HOUR_S)

    assert await kept.keeper.ensure() is first
    assert kept.keeper.problem is not None

    kept.clock.advance(HOUR_S)
    assert await kept.keeper.ensure() is not first
    assert kept.keeper.problem is None


async def test_an_access_that_is_over_is_not_used(kept: Kept) -> None:
    """IBKR would refuse every call."""
    await kept.keeper.ensure()
    kept.clock.advance(24 * HOUR_S)

    assert kept.keeper.current is None


@pytest.mark.parametrize(
    ("failure", "refusal"),
    [
        (AccessRefused(Refusal.INACTIVE, "invalid consumer"), Refusal.INACTIVE),
        (AccessRefused(Refusal.MISMATCH), Refusal.MISMATCH),
        (AccessRefused(Refusal.SECRET_LOST), Refusal.SECRET_LOST),
        (GatewayUnreachable("no connection"), Refusal.UNREACHABLE),
        (GatewayTimeout("no answer"), Refusal.SILENT),
        (GatewayError("another"), Refusal.UNREADABLE),
    ],
)
async def test_a_failure_is_kept_as_the_problem(kept: Kept, failure: Exception, refusal: Refusal) -> None:
    """Nothing is raised: the session shows it as its state."""
    kept.maker.failures = [failure]

    assert await kept.keeper.ensure() is None
    assert kept.keeper.problem is not None
    assert kept.keeper.problem.refusal is refusal
    assert [type(each) for each in kept.events] == [AccessRefusedEvent]


async def test_an_inactive_consumer_is_asked_about_once_an_hour(kept: Kept) -> None:
    """Every change begins the time anew, and more attempts change nothing."""
    kept.maker.failures = [AccessRefused(Refusal.INACTIVE)]
    await kept.keeper.ensure()

    for _ in range(59):
        kept.clock.advance(60.0)
        assert await kept.keeper.ensure() is None
    kept.clock.advance(60.0)

    assert await kept.keeper.ensure() is not None
    assert kept.maker.count == 2


async def test_a_token_that_has_worked_and_is_gone_was_revoked(kept: Kept) -> None:
    """Somebody deleted it; before, IBKR may only have lost its secret."""
    access = await kept.keeper.ensure()
    assert access is not None
    kept.maker.failures = [AccessRefused(Refusal.SECRET_LOST)]

    assert await kept.keeper.replace(access) is None
    assert kept.keeper.problem is not None
    assert kept.keeper.problem.refusal is Refusal.REVOKED


async def test_after_a_sign_out_nothing_is_made_until_somebody_asks(kept: Kept) -> None:
    """Else the bridge would take the session back at once."""
    access = await kept.keeper.ensure()
    assert access is not None
    kept.keeper.end()

    assert await kept.keeper.ensure() is None
    assert await kept.keeper.replace(access) is None
    assert kept.keeper.problem is not None
    assert kept.keeper.problem.refusal is Refusal.SIGNED_OUT

    kept.keeper.request()
    assert await kept.keeper.ensure() is not None


async def test_closing_ends_a_running_attempt(kept: Kept) -> None:
    """The bridge must be able to end."""
    kept.maker.gate = asyncio.Event()
    caller = asyncio.create_task(kept.keeper.ensure())
    await asyncio.sleep(0)

    await with_timeout(kept.keeper.close())

    with pytest.raises(asyncio.CancelledError):
        await caller
