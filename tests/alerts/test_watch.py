"""Stories of alerts in fast time: none twice, none missed, over restarts of both programs."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from ibkr_bridge.alerts.alert_state import AT_ONCE, EXPECTED_IN_MAINTENANCE, REMINDERS
from ibkr_bridge.alerts.messages import FAILURE, INFO, SUCCESS
from ibkr_bridge.alerts.watch import UNREACHABLE_TEXT, SourceError
from ibkr_bridge.conditions.condition import KINDS
from ibkr_bridge.config.alert_settings import QuietHours
from tests.alerts.alert_setup import TELL_ALL, FakeService, Story
from tests.clocks import NOON

BROKEN: list[dict[str, Any]] = [
    *({"severity": "fatal"}, {"began": "2026-01-01T00:00:00"}, {"id": 5}, {"url": 5}, {"text": None}, {"profile": {}}),
    *({"closed": "2026-01-01T00:00:00"}, {"not_before": "2026-01-01T00:00:00"}, {"attempts": -99}, {"to": -1}),
    {"kind": "loud"},
]


def _state(**change: Any) -> dict[str, Any]:
    """A saved state with one member that this program never writes."""
    news: dict[str, Any] = {
        "id": "disk_low",
        "profile": None,
        "severity": "warning",
        "text": "t",
        "do": "d",
        "url": None,
    }
    message: dict[str, Any] = {"kind": "info", "title": "t", "body": "b"}
    waiting = {"message": message, "to": 0, "not_before": NOON.isoformat(), "attempts": 0}
    lasting = {**news, "began": NOON.isoformat(), "told": True}
    for part in (lasting, waiting, message):
        part.update({name: value for name, value in change.items() if name in part})
    closed = [[None, "disk_low", change.get("closed", NOON.isoformat())]]
    return {"revision": 0, "open": [lasting], "closed": closed, "outbox": [waiting]}


@pytest.mark.parametrize("name", KINDS)
def test_each_condition_is_told_once_with_its_end(name: str) -> None:
    """With restarts before it is told, while it lasts and after its end."""
    story = Story()
    story.pass_time(10)
    story.bridge.begin(name)
    story.pass_time(4)
    story.restart()
    story.pass_time(60)
    story.restart()
    story.pass_time(600)
    story.bridge.end(name)
    story.restart()
    story.pass_time(60)
    story.restart()
    story.pass_time(60)

    expected = [f"text of {name}", f"over after 11 min 4 s: text of {name}"]
    maintenance = name == "maintenance"
    assert story.service.titles == (expected[:1] if name in REMINDERS else expected), maintenance


@pytest.mark.parametrize("name", sorted(AT_ONCE))
def test_what_waits_for_a_person_is_told_at_once(name: str) -> None:
    """In the first round after it began."""
    story = Story()
    story.pass_time(2)
    story.bridge.begin(name)
    story.watch.round(story.bridge.now)

    assert story.service.titles == [f"text of {name}"]


def test_what_ends_within_seconds_wakes_nobody() -> None:
    """A session that is reopened is no news; that it happens again and again is another condition."""
    story = Story()
    story.pass_time(2)
    story.bridge.begin("brokerage_lost")
    story.pass_time(8)
    story.bridge.end("brokerage_lost")
    story.pass_time(120)

    assert story.service.titles == []


def test_what_begins_and_ends_between_two_looks_is_told() -> None:
    """As after a night in which this program did not run."""
    story = Story()
    story.pass_time(2)
    story.bridge.begin("disk_low")
    story.bridge.now += timedelta(hours=5)
    story.bridge.end("disk_low")
    story.restart()
    story.pass_time(60)

    assert story.service.titles == ["for 5 h 0 min: text of disk_low"]


def test_a_condition_that_comes_again_is_told_again() -> None:
    """Also if both ends are seen in one look."""
    story = Story()
    story.pass_time(2)
    for _ in range(2):
        story.bridge.begin("signed_out")
        story.pass_time(60)
        story.bridge.end("signed_out")
    story.pass_time(60)
    story.bridge.begin("signed_out")
    story.bridge.end("signed_out")
    story.bridge.begin("signed_out")
    story.pass_time(60)

    begun = [each for each in story.service.titles if each == "text of signed_out"]
    over = [each for each in story.service.titles if each.startswith("over")]
    assert (len(begun), len(over)) == (3, 2)


def test_what_was_over_before_the_first_start_is_no_news() -> None:
    """What lasts is."""
    story = Story()
    story.bridge.begin("disk_low")
    story.bridge.now += timedelta(hours=1)
    story.bridge.end("disk_low")
    story.bridge.begin("mode_differs")
    story.pass_time(60)

    assert story.service.titles == ["text of mode_differs"]


def test_a_bridge_whose_disk_is_full_is_told_all_the_same() -> None:
    """It cannot record changes, but it shows what holds."""
    story = Story()
    story.pass_time(2)
    story.bridge.records = False
    story.bridge.begin("journal_unavailable")
    story.pass_time(60)
    story.bridge.end("journal_unavailable")
    story.pass_time(60)

    assert story.service.titles == ["text of journal_unavailable", "over after 1 min 0 s: text of journal_unavailable"]


def test_a_change_that_was_seen_before_it_was_recorded_is_told_once() -> None:
    """Its end was seen first among the conditions, and then among the changes."""
    story = Story()
    story.pass_time(2)
    story.bridge.begin("signed_out")
    story.pass_time(60)
    row = story.bridge.rows[-1]
    del story.bridge.present["signed_out"]
    story.pass_time(2)
    row["ended"] = story.bridge.now.isoformat()
    story.bridge._change(row)
    story.pass_time(60)

    assert story.service.titles == ["text of signed_out", "over after 1 min 0 s: text of signed_out"]


def test_a_bridge_that_does_not_answer_is_told_and_its_return_too() -> None:
    """A restart of a few seconds is not."""
    story = Story()
    story.pass_time(2)
    story.bridge.error = SourceError()
    story.pass_time(10)
    story.bridge.error = None
    story.pass_time(10)
    assert story.service.titles == []

    story.bridge.error = SourceError()
    story.pass_time(60)
    story.bridge.error = None
    story.pass_time(10)
    assert story.service.titles[0] == UNREACHABLE_TEXT
    assert story.service.titles[1].endswith(UNREACHABLE_TEXT)


def test_a_condition_goes_on_while_the_bridge_does_not_answer() -> None:
    """Nobody is told that it is over, since nobody knows."""
    story = Story()
    story.pass_time(2)
    story.bridge.begin("signed_out")
    story.pass_time(10)
    story.bridge.error = SourceError("the bridge does not accept this key", "use its key")
    story.pass_time(60)

    assert story.service.titles == ["text of signed_out", "the bridge does not accept this key"]


def test_another_history_is_not_told_from_its_beginning() -> None:
    """As after a restored backup, or a bridge without a state directory."""
    story = Story()
    story.pass_time(2)
    for _ in range(5):
        story.bridge.begin("disk_low")
        story.pass_time(60)
        story.bridge.end("disk_low")
    story.pass_time(2)
    before = len(story.service.taken)
    story.bridge.rows = story.bridge.rows[:2]
    story.bridge.revisions = 4
    story.pass_time(60)
    assert len(story.service.taken) == before

    story.bridge.begin("mode_differs")
    story.pass_time(60)
    assert story.service.titles[before:] == ["text of mode_differs"]


def test_many_changes_come_in_pages() -> None:
    """None of them is left out."""
    story = Story()
    story.pass_time(2)
    for _ in range(250):
        story.bridge.begin("disk_low")
        story.bridge.now += timedelta(seconds=30)
        story.bridge.end("disk_low")
    story.pass_time(2)

    assert story.watch.state.revision == 500
    assert len(story.service.taken) == 200  # the latest that fit


def test_maintenance_makes_notices_of_alarms() -> None:
    """IBKR is expected to be away then."""
    story = Story()
    story.pass_time(2)
    story.bridge.begin("maintenance")
    story.bridge.begin("signed_out")
    story.pass_time(10)

    assert story.service.titles == ["text of signed_out"]
    assert story.service.taken[0].kind == INFO
    assert "maintenance window" in story.service.taken[0].body


def test_maintenance_explains_no_full_disk() -> None:
    """An alarm that IBKR cannot have caused stays one, also in quiet hours."""
    quiet = QuietHours.parse("17:00-19:00 Europe/Berlin")  # it is 18:00 there
    story = Story(replace(TELL_ALL, quiet=quiet))
    story.pass_time(2)
    story.bridge.begin("maintenance")
    story.bridge.begin("journal_unavailable")
    story.pass_time(10)

    assert [(each.kind, "window" in each.body) for each in story.service.taken] == [(FAILURE, False)]


def test_what_maintenance_explains_is_a_kind_of_condition() -> None:
    """A name that is gone would explain nothing."""
    assert set(KINDS) >= EXPECTED_IN_MAINTENANCE


def test_an_alarm_that_outlasts_maintenance_is_told_as_an_alarm_if_notices_are_not() -> None:
    """Somebody who wants alarms only is not woken by the window, and not left alone after it."""
    story = Story(replace(TELL_ALL, least="critical"))
    story.pass_time(2)
    story.bridge.begin("maintenance")
    story.bridge.begin("signed_out")
    story.pass_time(600)
    assert story.service.titles == []

    story.bridge.end("maintenance")
    story.pass_time(4)
    assert story.service.titles == ["text of signed_out"]
    assert story.service.taken[0].kind == FAILURE


def test_in_quiet_hours_only_alarms_are_sent_and_the_rest_follows() -> None:
    """Noon in UTC is two in the afternoon in Berlin in summer; the quiet hours of this test are around it."""
    quiet = QuietHours.parse("17:00-19:00 Europe/Berlin")
    story = Story(replace(TELL_ALL, quiet=quiet))  # now it is 18:00 there
    story.pass_time(2)
    story.bridge.begin("disk_low")
    story.bridge.begin("signed_out")
    story.bridge.begin("mode_differs")
    story.pass_time(600, step=20)
    story.bridge.end("mode_differs")
    story.pass_time(600, step=20)
    assert story.service.titles == ["text of signed_out"]

    story.pass_time(3000, step=20)
    assert sorted(story.service.titles[1:]) == ["for 10 min 0 s: text of mode_differs", "text of disk_low"]


@pytest.mark.parametrize(("least", "told"), [("critical", 1), ("warning", 2), ("notice", 3)])
def test_only_what_is_severe_enough_is_told(least: str, told: int) -> None:
    """As the setting says."""
    story = Story(replace(TELL_ALL, least=least))
    story.pass_time(2)
    for name in ("signed_out", "disk_low", "login_ends"):
        story.bridge.begin(name)
    story.pass_time(60)

    assert len(story.service.taken) == told


def test_the_end_of_an_alarm_is_good_news() -> None:
    """Services show it in green."""
    story = Story()
    story.pass_time(2)
    story.bridge.begin("signed_out")
    story.pass_time(10)
    story.bridge.end("signed_out")
    story.pass_time(10)

    assert [each.kind for each in story.service.taken] == [FAILURE, SUCCESS]


def test_the_dead_mans_switch_is_pressed_once_a_minute_while_the_bridge_answers() -> None:
    """And not while it does not."""
    story = Story()
    story.pass_time(300)
    assert story.pings == 6

    story.bridge.error = SourceError()
    story.pass_time(300)
    assert story.pings == 6


@pytest.mark.parametrize("name", ["signed_out", "penalty_box"])
def test_what_began_before_the_clock_was_set_back_is_told(name: str) -> None:
    """A computer that starts with a wrong clock corrects it later: the beginning is then hours ahead."""
    story = Story()
    story.pass_time(2)
    story.bridge.begin(name)
    story.bridge.now -= timedelta(hours=3)
    story.pass_time(10)

    assert story.service.titles == [f"text of {name}"]


def test_an_outage_of_the_bridge_ends_although_the_clock_was_set_back() -> None:
    """Or the next outage would be taken for this one, and nobody would hear of it."""
    story = Story()
    story.bridge.error = SourceError()
    story.pass_time(40)
    story.bridge.now -= timedelta(hours=3)
    story.bridge.error = None
    story.pass_time(4)

    assert [each.partition(" after")[0] for each in story.service.titles] == ["the bridge does not answer", "over"]


def test_a_retry_does_not_wait_for_a_time_that_a_wrong_clock_has_named() -> None:
    """It would hold back every later message too."""
    story = Story(services=[FakeService(works=False)])
    story.pass_time(2)
    story.bridge.begin("signed_out")
    story.pass_time(2)
    story.bridge.now -= timedelta(days=365)
    story.service.works = True
    story.pass_time(10)

    assert story.service.titles[0] == "text of signed_out"


def test_a_book_of_garbage_tells_what_lasts() -> None:
    """And misses nothing from then on."""
    garbages: list[Any] = [None, [], {"revision": "x"}, {"revision": 1, "open": 3}]
    garbages.append({"revision": 1, "open": [{}], "closed": []})
    garbages += [_state(**change) for change in BROKEN]
    for garbage in garbages:
        story = Story(saved=garbage)
        story.bridge.begin("signed_out")
        story.pass_time(10)
        assert story.service.titles == ["text of signed_out"]
