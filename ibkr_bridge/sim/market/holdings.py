"""What the accounts hold, and what it is worth at a moment. Pure.

The first account holds enough to fill three pages, the second only two positions. Today's fills are added to both.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from decimal import Decimal

from ibkr_bridge.sim.market.quotes import INSTRUMENTS, SMALL_COMPANIES
from ibkr_bridge.sim.market.world import World

CASH = Decimal(1_000_000)


@dataclass(frozen=True)
class Holding:
    """A position in one contract with its average cost."""

    conid: int
    size: Decimal
    cost: Decimal


def holdings(world: World, account: str, now: float) -> list[Holding]:
    """All positions of an account now, in a stable order."""
    if account not in world.accounts:
        return []
    sizes: dict[int, Decimal] = defaultdict(Decimal)
    first = account == world.accounts[0]
    for conid in SMALL_COMPANIES if first else ():
        sizes[conid] = Decimal(10)
    for instrument in INSTRUMENTS[:3] if first else INSTRUMENTS[3:5]:
        sizes[instrument.conid] = Decimal(100)
    world.book.orders(now)
    for trade in world.book.trades:
        if trade.order.account == account:
            sizes[trade.order.conid] += trade.order.size if trade.order.side == "BUY" else -trade.order.size
    return [Holding(conid, size, _cost(world, conid)) for conid, size in sizes.items() if size]


def net_liquidation(world: World, account: str, now: float) -> Decimal:
    """Cash and positions, in USD."""
    return CASH + sum(
        (world.quotes.last_price(each.conid, now) * each.size for each in holdings(world, account, now)), Decimal()
    )


def _cost(world: World, conid: int) -> Decimal:
    instrument = world.quotes.instrument(conid)
    return instrument.price if instrument else Decimal()
