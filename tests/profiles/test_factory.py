"""How a profile is built: each part once, and the stages in their order."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ibkr_bridge.cache.cached_reads import cache_key
from ibkr_bridge.calls.messages import Call, Response
from ibkr_bridge.ibkr.catalogue import endpoint_of
from ibkr_bridge.profiles.factory import STATES_WITHOUT_SESSION
from ibkr_bridge.profiles.options import ProfileOptions
from ibkr_bridge.session.state_machine import Observation, Session, SessionState
from tests.profiles.profile_setup import Built, build
from tests.unlimited import NoCache, unlimited

META = Call("GET", "/v1/api/trsrv/secdef?conids=8")
LEDGER = Call("GET", "/v1/api/portfolio/DU1/ledger")


@pytest.fixture
async def built(tmp_path: Path) -> AsyncIterator[Built]:
    """A profile with the default options."""
    made = build(tmp_path)
    yield made
    await made.profile.close()


def names(stages: tuple[object, ...]) -> list[str]:
    """The classes of the stages."""
    return [type(stage).__name__ for stage in stages]


async def test_the_stages_stand_in_their_order(built: Built) -> None:
    """`gateway_stages` gives the reason for each place, so a change of the order is deliberate."""
    assert names(built.profile.pipeline.stages) == [
        "ComposeReads",
        "OrderGuard",
        "SessionGate",
        "MarketDataGate",
        "StreamedOrders",
        "CachedReads",
        "CompleteReads",
        "PenaltyGate",
        "AdmissionGate",
        "AddressGate",
    ]


async def test_the_lists_for_a_lost_order_are_fetched_without_the_cache(built: Built) -> None:
    """The search for a lost order needs the current lists of IBKR, within the rules, the limits and the session."""
    dependencies = built.profile.orders.dependencies

    assert dependencies.pipeline is built.profile.pipeline
    assert repr(dependencies.uncached) == (
        "<Pipeline ComposeReads → OrderGuard → SessionGate → MarketDataGate → StreamedOrders → PenaltyGate → "
        "AdmissionGate → AddressGate>"
    )


async def test_a_stage_and_the_profile_share_each_part(built: Built) -> None:
    """Two caches, or two penalty boxes, would each have a part of the facts."""
    profile = built.profile

    assert profile.session_gate in profile.pipeline.stages
    assert profile.cached_reads in profile.pipeline.stages
    assert profile.completion in profile.pipeline.stages
    assert profile.orders.dependencies.guard in profile.pipeline.stages


async def test_the_limits_are_those_of_the_upstream_unless_options_replace_them(tmp_path: Path, built: Built) -> None:
    """A benchmark may send more calls than an operator."""
    other = build(tmp_path, unlimited(slots=9))

    assert built.profile.admission.limits.slots == built.profile.upstream.traits.slots
    assert built.profile.admission.limits.total == built.profile.upstream.traits.total
    assert other.profile.admission.limits.slots == 9
    await other.profile.close()


async def test_the_cache_can_be_left_out(tmp_path: Path) -> None:
    """A stage that passes every call replaces the cache."""
    built = build(tmp_path, ProfileOptions(cached_reads=NoCache))

    assert names(built.profile.pipeline.stages)[5] == "NoCache"
    await built.profile.close()


@pytest.mark.parametrize(("is_ready", "is_kept"), [(True, True), (False, False)])
async def test_responses_of_a_session_leave_the_cache_with_it(built: Built, is_ready: bool, is_kept: bool) -> None:
    """Balances of another login must not be served. Contracts are the same for every login."""
    reads = built.profile.cached_reads
    for call in (META, LEDGER):
        reads.observer(endpoint_of(call.method, call.target), call)(Response(200, {}, b'{"a":1}'))

    built.profile.keeper.on_change.notify(is_ready)

    cached = [entry for entry in (META, LEDGER) if _is_cached(built, entry)]
    assert cached == ([META, LEDGER] if is_kept else [META])


def _is_cached(built: Built, call: Call) -> bool:
    return built.profile.cached_reads.cache.get(cache_key(call), built.clock.now(), None) is not None


@pytest.mark.parametrize("state", SessionState)
async def test_market_data_lines_are_released_only_in_states_without_a_session(
    built: Built, state: SessionState
) -> None:
    """In all other states IBKR may still hold the market data lines."""
    profile = built.profile
    usage = profile.streaming.hub.upstream_subscriptions.line_usage
    usage.opened_by_call("one", ["8"], frozenset())
    profile.keeper.session = Session(state, Observation.SESSION, 0.0)

    profile.keeper.on_change.notify(state is SessionState.READY)

    assert len(usage) == (0 if state in STATES_WITHOUT_SESSION else 1)


async def test_every_file_of_a_profile_has_its_name(built: Built) -> None:
    """A second profile must not read the orders of the first one."""
    built.profile.trading_pause.set("somebody", built.clock.utc())
    built.profile.penalty_box.enter()
    await built.profile.load()

    assert all(path.name.startswith("main.") for path in built.state.iterdir())
    assert {"main.paused.json", "main.penalty.json", "main.orders.db"} <= {path.name for path in built.state.iterdir()}


async def test_without_a_state_directory_nothing_is_written(tmp_path: Path) -> None:
    """The penalty box and the journal are then in memory only."""
    built = build(tmp_path, has_state_dir=False)

    built.profile.penalty_box.enter()
    await built.profile.load()
    await built.profile.close()

    assert list(built.state.iterdir()) == []


async def test_a_read_only_bridge_suppresses_no_questions(tmp_path: Path) -> None:
    """The request to suppress questions is a change too."""
    for read_only, is_sent in (("yes", False), ("no", True)):
        built = build(tmp_path, IBKR_READ_ONLY=read_only)
        built.profile.suppressed_questions.ids = ("o163",)

        assert (built.profile.keeper._suppressed_call() is not None) is is_sent
        await built.profile.close()
