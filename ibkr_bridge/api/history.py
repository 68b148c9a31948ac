"""`GET /gateway/history`: what has happened to the bridge and the session of the caller's profile."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, time, timedelta
from typing import Annotated
from zoneinfo import ZoneInfo

from aiohttp import web
from msgspec import Meta

from ibkr_bridge.api.plain.answers import answer, integer_parameter
from ibkr_bridge.history.availability import Availability, measure
from ibkr_bridge.history.recorder import Past
from ibkr_bridge.history.records import ConditionRecord, StateSpan
from ibkr_bridge.history.trading_hours import ZONE
from ibkr_bridge.models.history import (
    AvailabilityFigures,
    BridgeHistory,
    BridgeHistoryChanges,
    Day,
    PastCondition,
    SessionSpan,
)
from ibkr_bridge.server.app_keys import CLOCK, HISTORY, profile_of

DEFAULT_DAYS, MAX_DAYS = 7, 90
Days = Annotated[int, Meta(ge=1, le=MAX_DAYS)]
DEFAULT_CHANGES, MAX_CHANGES = 100, 1000  # in one answer
MAX_REVISION = 999_999_999
MAX_STATES = 5000  # in one answer, about 500 kB; the figures are of all


async def history(request: web.Request) -> web.Response:
    """The conditions, the states of the session and its availability in the last days."""
    return answer(await read_history(request, integer_parameter(request, "days", DEFAULT_DAYS, 1, MAX_DAYS)))


async def read_history(request: web.Request, days: int) -> BridgeHistory:
    """The history of the caller's profile in the last days."""
    now = request.app[CLOCK].utc()
    begin, name = now - timedelta(days=days), profile_of(request).name
    past = await request.app[HISTORY].read(name, begin)
    return describe_history(name, past, begin, now)


async def changes(request: web.Request) -> web.Response:
    """The conditions that have begun or ended since the caller asked last."""
    after = integer_parameter(request, "after", 0, 0, MAX_REVISION)
    limit = integer_parameter(request, "limit", DEFAULT_CHANGES, 1, MAX_CHANGES)
    recorder = request.app[HISTORY]
    records, latest = await recorder.changes(profile_of(request).name, after, limit)
    last = records[-1].revision if records else after
    return answer(BridgeHistoryChanges([past_condition(each) for each in records], last, latest, recorder.problem))


def describe_history(profile: str, past: Past, begin: datetime, end: datetime) -> BridgeHistory:
    """The shape of what was recorded between two times."""
    spans = sorted(past.spans, key=lambda each: each.began)  # they are, unless the clock was set back
    return BridgeHistory(
        profile=profile,
        begin=begin,
        end=end,
        availability=figures(measure(spans, begin, end)),
        days=list(_days(spans, begin, end)),
        states=[SessionSpan(each.state, max(each.began, begin), each.ended) for each in spans[-MAX_STATES:]],
        conditions=[past_condition(each) for each in past.conditions],
        revision=past.revision,
        problem=past.problem,
    )


def figures(availability: Availability) -> AvailabilityFigures:
    """The shape of the figures of one period."""
    a = availability
    share = None if a.share is None else round(a.share, 6)
    repair = None if a.mean_repair_s is None else round(a.mean_repair_s, 1)
    return AvailabilityFigures(round(a.trading_s, 1), round(a.ready_s, 1), share, a.losses, repair, a.text)


def past_condition(record: ConditionRecord) -> PastCondition:
    """The shape of one condition."""
    r = record
    return PastCondition(r.id, r.profile, r.severity, r.text, r.do, r.url, r.began, r.ended, r.revision)


def _days(spans: Sequence[StateSpan], begin: datetime, end: datetime) -> Iterator[Day]:
    """The figures of each day in New York, as far as the history reaches."""
    zone = ZoneInfo(ZONE)
    day = max(begin, spans[0].began if spans else end).astimezone(zone).date()
    while (start := datetime.combine(day, time.min, zone).astimezone(UTC)) < end:
        following = day + timedelta(days=1)
        close = datetime.combine(following, time.min, zone).astimezone(UTC)
        yield Day(day, figures(measure(spans, max(start, begin), min(close, end))))
        day = following
