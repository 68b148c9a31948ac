"""Changes of orders: IBKR wants the complete ticket again, so what does not change is taken from its row. Pure.

What IBKR does not show is never guessed: it would get IBKR's default, which is not what it was.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ibkr_bridge.errors import ValidationFailed
from ibkr_bridge.models.orders import OrderChange, OrderType, TimeInForce
from ibkr_bridge.translation.classes import side_of
from ibkr_bridge.translation.numbers import to_decimal
from ibkr_bridge.translation.tickets import (
    FORMS,
    LISTED_DAY,
    MAX_QUANTITY,
    OUTSIDE_HOURS_TYPES,
    TIMES,
    TYPE_BY_WORD,
    TypeForm,
    exact,
    hours_problems,
    number_problems,
    price_members,
    price_problems,
    trail_problems,
)


def changed_ticket(row: Mapping[str, Any], change: OrderChange) -> dict[str, Any]:
    """The complete ticket of a changed order, as IBKR wants it: what does not change is taken from its row.

    Raises:
        ValidationFailed: the change does not fit the order, or its row does not show what the order is.
    """
    kind = TYPE_BY_WORD.get(str(row.get("origOrderType") or row.get("orderType") or "").upper().replace(" ", "_"))
    conid = to_decimal(row.get("conid"))
    if kind is None or conid is None:
        raise ValidationFailed("orders of this type cannot be changed here", hint="cancel it and place a new one")
    if to_decimal(row.get("totalCashSize")):  # what IBKR shows as its quantity may be the amount: 1000 shares for $1000
        raise ValidationFailed(
            "an order for an amount of money cannot be changed", hint="cancel it and place a new one"
        )
    form = FORMS[kind]
    _check_change(change, form, kind)
    outside_hours = row.get("outsideRTH") if change.outside_hours is None else change.outside_hours
    if kind in OUTSIDE_HOURS_TYPES:
        outside_hours = _shown("outside_hours", outside_hours)
    elif not outside_hours:  # an order made elsewhere may have it in any case
        outside_hours = None
    tif = TIMES[change.time_in_force] if change.time_in_force else row.get("timeInForce")
    tif = TIMES[TimeInForce.DAY] if tif == LISTED_DAY else tif
    members = {
        "conid": int(conid),
        "orderType": form.word,
        "side": _shown("side", getattr(side_of(row.get("side")), "value", "").upper()),
        "tif": _shown("time_in_force", tif),
        "quantity": _shown("quantity", exact(change.quantity) or to_decimal(row.get("totalSize"))),
        "outsideRTH": outside_hours,
        **_changed_prices(row, change, form),
    }
    return {name: value for name, value in members.items() if value is not None}


def _shown(field: str, value: object) -> object:
    """A value that IBKR shows of an order or that the change names.

    Raises:
        ValidationFailed: neither does. What is left out of a change gets IBKR's default, which is not what it was.
    """
    if value is None or value == "":
        raise ValidationFailed(f"IBKR does not show the {field} of this order: name it in the change", field=field)
    return value


def _check_change(change: OrderChange, form: TypeForm, kind: OrderType) -> None:
    if change == OrderChange():
        raise ValidationFailed("the change changes nothing", field="quantity")
    problems = [
        *number_problems("quantity", change.quantity, MAX_QUANTITY),
        *price_problems("limit_price", change.limit_price, form.limit_member, kind, is_optional=True),
        *price_problems("stop_price", change.stop_price, form.stop_member, kind, is_optional=True),
        *hours_problems(change.outside_hours, kind),
    ]
    if change.trail is not None:
        problems += trail_problems(change.trail, kind)
    if problems:
        raise problems[0]


def _changed_prices(row: Mapping[str, Any], change: OrderChange, form: TypeForm) -> dict[str, object]:
    """The prices of a changed order. What is neither changed nor shown must not be guessed or left out.

    Raises:
        ValidationFailed: the row does not show a price that the order has.
    """
    limit, stop = to_decimal(row.get("price")), to_decimal(row.get("auxPrice"))
    if form.stop_member == "price":
        limit, stop = None, stop if stop is not None else limit
    limit = change.limit_price if change.limit_price is not None else limit  # a combination may cost zero
    stop = change.stop_price if change.stop_price is not None else stop
    missing = {
        "limit_price": form.limit_member is not None and limit is None and not form.is_limit_optional,
        "stop_price": form.stop_member is not None and stop is None,
        "trail": form.has_trail
        and change.trail is None,  # IBKR's row shows the stop, which moves, and not the distance
    }
    for field, is_missing in missing.items():
        if is_missing:
            raise ValidationFailed(
                f"IBKR does not show the {field} of this order", field=field, hint=f"send {field} with the change"
            )
    return price_members(form, limit, stop, change.trail)
