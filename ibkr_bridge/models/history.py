"""What has happened to the bridge and its session."""

from __future__ import annotations

from datetime import date
from typing import Annotated

from msgspec import Meta

from ibkr_bridge.models.base import Model, UtcTime


class PastCondition(Model, frozen=True):
    """A condition that held at some time."""

    id: Annotated[str, Meta(description="What it is, as a code.")]
    profile: Annotated[str | None, Meta(description="The profile that it concerns; null if it is the whole bridge.")]
    severity: Annotated[str, Meta(description="`critical`, `warning` or `notice`.")]
    text: Annotated[str, Meta(description="What was the case when it began, for a person.")]
    do: Annotated[str, Meta(description="What that person should do.")]
    url: Annotated[str | None, Meta(description="Where to do it; null if there is no such place.")]
    began: UtcTime
    ended: Annotated[UtcTime | None, Meta(description="Null while it lasts.")]
    revision: Annotated[int, Meta(description="The number of its latest change.")]


class SessionSpan(Model, frozen=True):
    """A time in which the session was in one state. Between two of them the bridge did not run."""

    state: Annotated[str, Meta(description="As in `GET /gateway/status`.")]
    began: UtcTime
    ended: UtcTime


class AvailabilityFigures(Model, frozen=True):
    """How much of the trading hours the session was ready."""

    trading_s: Annotated[float, Meta(description="Seconds of trading hours of US stocks since the history began.")]
    ready_s: Annotated[float, Meta(description="Seconds of them in which the session was ready.")]
    ready_share: Annotated[float | None, Meta(description="The part of them, 0 to 1; null if there were none.")]
    losses: Annotated[int, Meta(description="How often a ready session was lost, at any hour.")]
    mean_repair_s: Annotated[
        float | None, Meta(description="Mean seconds until it was ready again; null if that has not happened.")
    ]
    text: Annotated[str, Meta(description="The figures in one line, for a person.")]


class Day(Model, frozen=True):
    """The figures of one day in New York."""

    day: date
    availability: AvailabilityFigures


class BridgeHistory(Model, frozen=True, rename={"begin": "from", "end": "to"}):
    """What has happened to the bridge and the session of one profile."""

    profile: str
    begin: UtcTime
    end: UtcTime
    availability: Annotated[AvailabilityFigures, Meta(description="Of the whole period.")]
    days: list[Day]
    states: Annotated[
        list[SessionSpan], Meta(description="The states of the session in their order, the latest 5000 at most.")
    ]
    conditions: Annotated[
        list[PastCondition], Meta(description="The latest thousand at most, in the order of their beginnings.")
    ]
    revision: Annotated[int, Meta(description="The number of the latest change, for `after` of the changes.")]
    problem: Annotated[str | None, Meta(description="Why the history is missing here or not complete; else null.")]


class BridgeHistoryChanges(Model, frozen=True):
    """The conditions that have begun or ended since a reader asked last."""

    changes: Annotated[list[PastCondition], Meta(description="In the order of their changes.")]
    revision: Annotated[int, Meta(description="The number of the latest one that is listed: the next `after`.")]
    latest: Annotated[
        int, Meta(description="The number of the latest change of all: below `after`, it is a new history.")
    ]
    problem: Annotated[str | None, Meta(description="Why changes may be missing; else null.")]
