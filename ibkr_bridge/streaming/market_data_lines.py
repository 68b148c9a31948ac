"""Lines of market data: IBKR sends a hundred contracts at a time, to streams and snapshots together. Pure.

A snapshot opens a line and leaves it open, so a bridge whose callers look at many contracts would soon stand without
any. The line of a contract nobody streams, and nobody has looked at for the longest time, is given back when another
one is needed.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable

from ibkr_bridge.errors import MarketDataLimit

MAX_MARKET_DATA_LINES = 100


class MarketDataLineUsage:
    """The lines that calls opened; those of streams are the hub's.

    Args:
        free: gives the line of a contract back.
    """

    def __init__(self, release_line: Callable[[str], None]) -> None:
        self._free = release_line
        self._owners: OrderedDict[str, set[str]] = OrderedDict()

    def __repr__(self) -> str:
        return f"<MarketDataLineUsage {len(self._owners)} opened by calls>"

    def __len__(self) -> int:
        return len(self._owners)

    def opened_by_call(self, owner: str, conids: Iterable[str], streamed: frozenset[str]) -> None:
        """A caller takes a snapshot of these contracts.

        Raises:
            LineLimit: streams leave no room for them.
        """
        wanted = dict.fromkeys(conids)
        self._release_oldest(len(streamed | wanted.keys()), streamed | wanted.keys())
        for conid in wanted:
            self._owners.setdefault(conid, set()).add(owner)
            self._owners.move_to_end(conid)

    def reserve_for_streams(self, streamed: frozenset[str]) -> None:
        """So many contracts are to be streamed."""
        self._release_oldest(len(streamed), streamed)

    def _release_oldest(self, taken: int, kept: Iterable[str]) -> None:
        """Give lines back until `taken` and the rest are no more than there are."""
        if taken > MAX_MARKET_DATA_LINES:
            raise MarketDataLimit(
                f"IBKR sends {MAX_MARKET_DATA_LINES} contracts at a time, and streams take too many of them"
            )
        others = [conid for conid in self._owners if conid not in set(kept)]
        for conid in others[: max(0, taken + len(others) - MAX_MARKET_DATA_LINES)]:
            del self._owners[conid]
            self._free(conid)

    def release(self, owner: str, conid: str) -> bool:
        """A caller gives a contract back; says whether nobody looks at it any more who did."""
        owners = self._owners.get(conid)
        if owners is None:
            return False
        owners.discard(owner)
        if not owners:
            del self._owners[conid]
        return not owners

    def conids_of(self, owner: str) -> list[str]:
        """The contracts a caller has looked at."""
        return [conid for conid, owners in self._owners.items() if owner in owners]

    def reset_session(self) -> None:
        """Another session has none of them."""
        self._owners.clear()
