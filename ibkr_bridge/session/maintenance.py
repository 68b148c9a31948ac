"""IBKR's maintenance windows, in which a lost session is expected. Pure: time and windows are passed in.

IBKR says (campus pages "Client Portal API v1" and "Web API"): a session ends at midnight of the region that serves it
(New York, Zug, Hong Kong); `/iserver` has a short break about 01:00 local on weekdays; the whole Web API is maintained
on Saturday evenings. IBKR does not publish the hours of the last window: we take 18:00 to midnight for "evening".
`IBKR_BRIDGE_REGION`, `IBKR_BRIDGE_MAINTENANCE` and `IBKR_BRIDGE_RESETS` override place and hours. The login of IB
Gateway, another program of IBKR's, ends once a week, on Sunday at 01:00 in New York (IBKR's guide "Auto restart").
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

from ibkr_bridge.config.settings import Region
from ibkr_bridge.config.value_types import WeeklyMoment, WeeklyWindow

ZONES: Mapping[Region, str] = {
    Region.AMERICA: "America/New_York",
    Region.EUROPE: "Europe/Zurich",
    Region.ASIA: "Asia/Hong_Kong",
}


DAILY_RESET = WeeklyMoment.parse("daily 00:00")


def window_end(now: datetime, region: Region, windows: Iterable[WeeklyWindow]) -> datetime | None:
    """The end, in UTC, of the maintenance window that `now` lies in; None outside all windows."""
    local = now.astimezone(ZoneInfo(ZONES[region]))
    ends = [
        _time_of_day(local, window.end)
        for window in windows
        if local.weekday() in window.days and window.start <= local.time() < window.end
    ]
    return max(ends).astimezone(UTC) if ends else None


def next_reset(now: datetime, region: Region, resets: Iterable[WeeklyMoment] = (DAILY_RESET,)) -> datetime:
    """When IBKR next ends every login, in UTC."""
    return min(_next(now, moment, ZoneInfo(moment.zone or ZONES[region])) for moment in resets)


def _next(now: datetime, moment: WeeklyMoment, zone: ZoneInfo) -> datetime:
    today = now.astimezone(zone).date()
    days = (today + timedelta(days=ahead) for ahead in range(9))  # a week, and a day whose time has passed
    times = (datetime.combine(day, moment.at, zone).astimezone(UTC) for day in days if day.weekday() in moment.days)
    return next(each for each in times if each > now)


def _time_of_day(day: datetime, at: time) -> datetime:
    """A time on a day; the end of a day is midnight of the next."""
    if at == time.max:
        return datetime.combine(day.date() + timedelta(days=1), time.min, tzinfo=day.tzinfo)
    return datetime.combine(day.date(), at.replace(fold=day.fold), tzinfo=day.tzinfo)  # in autumn one hour occurs twice
