"""Market data lines: IBKR sends a hundred contracts at a time, to streams and quote snapshots together. Pure.

A quote snapshot opens a market data line and leaves it open, so callers that read many contracts would soon use up all.
When a line is needed, the bridge releases that of the contract whose last snapshot is oldest, if no stream uses it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Set

from ibkr_bridge.calls.shares import reduced_capacity
from ibkr_bridge.errors import MarketDataLimit

MAX_MARKET_DATA_LINES = 100


class MarketDataLineUsage:
    """The market data lines that calls opened; those of streams are in `upstream_subscriptions.py`.

    Args:
        release_line: releases the market data line of a contract.
    """

    def __init__(self, release_line: Callable[[str], None]) -> None:
        self._release_line = release_line
        self._owners: OrderedDict[str, set[str]] = OrderedDict()
        self._reduced_owners: set[str] = set()

    def __repr__(self) -> str:
        return f"<MarketDataLineUsage {len(self._owners)} opened by calls>"

    def __len__(self) -> int:
        return len(self._owners)

    def opened_by_call(
        self, owner: str, conids: Iterable[str], streamed: frozenset[str], reduced: frozenset[str] | None = None
    ) -> None:
        """Record that a caller fetches a quote snapshot of these contracts.

        Args:
            streamed: the contracts of all streams.
            reduced: those of streams with a reduced share, if the caller's share is reduced; else None.

        Raises:
            MarketDataLimit: streams use too many lines.
        """
        wanted = dict.fromkeys(conids)
        if reduced is not None:
            self._reduced_owners.add(owner)
            self._stay_within_share(wanted.keys() - (streamed - reduced), reduced)
        self._release_oldest(len(streamed | wanted.keys()), streamed | wanted.keys())
        for conid in wanted:
            self._owners.setdefault(conid, set()).add(owner)
            self._owners.move_to_end(conid)

    def _stay_within_share(self, wanted: Set[str], reduced: frozenset[str]) -> None:
        """Release lines of callers with a reduced share until another request fits into that share."""
        max_lines, taken = reduced_capacity(MAX_MARKET_DATA_LINES), wanted | reduced
        if len(taken) > max_lines:
            raise MarketDataLimit(f"read-only keys and tokens together use {max_lines} contracts at a time at most")
        others = [
            conid for conid, owners in self._owners.items() if owners <= self._reduced_owners and conid not in taken
        ]
        self._release(others[: max(0, len(taken) + len(others) - max_lines)])

    def _release(self, conids: Iterable[str]) -> None:
        for conid in conids:
            del self._owners[conid]
            self._release_line(conid)

    def reserve_for_streams(self, streamed: frozenset[str]) -> None:
        """Release lines of calls as far as streams need them."""
        self._release_oldest(len(streamed), streamed)

    def _release_oldest(self, taken: int, protected: Iterable[str]) -> None:
        """Release lines until `taken` and the rest fit into the limit."""
        if taken > MAX_MARKET_DATA_LINES:
            raise MarketDataLimit(
                f"IBKR sends {MAX_MARKET_DATA_LINES} contracts at a time, and streams use too many of them"
            )
        others = [conid for conid in self._owners if conid not in set(protected)]
        self._release(others[: max(0, taken + len(others) - MAX_MARKET_DATA_LINES)])

    def release(self, owner: str, conid: str) -> bool:
        """A caller releases a contract. Returns whether no other caller uses it any more."""
        owners = self._owners.get(conid)
        if owners is None:
            return False
        owners.discard(owner)
        if not owners:
            del self._owners[conid]
        return not owners

    def conids_of(self, owner: str) -> list[str]:
        """The contracts whose lines a caller opened."""
        return [conid for conid, owners in self._owners.items() if owner in owners]

    def reset_session(self) -> None:
        """Forget all lines: a new session has none."""
        self._owners.clear()
