"""IBKR's maintenance windows, in which a lost session is expected. Pure: time and windows are passed in.

IBKR says (campus pages "Client Portal API v1" and "Web API"): a session ends at midnight of the region that serves it
(New York, Zug, Hong Kong); `/iserver` has a short break about 01:00 local on weekdays; the whole Web API is maintained
on Saturday evenings. IBKR does not publish the hours of the last window: we take 18:00 to midnight for "evening".
`IBKR_BRIDGE_REGION` and `IBKR_BRIDGE_MAINTENANCE` override both place and hours.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

from ibkr_bridge.config.settings import Region
from ibkr_bridge.config.value_types import WeeklyWindow

ZONES: Mapping[Region, str] = {
    Region.AMERICA: "America/New_York",
    Region.EUROPE: "Europe/Zurich",
    Region.ASIA: "Asia/Hong_Kong",
}


def window_end(now: datetime, region: Region, windows: Iterable[WeeklyWindow]) -> datetime | None:
    """The end, in UTC, of the maintenance window that `now` lies in; None outside all windows."""
    local = now.astimezone(ZoneInfo(ZONES[region]))
    ends = [
        _time_of_day(local, window.end)
        for window in windows
        if local.weekday() in window.days and window.start <= local.time() < window.end
    ]
    return max(ends).astimezone(UTC) if ends else None


def next_reset(now: datetime, region: Region) -> datetime:
    """The next midnight of the region, in UTC, when IBKR ends every login."""
    local = now.astimezone(ZoneInfo(ZONES[region]))
    return _time_of_day(local, time.max).astimezone(UTC)


def _time_of_day(day: datetime, at: time) -> datetime:
    """A time on a day; the end of a day is midnight of the next."""
    if at == time.max:
        return datetime.combine(day.date() + timedelta(days=1), time.min, tzinfo=day.tzinfo)
    return datetime.combine(day.date(), at.replace(fold=day.fold), tzinfo=day.tzinfo)  # in autumn one hour occurs twice
