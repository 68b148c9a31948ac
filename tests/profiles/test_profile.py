"""A profile: what it reads at the start, which loops it runs, and in which order it closes its parts."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from ibkr_bridge.calls.context import CallContext
from ibkr_bridge.calls.messages import Response
from ibkr_bridge.errors import SessionUnavailable
from ibkr_bridge.events import StateUnavailable
from ibkr_bridge.profiles.profile import Profile
from tests.calls.stage_setup import OK, context_for
from tests.profiles.profile_setup import Built, build


@pytest.fixture
async def built(tmp_path: Path) -> AsyncIterator[Built]:
    """A profile with the default options."""
    built = build(tmp_path)
    yield built
    await built.profile.close()


async def test_the_profile_names_every_loop(built: Built) -> None:
    """A loop that is missing here would not run, and no error would show it."""
    assert [loop.__qualname__ for loop in built.profile.loops()] == [
        "Keeper.run_loop",
        "AdmissionController.run_loop",
        "CookieStore.run_loop",
        "OrderService.run_loop",
        "Reconciler.run_loop",
        "UpstreamFeed.run_loop",
        "StreamService.housekeeping_loop",
        "ReturnProbe.run_loop",
        "SecondSource.run_loop",
    ]


async def test_the_state_of_an_earlier_run_is_loaded(tmp_path: Path, built: Built) -> None:
    """A pause must survive a restart, above all."""
    built.profile.trading_pause.set("somebody", built.clock.utc())
    built.profile.penalty_box.enter()

    later = build(tmp_path)
    await later.profile.load()

    assert later.profile.trading_pause.is_on
    assert later.profile.penalty_box.box_left_s > 0
    await later.profile.close()


@pytest.mark.parametrize("kind", ["cookies", "paces", "penalty", "suppressed"])
@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"box":"x"}'])
async def test_a_damaged_file_does_not_stop_the_start(tmp_path: Path, kind: str, text: str) -> None:
    """IBKR sends what these files had once more."""
    built = build(tmp_path)
    (built.state / f"main.{kind}.json").write_text(text)

    await built.profile.load()

    await built.profile.close()


async def test_an_unreadable_journal_does_not_stop_the_start(tmp_path: Path) -> None:
    """Reads are served, an event reports the journal, and every order tries to open it again."""
    built = build(tmp_path)
    (built.state / "main.orders.db").mkdir()

    await built.profile.load()

    assert StateUnavailable in [type(event) for event in built.events]
    await built.profile.close()


async def test_a_preview_goes_through_the_order_service(built: Built) -> None:
    """A preview ends an open question at IBKR, so the order service must handle it."""
    previewed: list[CallContext] = []

    class Orders:
        async def preview(self, context: CallContext) -> Response:
            previewed.append(context)
            return OK

    profile = replace(built.profile, orders=Orders())  # type: ignore[arg-type]  # as much of it as is used
    preview = context_for("POST", "/iserver/account/DU1/orders/whatif", b"{}")

    assert await profile.execute(preview) is OK
    assert previewed == [preview]


async def test_any_other_call_passes_the_stages(built: Built) -> None:
    """The session is not up, so the session gate refuses the call."""
    built.profile.keeper.checked_at = built.clock.now()
    built.profile.keeper.session = replace(
        built.profile.keeper.session, state=type(built.profile.keeper.session.state).SIGNED_OUT
    )

    with pytest.raises(SessionUnavailable):
        await built.profile.execute(context_for("GET", "/portfolio/accounts"))


async def test_a_profile_closes_the_journal_after_the_parts_that_send_calls(built: Built) -> None:
    """The ends of calls are written into the journal, so it is closed last."""
    steps: list[str] = []

    class Closing:
        def __init__(self, name: str) -> None:
            self._name = name
            self.repository = self

        async def close(self) -> None:
            steps.append(self._name)

        def save(self) -> None:
            steps.append(self._name)

    parts = {name: Closing(name) for name in ("cached_reads", "upstream_state", "upstream", "orders")}
    profile: Profile = replace(built.profile, **parts)  # type: ignore[arg-type]  # as much of each as is used

    await profile.close()

    assert steps == ["cached_reads", "upstream_state", "upstream", "orders"]


async def test_closing_twice_does_no_harm(built: Built) -> None:
    """The bridge may close a profile in more than one way."""
    await built.profile.load()

    await built.profile.close()
    await built.profile.close()
