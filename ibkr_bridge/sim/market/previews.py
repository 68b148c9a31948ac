"""What an order would cost and change, as IBKR writes it for people: the answer of `whatif`. Pure."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from ibkr_bridge.sim.market.book import Order
from ibkr_bridge.sim.market.commissions import order_commission
from ibkr_bridge.sim.market.instruments import find_instrument
from ibkr_bridge.sim.market.lots import to_cents
from ibkr_bridge.sim.market.money import Statement
from ibkr_bridge.sim.market.world import World


def describe_preview(world: World, order: Order, price: Decimal, now: float) -> dict[str, Any]:
    """The amount of an order, and its account before and after it, if it fills completely at a price."""
    instrument = find_instrument(order.conid)
    if instrument is None:
        raise LookupError(order.conid)
    value = to_cents(order.size * price * instrument.multiplier)
    commission = order_commission(instrument, order.size, value)
    before, after = world.accounting.preview(order, price, commission, now)
    currency = instrument.currency
    return {
        "amount": {
            "amount": f"{value:,.2f} {currency}",
            "commission": f"{commission.normalize():f} {currency}",
            "total": f"{value + commission:,.2f} {currency}",
        },
        "equity": _change(before.equity_with_loan, after.equity_with_loan),
        "initial": _change(before.base.initial_margin, after.base.initial_margin),
        "maintenance": _change(before.base.maintenance_margin, after.base.maintenance_margin),
        "position": _sizes(_size_of(before, order.conid), _size_of(after, order.conid)),
    }


def _change(before: Decimal, after: Decimal) -> dict[str, str]:
    return {"current": f"{before:,.2f}", "change": f"{after - before:,.2f}", "after": f"{after:,.2f}"}


def _sizes(before: Decimal, after: Decimal) -> dict[str, str]:
    return {"current": f"{before:f}", "change": f"{after - before:f}", "after": f"{after:f}"}


def _size_of(statement: Statement, conid: int) -> Decimal:
    return next((each.size for each in statement.positions if each.instrument.conid == conid), Decimal(0))
