"""What an order would cost and change, as IBKR writes it for people: the answer of `whatif`; and whether its account
has the funds for it. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from ibkr_bridge.sim.market.book import Order
from ibkr_bridge.sim.market.commissions import order_commission
from ibkr_bridge.sim.market.instruments import Instrument, find_instrument
from ibkr_bridge.sim.market.lots import to_cents
from ibkr_bridge.sim.market.money import Statement
from ibkr_bridge.sim.market.world import World

# TWS has shown these words for years; whether the Web API has the same ones was not observed.
NO_FUNDS = (
    "YOUR ORDER IS NOT ACCEPTED. IN ORDER TO OBTAIN THE DESIRED POSITION YOUR EQUITY WITH LOAN VALUE [{:.2f} USD] "
    "MUST EXCEED THE INITIAL MARGIN [{:.2f} USD]"
)


@dataclass(frozen=True)
class Outcome:
    """An order that fills completely at a price: its value and commission, its account before and after."""

    instrument: Instrument
    value: Decimal
    commission: Decimal
    before: Statement
    after: Statement

    @property
    def funds_error(self) -> str | None:
        """IBKR's words if the order needs more margin than the account has. An order that frees margin is accepted."""
        before, after = self.before.base.initial_margin, self.after.base.initial_margin
        if after <= before or self.after.available_funds >= 0:
            return None
        return NO_FUNDS.format(self.after.equity_with_loan, after)


def foresee(world: World, order: Order, now: float) -> Outcome:
    """What an order leads to if it fills completely at its limit, or else at the price of now."""
    instrument = find_instrument(order.conid)
    if instrument is None:
        raise LookupError(order.conid)
    price = order.price or world.quotes.last_price(order.conid, now)
    value = to_cents(order.size * price * instrument.multiplier)
    commission = order_commission(instrument, order.size, value)
    before, after = world.accounting.preview(order, price, commission, now)
    return Outcome(instrument, value, commission, before, after)


def describe_preview(outcome: Outcome, order: Order) -> dict[str, Any]:
    """The amount of an order, and its account before and after it."""
    value, commission = outcome.value, outcome.commission
    before, after = outcome.before, outcome.after
    currency = outcome.instrument.currency
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
        "error": outcome.funds_error,
    }


def _change(before: Decimal, after: Decimal) -> dict[str, str]:
    return {"current": f"{before:,.2f}", "change": f"{after - before:,.2f}", "after": f"{after:,.2f}"}


def _sizes(before: Decimal, after: Decimal) -> dict[str, str]:
    return {"current": f"{before:f}", "change": f"{after - before:f}", "after": f"{after:f}"}


def _size_of(statement: Statement, conid: int) -> Decimal:
    return next((each.size for each in statement.positions if each.instrument.conid == conid), Decimal(0))
