"""Sending: retries, and services that fail."""

from __future__ import annotations

from ibkr_bridge.alerts.delivery import PAUSES_S
from ibkr_bridge.config.alert_settings import AlertSettings
from tests.alerts.alert_setup import FakeService, Story

TWO = AlertSettings(("json://one", "json://two"), None, None, "notice")


def begin(story: Story) -> None:
    """Let something begin that is told at once."""
    story.pass_time(2)
    story.bridge.begin("signed_out")
    story.watch.round(story.bridge.now)


def test_a_service_that_fails_is_tried_again_and_the_other_one_is_not() -> None:
    """Each gets each message once."""
    story = Story(TWO, services=[FakeService(works=False), FakeService()])
    begin(story)
    story.restart()
    story.services[0].works = True
    story.pass_time(30)

    assert [len(each.taken) for each in story.services] == [1, 1]
    assert story.lines == ["an alert was not taken (Fake), and is tried again"]


def test_a_service_that_is_down_delays_no_other() -> None:
    """A wrong token of one messenger must not keep the next alarms from the e-mail."""
    story = Story(TWO, services=[FakeService(works=False), FakeService()])
    begin(story)
    story.bridge.begin("gateway_stuck")
    story.pass_time(10)

    assert story.services[1].titles == ["text of signed_out", "text of gateway_stuck"]


def test_attempts_are_bounded_and_the_loss_is_reported() -> None:
    """Then the next message gets its turn."""
    story = Story(services=[FakeService(works=False)])
    begin(story)
    story.pass_time(sum(PAUSES_S) + 60, step=5)

    assert story.service.attempts == len(PAUSES_S) + 1
    assert "given up after 9 attempts (Fake)" in story.lines[-1]
    assert story.watch.state.outbox == []


def test_an_address_that_was_removed_is_forgotten() -> None:
    """Its messages do not block the others."""
    story = Story(TWO, services=[FakeService(), FakeService(works=False)])
    begin(story)
    del story.services[1]
    story.restart()
    story.pass_time(30)

    assert story.watch.state.outbox == []
