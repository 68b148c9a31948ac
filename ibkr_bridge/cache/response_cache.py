"""Answers that may be told again for a while: bounded, aged, and dropped when something makes them stale. Pure."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from functools import cached_property

from ibkr_bridge.calls.messages import LARGEST, Answer
from ibkr_bridge.ibkr.bodies import hides_error, is_empty, is_json, is_thin
from ibkr_bridge.ibkr.endpoint import Endpoint, Holds

MOST_ENTRIES = 512
MOST_BYTES = 32 * 1024 * 1024
ENTRY = 5120  # bytes an entry costs besides its body, the longest target among them
EMPTY_FOR = 5.0  # seconds


@dataclass(frozen=True)
class Kept:
    """One answer, when it was asked for, and when it came."""

    answer: Answer
    asked: float
    """From here its age counts, as RFC 9111 has it: nobody knows when on its way it was true."""
    at: float
    """From here it is fresh, for as long as its row says."""
    row: Endpoint

    @cached_property
    def fresh(self) -> float:
        """Seconds; what is empty may only be so for now."""
        return min(self.row.fresh, EMPTY_FOR) if is_empty(self.answer.body) else self.row.fresh

    @property
    def size(self) -> int:
        """Bytes."""
        return len(self.answer.body) + ENTRY


class Memory:
    """What was answered lately."""

    def __init__(self, most_entries: int = MOST_ENTRIES, most_bytes: int = MOST_BYTES) -> None:
        self._most_entries = most_entries
        self._most_bytes = most_bytes
        self._kept: OrderedDict[Hashable, Kept] = OrderedDict()  # the one that was used the longest ago first
        self._bytes = 0
        self._generations: Counter[Holds] = Counter()
        self.hits = self.asked = 0
        """Of all that were asked, how many could be told."""

    def __repr__(self) -> str:
        return f"<Memory {len(self._kept)} answers, {self._bytes} bytes>"

    def recall(self, key: Hashable, now: float, max_age: float | None) -> Kept | None:
        """An answer that is fresh enough.

        Args:
            max_age: seconds the caller finds fresh enough; never more than its row says.
        """
        kept = self.glance(key, now, max_age)
        self.asked += kept is None
        return kept

    def glance(self, key: Hashable, now: float, max_age: float | None) -> Kept | None:
        """The same; where there is none nobody has asked yet."""
        kept = self._kept.get(key)
        if kept is None:
            return None
        if now - kept.at >= kept.fresh:
            self._drop(key)
            return None
        if max_age is not None and (now - kept.asked > max_age or max_age == 0):
            return None
        self._kept.move_to_end(key)
        self.asked += 1
        self.hits += 1
        return kept

    @property
    def size(self) -> dict[str, int]:
        """How much is kept."""
        return {"entries": len(self._kept), "bytes": self._bytes}

    def generation(self, holds: Holds) -> int:
        """Which answers belong together: what was asked in an earlier one is stale when it comes."""
        return self._generations[holds]

    def keep(self, key: Hashable, kept: Kept, generation: int) -> None:
        """Remember an answer, where that makes sense."""
        row, was = kept.row, self._kept.get(key)
        if row.fresh <= 0 or generation != self._generations[row.holds] or not worth_telling(kept.answer):
            return
        if was is not None and was.asked > kept.asked:
            return  # it was overtaken on its way
        self._drop(key)
        self._kept[key] = kept
        self._bytes += kept.size
        while len(self._kept) > self._most_entries or self._bytes > self._most_bytes:
            self._drop(next(iter(self._kept)))

    def forget(self, *kinds: Holds) -> None:
        """These have become stale, those that are still on their way too."""
        self._generations.update(kinds)
        for key in [key for key, kept in self._kept.items() if kept.row.holds in kinds]:
            self._drop(key)

    def _drop(self, key: Hashable) -> None:
        if kept := self._kept.pop(key, None):
            self._bytes -= kept.size


def worth_telling(answer: Answer) -> bool:
    """Whether an answer is whole, good, and hides no error inside its 200."""
    if answer.status != 200 or answer.rest is not None or answer.passing or len(answer.body) > LARGEST:
        return False
    return is_json(answer.body) and not is_thin(answer.body) and not hides_error(answer.body)
