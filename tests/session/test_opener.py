"""Requests for the brokerage session: how often they are sent, and what is said about them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from ibkr_bridge.config.settings import Compete
from ibkr_bridge.events import Bus, Event, SessionOpening
from ibkr_bridge.session.gateway_session_api import GatewaySessionApi
from ibkr_bridge.session.opener import OpeningReport, SessionOpener
from ibkr_bridge.session.session_api import OpeningResponse
from tests.clocks import ManualClock


class ScriptedApi(GatewaySessionApi):
    """Records the requests, and answers all of them alike."""

    def __init__(self, response: OpeningResponse) -> None:
        self.response = response
        self.is_opening = False
        self.requests: list[bool] = []
        self.before_response: Callable[[], Awaitable[object]] | None = None

    async def open_session(self, *, compete: bool) -> OpeningResponse:
        """Record the request."""
        self.requests.append(compete)
        if self.before_response is not None:
            await self.before_response()
        return self.response


class Opener(SessionOpener):
    """An opener with its scripted parts."""

    def __init__(self, status: int = 500, message: str = "", **options: Any) -> None:
        self.api, self.clock = ScriptedApi(OpeningResponse(status, message)), ManualClock()
        self.events_seen: list[Event] = []
        bus = Bus()
        bus.subscribe(self.events_seen.append)
        compete = options.get("compete", Compete.RECLAIM)
        self.is_in_maintenance = False
        super().__init__(
            *(self.api, compete, self.clock, bus),
            lambda: self.is_in_maintenance,
            lambda text: text.replace("DU1", "DU*"),
        )


async def test_requests_are_spaced() -> None:
    """After a failed request the next one waits a second, then five."""
    opener = Opener()

    for _ in range(7):
        await opener.open()
        opener.clock.advance(1.0)

    assert len(opener.api.requests) == 3  # at 0, 1 and 6 s


async def test_no_request_is_sent_while_the_last_one_is_unanswered() -> None:
    """Two openings at a time end each other's session."""
    opener = Opener()
    opener.api.is_opening = True

    await opener.open()
    await opener.reclaim()

    assert not opener.api.requests
    assert opener.report_of(0) == OpeningReport(requested=False, reason="IBKR has not answered the last request yet")


async def test_requests_are_a_minute_apart_during_maintenance() -> None:
    """More attempts do not help then."""
    opener = Opener()
    await opener.open()

    opener.is_in_maintenance = True

    assert opener.wait_s == 60.0


async def test_the_session_is_not_requested_for_five_seconds_after_a_login() -> None:
    """The Gateway opens it itself."""
    opener = Opener()
    await opener.grant_grace()

    for _ in range(5):
        await opener.open()
        opener.clock.advance(1.0)
    early = list(opener.api.requests)
    await opener.open()

    assert (early, opener.api.requests) == ([], [True])


async def test_a_session_that_is_left_to_the_other_program_is_not_reclaimed() -> None:
    """IBKR_COMPETE=yield."""
    opener = Opener(compete=Compete.YIELD)

    await opener.reclaim()

    assert not opener.api.requests


async def test_after_three_reclaims_the_session_is_left_to_the_other_program_for_an_hour() -> None:
    """The hint then tells a person to sign out there."""
    opener = Opener()
    was_exhausted = []
    for _ in range(3):
        was_exhausted.append(opener.are_reclaims_exhausted)
        await opener.reclaim()
        opener.record_success()
        opener.clock.advance(10.0)

    await opener.reclaim()

    assert opener.api.requests == [True] * 3
    assert (was_exhausted, opener.are_reclaims_exhausted) == ([False] * 3, True)
    assert opener.reclaim_wait_s == 3600.0 - 30.0
    opener.clock.advance(opener.reclaim_wait_s)
    assert not opener.are_reclaims_exhausted


async def test_three_failures_in_a_row_call_for_another_hint() -> None:
    """A success ends the row."""
    opener = Opener()
    seen = []
    for _ in range(3):
        seen.append(opener.keeps_failing)
        await opener.open()
        opener.clock.advance(60.0)

    failing = opener.keeps_failing
    opener.record_success()

    assert (seen, failing, opener.keeps_failing) == ([False, False, False], True, False)


async def test_ibkrs_words_are_kept_without_secrets_until_the_session_opens() -> None:
    """They are shown in the status and in the event."""
    opener = Opener(message="DU1 awaits approval")

    await opener.open()
    (event,) = opener.events_seen
    kept = opener.message
    opener.record_success()

    assert isinstance(event, SessionOpening)
    assert (event.compete, event.attempt, event.next_try_s) == (True, 1, 1.0)
    assert (event.status, event.ibkr_message, kept, opener.message) == (
        500,
        "DU* awaits approval",
        "DU* awaits approval",
        "",
    )


@pytest.mark.parametrize(("status", "reason"), [(200, "IBKR answered 200"), (0, "IBKR answered nothing in time")])
async def test_the_report_of_a_request_has_its_outcome(status: int, reason: str) -> None:
    """A person reads what the request led to."""
    opener = Opener(status)

    await opener.open()

    report = opener.report_of(0)
    assert (report.requested, report.reason) == (True, reason)
    assert (opener.request_count, opener.requested_at) == (1, opener.clock.now())


async def test_a_request_that_is_unanswered_is_not_reported_with_the_response_to_the_one_before() -> None:
    """A caller waits some seconds; IBKR may need ten."""
    opener, may_respond = Opener(500), asyncio.Event()
    await opener.open()
    opener.clock.advance(60.0)
    earlier_count = opener.request_count
    opener.api.before_response = may_respond.wait
    request = asyncio.create_task(opener.open())
    await asyncio.sleep(0)

    report = opener.report_of(earlier_count)
    may_respond.set()
    await request

    assert (report.requested, report.reason) == (True, "IBKR answered nothing in time")
    assert opener.report_of(earlier_count).reason == "IBKR answered 500"


async def test_the_report_without_a_request_says_when_the_next_one_may_go() -> None:
    """Repeating the call at once would change nothing."""
    opener = Opener()
    await opener.open()

    report = opener.report_of(opener.request_count)

    assert (report.requested, report.reason) == (False, "requested too often; the next time is in 1 s")


async def test_the_report_without_a_request_says_that_none_was_needed() -> None:
    """One may be sent, but the state of the session did not call for it."""
    report = Opener().report_of(0)

    assert (report.requested, report.reason) == (False, "another request would change nothing now")
