"""A profile's life: what it reads at the start, which loops it needs, in which order it closes."""

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
    """A profile as most have it."""
    made = build(tmp_path)
    yield made
    await made.profile.close()


async def test_every_loop_that_must_run_is_named(built: Built) -> None:
    """One that is forgotten would never be missed: nothing fails at once."""
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


async def test_what_an_earlier_run_saved_is_read(tmp_path: Path, built: Built) -> None:
    """A pause above all."""
    built.profile.trading_pause.set("somebody", built.clock.utc())
    built.profile.penalty_box.enter()

    later = build(tmp_path)
    await later.profile.load()

    assert later.profile.trading_pause.is_on
    assert later.profile.penalty_box.box_left_s > 0
    await later.profile.close()


@pytest.mark.parametrize("kind", ["cookies", "paces", "penalty", "suppressed"])
@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"box":"x"}'])
async def test_a_file_that_is_broken_does_not_keep_the_bridge_from_starting(
    tmp_path: Path, kind: str, text: str
) -> None:
    """IBKR says it again."""
    built = build(tmp_path)
    (built.state / f"main.{kind}.json").write_text(text)

    await built.profile.load()

    await built.profile.close()


async def test_a_journal_that_cannot_be_read_does_not_keep_the_bridge_from_starting(tmp_path: Path) -> None:
    """Reads go on; it is announced, and every order tries again."""
    built = build(tmp_path)
    (built.state / "main.orders.db").mkdir()

    await built.profile.load()

    assert StateUnavailable in [type(event) for event in built.events]
    await built.profile.close()


async def test_a_preview_waits_its_turn_among_the_orders(built: Built) -> None:
    """IBKR drops an open question because of it."""
    previewed: list[CallContext] = []

    class Orders:
        async def preview(self, context: CallContext) -> Response:
            previewed.append(context)
            return OK

    profile = replace(built.profile, orders=Orders())  # type: ignore[arg-type]  # as much of it as is used
    preview = context_for("POST", "/iserver/account/DU1/orders/whatif", b"{}")

    assert await profile.execute(preview) is OK
    assert previewed == [preview]


async def test_any_other_call_takes_the_stages(built: Built) -> None:
    """The session is not up, and the session gate says so."""
    built.profile.keeper.checked_at = built.clock.now()
    built.profile.keeper.session = replace(
        built.profile.keeper.session, state=type(built.profile.keeper.session.state).SIGNED_OUT
    )

    with pytest.raises(SessionUnavailable):
        await built.profile.execute(context_for("GET", "/portfolio/accounts"))


async def test_a_profile_closes_what_sends_before_what_is_written_to(built: Built) -> None:
    """The journal takes what the ends of calls say of their orders, so it is the last."""
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
    """The bridge ends in several ways."""
    await built.profile.load()

    await built.profile.close()
    await built.profile.close()
