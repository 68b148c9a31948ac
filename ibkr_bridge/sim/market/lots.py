"""What an account has, and what a trade changes of it. Pure.

Every amount is rounded to cents where it arises, so all sums are exact. For each currency this holds after each trade:

    cash + cost = cash and cost at the start of the day + realised + currency exchanged

where a future has no cost, as only its profit is ever paid. A currency pair is never held; a trade in it exchanges
cash.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from decimal import Decimal

from ibkr_bridge.sim.market.instruments import CENT, CURRENCY, FUTURE, Instrument

ZERO = Decimal("0.00")


def to_cents(amount: Decimal) -> Decimal:
    """Round an amount of money to cents."""
    return amount.quantize(CENT)


@dataclass(frozen=True)
class Lot:
    """What is held of one contract, in its currency: a short size and its cost are negative."""

    size: Decimal = Decimal(0)
    cost: Decimal = ZERO
    """What it cost in all, commissions included."""
    realised: Decimal = ZERO
    """Profit of what was closed today, after commissions."""


@dataclass(frozen=True)
class Fill:
    """One execution: `size` is negative for a sale; the commission is in the contract's currency."""

    instrument: Instrument
    size: Decimal
    price: Decimal
    commission: Decimal


@dataclass
class Holdings:
    """Everything an account has: cash by currency, without the open profit of futures, and lots by contract id."""

    cash: dict[str, Decimal]
    lots: dict[int, Lot] = field(default_factory=dict)

    def copy(self) -> Holdings:
        """Return the same holdings, to be changed independently."""
        return Holdings(dict(self.cash), dict(self.lots))

    def begin_day(self) -> None:
        """Forget what was realised, and the contracts that are no longer held."""
        self.lots = {conid: replace(lot, realised=ZERO) for conid, lot in self.lots.items() if lot.size}

    def apply(self, fill: Fill) -> None:
        """Book one execution: cash, cost and realised profit."""
        instrument, currency = fill.instrument, fill.instrument.currency
        if instrument.kind == CURRENCY:
            self._add_cash(instrument.symbol, to_cents(fill.size))
            self._add_cash(currency, -to_cents(fill.size * fill.price) - fill.commission)
            return
        before = self.lots.get(instrument.conid, Lot())
        after = self.lots[instrument.conid] = apply_fill(before, fill)
        realised = after.realised - before.realised
        paid = after.cost - before.cost if instrument.kind != FUTURE else ZERO
        self._add_cash(currency, realised - paid)

    def _add_cash(self, currency: str, amount: Decimal) -> None:
        self.cash[currency] = self.cash.get(currency, ZERO) + amount


def apply_fill(lot: Lot, fill: Fill) -> Lot:
    """What a lot becomes by an execution: first it closes what is held on the other side, then it opens.

    The commission is divided between both parts. That of the opening part becomes cost, as IBKR's average cost includes
    it; that of the closing part lowers the realised profit.
    """
    unit = fill.price * fill.instrument.multiplier
    closes = lot.size and (lot.size > 0) != (fill.size > 0)
    closed = min(abs(lot.size), abs(fill.size)).copy_sign(fill.size) if closes else Decimal(0)
    closing_fee = to_cents(fill.commission * closed / fill.size)
    closed_cost = lot.cost if closed == -lot.size else to_cents(lot.cost * -closed / lot.size)
    opening_cost = to_cents((fill.size - closed) * unit) + fill.commission - closing_fee
    realised = -to_cents(closed * unit) - closing_fee - closed_cost
    return Lot(lot.size + fill.size, lot.cost - closed_cost + opening_cost, lot.realised + realised)
