"""The conditions that hold now, with the time at which each began.

A surface that asks for them gets the present ones: they are found again each time, which takes some microseconds. A
loop looks too, so that a condition that nobody asks about is published when it begins and when it ends: at the bridge
and the first profile once a second, and at the others in turns.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import NamedTuple, NoReturn

from ibkr_bridge import events
from ibkr_bridge.conditions.condition import KINDS, Condition, Found, Severity, write_condition

INTERVAL_S = 1.0  # between two looks
MAX_OTHERS = 10
"""Profiles beside the first that one look reaches: fifty are seen within five seconds, and cost no more than ten."""
GOOD = "ready: the brokerage session is open"
Find = Callable[[], Iterable[Found]]
Key = tuple[str | None, str]
"""The profile of a condition, or None, and its id."""


class _Source(NamedTuple):
    """What finds conditions of one profile, or of the whole bridge."""

    profile: str | None
    sign_in_url: str | None
    find: Find


class ConditionBoard:
    """Finds the conditions of the bridge and of its profiles.

    Args:
        utc: returns the time.
        bus: gets an event for each condition that begins or ends.
    """

    def __init__(self, utc: Callable[[], datetime], bus: events.Bus) -> None:
        self._utc = utc
        self._bus = bus
        self._sources: list[_Source] = []
        self._present: dict[Key, Condition] = {}
        self._next = 0  # the place, among the other profiles, where the next look of the loop begins
        self.on_change: events.Subscribers[tuple[Condition, ...]] = events.Subscribers("conditions", bus)

    def __repr__(self) -> str:
        return f"<ConditionBoard {', '.join(name for _, name in self._present) or 'nothing'}>"

    def add_source(self, find: Find, profile: str | None = None, sign_in_url: str | None = None) -> None:
        """Add something that finds conditions.

        Args:
            profile: the profile that they concern; None for the whole bridge.
            sign_in_url: where a person signs in for this profile.
        """
        self._sources.append(_Source(profile, sign_in_url, find))

    def remove_sources(self, profile: str) -> None:
        """Forget a profile; its conditions end."""
        self._sources = [each for each in self._sources if each.profile != profile]
        self._replace({profile}, {})

    def current(self, profile: str | None = None) -> tuple[Condition, ...]:
        """The conditions of the bridge and of one profile, or of all profiles; the most important first."""
        wanted = {each.profile for each in self._sources} if profile is None else {None, profile}
        self._refresh([each for each in self._sources if each.profile in wanted])
        return tuple(sorted((each for each in self._present.values() if each.profile in wanted), key=_importance))

    def summary(self, profile: str) -> str:
        """The most important condition in one line, and how many others there are."""
        serious = [each for each in self.current(profile) if each.severity != Severity.NOTICE.value or each.stops]
        others = len(serious) - 1
        if not serious:
            return GOOD
        return serious[0].line + (f" (and {others} more)" if others else "")

    async def run_loop(self) -> NoReturn:
        """Look once a second, at some profiles. An unexpected error is published once, and ends nothing."""
        published: str | None = None
        while True:
            try:
                self._refresh(self._due())
            except Exception as exc:
                places = events.traceback_places(exc)
                if places != published:
                    published = places
                    name = type(exc).__name__
                    self._bus.publish(events.ListenerFailed("conditions", "ConditionBoard", name, places))
            await asyncio.sleep(INTERVAL_S)

    def _due(self) -> list[_Source]:
        """The sources of the next look."""
        first = next((each.profile for each in self._sources if each.profile is not None), None)
        always = [each for each in self._sources if each.profile in (None, first)]
        others = [each for each in self._sources if each.profile not in (None, first)]
        at = self._next if self._next < len(others) else 0
        self._next = at + MAX_OTHERS
        return [*always, *others[at : at + MAX_OTHERS]]

    def _refresh(self, sources: Sequence[_Source]) -> None:
        self._replace({each.profile for each in sources}, self._find(sources))

    def _replace(self, profiles: set[str | None], found: dict[Key, Condition]) -> None:
        """Put what was found in the place of the earlier conditions of these profiles, and publish the difference."""
        before = {key: each for key, each in self._present.items() if key[0] in profiles}
        self._present = {key: each for key, each in self._present.items() if key not in before} | found
        begun = [each for key, each in found.items() if key not in before]
        ended = [each for key, each in before.items() if key not in found]
        for each in begun:
            kind = events.ConditionBegan if each.severity != Severity.NOTICE.value else events.ConditionNoticed
            self._bus.publish(kind(each.id, each.severity, each.text, each.do, profile=each.profile))
        for each in ended:
            lasted_s = round((self._utc() - each.since).total_seconds(), 1)
            self._bus.publish(events.ConditionEnded(each.id, each.severity, lasted_s, profile=each.profile))
        if begun or ended:
            self.on_change.notify(tuple(self._present.values()))

    def _find(self, sources: Sequence[_Source]) -> dict[Key, Condition]:
        now, present = self._utc(), dict[Key, Condition]()
        for profile, sign_in_url, find in sources:
            for found in find():
                key = (profile, found.id)
                before = self._present.get(key)
                present[key] = write_condition(found, profile, before.since if before else now, sign_in_url)
        return present


def _importance(condition: Condition) -> tuple[bool, int, datetime]:
    return not condition.stops, KINDS[condition.id].severity.rank, condition.since
