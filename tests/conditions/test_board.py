"""The conditions that hold now: since when, in which order, and the events about them."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from datetime import timedelta

import pytest

from ibkr_bridge.conditions import board as boards
from ibkr_bridge.conditions.board import GOOD, ConditionBoard
from ibkr_bridge.conditions.condition import Condition, Found
from ibkr_bridge.events import Bus, ConditionBegan, ConditionEnded, ConditionNoticed, Event, ListenerFailed
from tests.clocks import ManualClock
from tests.harness import with_timeout

DISK = Found("disk_low", values={"free_mib": 3})
OUT = Found("signed_out")
UNKNOWN = Found("orders_unknown", values={"count": "one order was", "them": "it"})
NOTICE = Found("maintenance", values={"until": "05:00"})


class Board:
    """A board whose conditions the test sets."""

    def __init__(self, bus: Bus) -> None:
        self.clock = ManualClock()
        self.of_bridge: list[Found] = []
        self.of_profile: list[Found] = []
        self.board = ConditionBoard(self.clock.utc, bus)
        self.board.add_source(lambda: self.of_bridge)
        self.board.add_source(lambda: self.of_profile, "main", "https://127.0.0.1:5000")

    def ids(self) -> list[str]:
        """The ids of the conditions, in their order."""
        return [each.id for each in self.board.current("main")]


class Looks:
    """Counts how often each source is asked."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def at(self, name: str, found: tuple[Found, ...]) -> Callable[[], tuple[Found, ...]]:
        """A source that finds this."""

        def find() -> tuple[Found, ...]:
            self.counts[name] += 1
            return found

        return find


@pytest.fixture
def board(bus: Bus) -> Board:
    """A board without conditions."""
    return Board(bus)


def test_a_condition_keeps_the_time_at_which_it_was_first_seen(board: Board) -> None:
    """Its text may change while it lasts."""
    begun = board.clock.utc()
    board.of_bridge = [DISK]
    board.board.current()
    board.clock.advance(60.0)
    board.of_bridge = [Found("disk_low", values={"free_mib": 2})]

    (condition,) = board.board.current()

    assert (condition.since, "2 MiB" in condition.text, condition.profile) == (begun, True, None)


def test_a_condition_that_comes_back_begins_again(board: Board) -> None:
    """It is another one."""
    board.of_profile = [UNKNOWN]
    first = board.board.current()[0].since
    board.of_profile = []
    board.board.current()
    board.clock.advance(60.0)
    board.of_profile = [UNKNOWN]

    assert board.board.current()[0].since == first + timedelta(seconds=60)


def test_what_stops_calls_comes_first(board: Board) -> None:
    """Then what is critical, and what is only worth knowing comes last."""
    board.of_profile = [NOTICE, UNKNOWN, OUT]
    board.of_bridge = [DISK]

    assert board.ids() == ["signed_out", "orders_unknown", "disk_low", "maintenance"]


async def test_of_many_profiles_a_look_reaches_the_first_and_some_of_the_others(
    board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that fifty cost no more than ten, and each is seen within some looks."""
    looks = Looks()
    board.board.add_source(looks.at("main", ()), "main")
    for number in range(25):
        board.board.add_source(looks.at(f"user{number}", (OUT,)), f"user{number}")

    monkeypatch.setattr(boards, "INTERVAL_S", 0.0)
    loop = asyncio.create_task(board.board.run_loop())
    while looks.counts["main"] < 3:
        await asyncio.sleep(0)
    loop.cancel()

    assert looks.counts == {"main": 3} | {f"user{number}": 1 for number in range(25)}


def test_a_surface_looks_at_its_own_profile_and_no_other(board: Board) -> None:
    """A request to one profile costs as much as if there were no other."""
    looks = Looks()
    board.board.add_source(looks.at("other", (OUT,)), "other")

    assert (board.ids(), looks.counts["other"]) == ([], 0)
    assert [each.id for each in board.board.current("other")] == ["signed_out"]


def test_the_conditions_of_a_profile_that_is_removed_end(bus: Bus, board: Board) -> None:
    """At once: nobody looks at it again."""
    ended: list[Event] = []
    bus.subscribe(ended.append)
    board.board.add_source(lambda: [OUT], "other")
    board.board.current("other")

    board.board.remove_sources("other")

    assert [type(each) for each in ended] == [ConditionBegan, ConditionEnded]
    assert board.board.current() == ()


def test_a_profile_does_not_see_the_conditions_of_another(board: Board) -> None:
    """Those of the bridge concern all."""
    board.board.add_source(lambda: [OUT], "other")
    board.of_bridge = [DISK]

    assert board.ids() == ["disk_low"]
    assert [each.id for each in board.board.current("other")] == ["signed_out", "disk_low"]


def test_the_summary_is_the_most_important_condition_and_the_number_of_the_others(board: Board) -> None:
    """One line for `systemctl status`. A notice is not counted."""
    before = board.board.summary("main")
    board.of_profile = [NOTICE, UNKNOWN]

    with_one = board.board.summary("main")
    board.of_bridge = [DISK]

    assert before == GOOD
    assert with_one.startswith("orders_unknown: one order was sent without an answer")
    assert board.board.summary("main").endswith(" (and 1 more)")


async def test_a_bug_of_a_rule_is_published_once_and_does_not_end_the_daemon(
    board: Board, events_seen: list[Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Loops are supervised: one that ends takes the daemon with it."""
    looks = 0

    def fail() -> list[Found]:
        nonlocal looks
        looks += 1
        raise LookupError("a reason without a text")

    async def until_it_looked_again() -> None:
        while looks < 3:
            await asyncio.sleep(0)

    monkeypatch.setattr(boards, "INTERVAL_S", 0.0)
    board.board.add_source(fail)
    looking = asyncio.create_task(board.board.run_loop())
    await with_timeout(until_it_looked_again())
    looking.cancel()

    assert [type(event) for event in events_seen] == [ListenerFailed]


def test_begin_and_end_are_published_once(board: Board, events_seen: list[Event]) -> None:
    """With how long it lasted. A notice is no warning in the log."""
    changes: list[tuple[Condition, ...]] = []
    board.board.on_change.subscribe(changes.append)
    board.of_profile = [OUT, NOTICE]
    for _ in range(3):
        board.board.current()
    board.clock.advance(90.0)
    board.of_profile = []
    board.board.current()

    assert [type(event) for event in events_seen] == [ConditionBegan, ConditionNoticed, ConditionEnded, ConditionEnded]
    ended = events_seen[2]
    assert isinstance(ended, ConditionEnded)
    assert (ended.condition, ended.lasted_s, ended.profile) == ("signed_out", 90.0, "main")
    assert [len(present) for present in changes] == [2, 0]
