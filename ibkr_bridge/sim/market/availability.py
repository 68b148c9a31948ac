"""How good the quotes are: in real time, delayed, frozen, of a closed market, or missing. Pure.

IBKR says it in the first letter of field 6509: R real time, D delayed, Z frozen, Y frozen and delayed, N not
subscribed. While a market is closed, its prices stand still for everybody, and no order fills.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

DELAYED, FROZEN, CLOSED, MISSING = "quotes-delayed", "quotes-frozen", "quotes-closed", "quotes-missing"
REAL_TIME_CODE = "RpB"
CODES: Mapping[str, str] = {DELAYED: "DpB", FROZEN: "ZpB", CLOSED: "YpB", MISSING: "N"}
"""Field 6509 by the kind of the fault."""
DELAY_S = 900.0
"""Age of delayed quotes: IBKR's documentation says 10 to 15 minutes, 20 for some exchanges."""


@dataclass(frozen=True)
class Restriction:
    """What is wrong with some quotes, since when, and with which: a conid, a regular expression, or empty for all."""

    kind: str
    conids: str
    since: float

    def applies_to(self, conid: int) -> bool:
        """Whether it is about this contract."""
        return not self.conids or re.fullmatch(self.conids, str(conid)) is not None


class Availability:
    """The restrictions of quotes that hold now; of two on the same contract the later one counts."""

    def __init__(self) -> None:
        self._restrictions: list[Restriction] = []

    def restrict(self, kind: str, conids: str, now: float) -> None:
        """Begin a restriction."""
        self._restrictions.append(Restriction(kind, conids, now))

    def lift(self, kind: str, conids: str) -> None:
        """End a restriction."""
        self._restrictions = [each for each in self._restrictions if (each.kind, each.conids) != (kind, conids)]

    def kind_of(self, conid: int) -> str:
        """What is wrong with the quotes of a contract; empty if they are in real time."""
        restriction = self._find(conid)
        return "" if restriction is None else restriction.kind

    def code_of(self, conid: int) -> str:
        """Field 6509."""
        return CODES.get(self.kind_of(conid), REAL_TIME_CODE)

    def closed_since(self, conid: int) -> float | None:
        """The moment at which the market of a contract closed; None if it is open."""
        restriction = self._find(conid)
        return restriction.since if restriction and restriction.kind in (FROZEN, CLOSED) else None

    def _find(self, conid: int) -> Restriction | None:
        return next((each for each in reversed(self._restrictions) if each.applies_to(conid)), None)
