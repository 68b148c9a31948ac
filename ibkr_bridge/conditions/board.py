"""The conditions that hold now, with the time at which each began.

A surface that asks for them gets the present ones: they are found again each time, which takes some microseconds. A
loop looks once a second too, so that a condition that nobody asks about is published when it begins and when it ends.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import NoReturn

from ibkr_bridge import events
from ibkr_bridge.conditions.condition import KINDS, Condition, Found, Severity, write_condition

INTERVAL_S = 1.0  # between two looks
GOOD = "ready: the brokerage session is open"
Source = Callable[[], Iterable[Found]]


class ConditionBoard:
    """Finds the conditions of the bridge and of its profiles.

    Args:
        utc: returns the time.
        bus: gets an event for each condition that begins or ends.
    """

    def __init__(self, utc: Callable[[], datetime], bus: events.Bus) -> None:
        self._utc = utc
        self._bus = bus
        self._sources: list[tuple[str | None, str | None, Source]] = []
        self._present: dict[tuple[str | None, str], Condition] = {}
        self.on_change: events.Subscribers[tuple[Condition, ...]] = events.Subscribers("conditions", bus)

    def __repr__(self) -> str:
        return f"<ConditionBoard {', '.join(name for _, name in self._present) or 'nothing'}>"

    def add_source(self, source: Source, profile: str | None = None, sign_in_url: str | None = None) -> None:
        """Add something that finds conditions.

        Args:
            profile: the profile that they concern; None for the whole bridge.
            sign_in_url: where a person signs in for this profile.
        """
        self._sources.append((profile, sign_in_url, source))

    def remove_sources(self, profile: str) -> None:
        """Forget a profile; its conditions end."""
        self._sources = [each for each in self._sources if each[0] != profile]

    def current(self, profile: str | None = None) -> tuple[Condition, ...]:
        """The conditions of the bridge and of one profile, or of all profiles; the most important first."""
        self._refresh()
        wanted = (each for each in self._present.values() if profile is None or each.profile in (None, profile))
        return tuple(sorted(wanted, key=_importance))

    def summary(self, profile: str) -> str:
        """The most important condition in one line, and how many others there are."""
        serious = [each for each in self.current(profile) if each.severity != Severity.NOTICE.value or each.stops]
        others = len(serious) - 1
        if not serious:
            return GOOD
        return serious[0].line + (f" (and {others} more)" if others else "")

    async def run_loop(self) -> NoReturn:
        """Look once a second. An unexpected error is published once, and ends neither the loop nor the daemon."""
        published: str | None = None
        while True:
            try:
                self._refresh()
            except Exception as exc:
                places = events.traceback_places(exc)
                if places != published:
                    published = places
                    name = type(exc).__name__
                    self._bus.publish(events.ListenerFailed("conditions", "ConditionBoard", name, places))
            await asyncio.sleep(INTERVAL_S)

    def _refresh(self) -> None:
        before, self._present = self._present, self._find()
        begun = [each for key, each in self._present.items() if key not in before]
        ended = [each for key, each in before.items() if key not in self._present]
        for each in begun:
            kind = events.ConditionBegan if each.severity != Severity.NOTICE.value else events.ConditionNoticed
            self._bus.publish(kind(each.id, each.severity, each.text, each.do, profile=each.profile))
        for each in ended:
            lasted_s = round((self._utc() - each.since).total_seconds(), 1)
            self._bus.publish(events.ConditionEnded(each.id, each.severity, lasted_s, profile=each.profile))
        if begun or ended:
            self.on_change.notify(tuple(self._present.values()))

    def _find(self) -> dict[tuple[str | None, str], Condition]:
        now, present = self._utc(), dict[tuple[str | None, str], Condition]()
        for profile, sign_in_url, source in self._sources:
            for found in source():
                key = (profile, found.id)
                before = self._present.get(key)
                present[key] = write_condition(found, profile, before.since if before else now, sign_in_url)
        return present


def _importance(condition: Condition) -> tuple[bool, int, datetime]:
    return not condition.stops, KINDS[condition.id].severity.rank, condition.since
