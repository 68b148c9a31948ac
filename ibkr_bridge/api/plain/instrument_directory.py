"""The symbols and instruments that were found, remembered for some hours.

IBKR's numbers of instruments do not change; what a symbol stands for changes when a future expires or a company is
renamed. Nothing of an account is here.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import TypeVar

from ibkr_bridge.models.instruments import Instrument
from ibkr_bridge.translation.instruments import SymbolQuery

K = TypeVar("K")
V = TypeVar("V")
TTL_S = 6 * 3600.0  # as long as the catalogue keeps definitions of contracts
MAX_ENTRIES = 5000  # of each kind; the oldest make room


class InstrumentDirectory:
    """What one profile has found.

    Args:
        now: returns monotonic seconds.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._conids: dict[SymbolQuery, tuple[float, int]] = {}
        self._instruments: dict[int, tuple[float, Instrument]] = {}

    def __repr__(self) -> str:
        return f"<InstrumentDirectory {len(self._conids)} symbols, {len(self._instruments)} instruments>"

    def find(self, query: SymbolQuery) -> int | None:
        """The number that a symbol stands for; None if it is not remembered."""
        until, conid = self._conids.get(query, (0.0, None))
        return conid if conid is not None and self._now() < until else None

    def remember_symbol(self, query: SymbolQuery, conid: int) -> None:
        """Remember what a symbol stands for."""
        self._conids.pop(query, None)
        self._conids[query] = (self._now() + TTL_S, conid)
        _drop_oldest(self._conids)

    def describe(self, conids: Iterable[int]) -> dict[int, Instrument]:
        """The remembered instruments among some numbers."""
        now = self._now()
        entries = ((conid, self._instruments.get(conid)) for conid in conids)
        return {conid: entry[1] for conid, entry in entries if entry is not None and now < entry[0]}

    def remember(self, instruments: Iterable[Instrument]) -> None:
        """Remember instruments."""
        until = self._now() + TTL_S
        for instrument in instruments:
            self._instruments.pop(instrument.conid, None)
            self._instruments[instrument.conid] = (until, instrument)
        _drop_oldest(self._instruments)


def _drop_oldest(entries: dict[K, V]) -> None:
    while len(entries) > MAX_ENTRIES:
        del entries[next(iter(entries))]
