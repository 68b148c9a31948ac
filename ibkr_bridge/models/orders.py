"""Orders: the ticket that an app sends, and the order that it gets."""

from __future__ import annotations

from decimal import Decimal
from enum import Enum
from typing import Annotated

from msgspec import Meta

from ibkr_bridge.models.base import AccountId, AssetClass, Conid, Currency, Model, RequestModel, Side, Symbol, UtcTime

BRIDGE_COID_PREFIX = "brdg-"  # of the cOIDs that the bridge makes; a caller's own name has another beginning
Price = Annotated[Decimal, Meta(description="A price in the currency of the instrument.", examples=["190.25"])]
ClientOrderId = Annotated[
    str,
    Meta(
        description="A name of the caller's own for the order, unique for 24 hours.",
        pattern=r"^[A-Za-z0-9._:-]{1,64}$",
        examples=["web-2f1c"],
    ),
]


class OrderType(Enum):
    """How an order gets its price."""

    MARKET = "market"
    LIMIT = "limit"
    STOP = "stop"
    STOP_LIMIT = "stop_limit"
    TRAIL = "trail"
    TRAIL_LIMIT = "trail_limit"
    MARKET_ON_CLOSE = "market_on_close"
    LIMIT_ON_CLOSE = "limit_on_close"
    MIDPRICE = "midprice"


class TimeInForce(Enum):
    """How long an order works."""

    DAY = "day"
    GTC = "gtc"
    IOC = "ioc"
    OPG = "opg"
    PAX = "pax"


class TrailUnit(Enum):
    """What a trailing distance is measured in."""

    AMOUNT = "amount"
    PERCENT = "percent"


class Trail(RequestModel, frozen=True):
    """The distance at which a trailing stop follows the price."""

    amount: Decimal
    unit: TrailUnit = TrailUnit.AMOUNT


class Bracket(RequestModel, frozen=True):
    """Orders that close the position once the order has filled; when one fills, IBKR cancels the other."""

    take_profit: Price | None = None
    stop_loss: Price | None = None


class OrderTicket(RequestModel, frozen=True):
    """One order to place. Either `symbol` or `conid`, either `quantity` or `cash_amount`."""

    side: Side
    type: OrderType
    symbol: Symbol | None = None
    conid: Conid | None = None
    quantity: Decimal | None = None
    cash_amount: Annotated[Decimal | None, Meta(description="Money to spend instead of a quantity.")] = None
    limit_price: Price | None = None
    stop_price: Price | None = None
    trail: Trail | None = None
    time_in_force: TimeInForce = TimeInForce.DAY
    outside_hours: Annotated[bool, Meta(description="Whether it may fill outside regular trading hours.")] = False
    bracket: Bracket | None = None
    client_order_id: ClientOrderId | None = None


class OrderChange(RequestModel, frozen=True):
    """What to change of a working order. What is left out stays as it is."""

    quantity: Decimal | None = None
    limit_price: Price | None = None
    stop_price: Price | None = None
    trail: Trail | None = None
    time_in_force: TimeInForce | None = None
    outside_hours: bool | None = None


class QuestionAnswer(RequestModel, frozen=True):
    """The answer to IBKR's question about an order."""

    confirm: Annotated[bool, Meta(description="Whether to place the order nevertheless.")]
    question_id: Annotated[
        str | None, Meta(description="The question that is answered; the open one of the order if it is left out.")
    ] = None


class OrderState(Enum):
    """What the bridge knows of an order."""

    REFUSED = "refused"  # by a rule of the bridge; nothing was sent
    SENDING = "sending"  # on its way to IBKR
    QUESTION = "question"  # IBKR asks something before it places the order
    PLACED = "placed"  # IBKR has it; `status` says what became of it
    REJECTED = "rejected"  # IBKR refused it
    UNKNOWN = "unknown"  # the answer was lost: it may exist, and the bridge searches for it
    NOT_PLACED = "not_placed"  # it does not exist


class OrderStatus(Enum):
    """What became of an order that IBKR has."""

    PENDING = "pending"  # IBKR holds it and has not passed it to the exchange
    WORKING = "working"
    CANCELLING = "cancelling"  # IBKR has accepted the cancel; it may still fill
    FILLED = "filled"
    CANCELLED = "cancelled"
    INACTIVE = "inactive"  # IBKR keeps it, but it does not work: margin, a halt, or it was rejected later


class OrderKind(Enum):
    """What a call does with an order."""

    PLACE = "place"
    MODIFY = "modify"
    CANCEL = "cancel"
    ANSWER = "answer"  # to a notice about an order


class OrderOrigin(Enum):
    """Where an order was made."""

    BRIDGE = "bridge"
    ELSEWHERE = "elsewhere"  # in IBKR's own programs, or by another one


class OpenQuestion(Model, frozen=True):
    """What IBKR asks before it places an order."""

    id: str
    texts: Annotated[list[str], Meta(description="IBKR's sentences, to be shown to the user.")]
    message_ids: list[str]
    expires_at: Annotated[UtcTime | None, Meta(description="When the bridge answers no by itself.")]


class OrderEventEntry(Model, frozen=True):
    """One event of an order, as the journal has it."""

    at: UtcTime
    what: Annotated[str, Meta(description="What happened, as docs/orders.md lists it.")]
    state: OrderState
    kind: OrderKind | None
    error: str | None
    code: Annotated[str | None, Meta(description="Code of the rule that refused it.")]
    status: Annotated[str | None, Meta(description="IBKR's word for the state of the order.")]
    order_ids: list[str]
    coids: list[str]
    reply: Annotated[str | None, Meta(description="The question that was answered.")]
    replies: Annotated[list[str], Meta(description="The questions that were asked.")]
    messages: Annotated[list[str], Meta(description="Ids of the messages in a question.")]
    by: Annotated[str | None, Meta(description="Who confirmed a question, if not its caller.")]
    request: Annotated[str | None, Meta(description="Id of the request that caused it.")]
    late: Annotated[bool | None, Meta(description="Whether the answer came after the deadline.")]


class Order(Model, frozen=True):
    """One order."""

    id: Annotated[str, Meta(description="The bridge's id of the order; IBKR's number if it was made elsewhere.")]
    kind: OrderKind
    state: OrderState
    status: Annotated[OrderStatus | None, Meta(description="Null while IBKR does not have it, or its list is unknown.")]
    origin: OrderOrigin
    account: AccountId | None
    conid: Conid | None
    symbol: str | None
    asset_class: AssetClass | None
    currency: Currency | None
    side: Side | None
    type: OrderType | None
    quantity: Decimal | None
    cash_amount: Decimal | None
    limit_price: Decimal | None
    stop_price: Decimal | None
    time_in_force: TimeInForce | None
    outside_hours: bool | None
    filled: Decimal | None
    remaining: Decimal | None
    average_price: Decimal | None
    client_order_id: Annotated[str | None, Meta(description="The caller's name for it; null if it gave none.")]
    coid: Annotated[str | None, Meta(description="Its cOID at IBKR: the same, or a name that the bridge made.")]
    order_id: Annotated[str | None, Meta(description="IBKR's number of the order.")]
    order_ids: Annotated[list[str], Meta(description="All of IBKR's numbers: those of a bracket are several.")]
    parent_id: Annotated[str | None, Meta(description="The order that must fill before this one works.")]
    question: OpenQuestion | None
    error: Annotated[str | None, Meta(description="Why it was refused, rejected, or is unknown.")]
    created: UtcTime | None
    updated: UtcTime | None
    warnings: list[str]


class OrderDetails(Order, frozen=True):
    """One order with all its events."""

    events: Annotated[list[OrderEventEntry], Meta(description="Empty for an order that was made elsewhere.")]


class OrderList(Model, frozen=True):
    """Orders of the last day and those that are open, the latest first: the journal's, and those of IBKR's list."""

    orders: list[Order]
    listed_at: Annotated[
        UtcTime | None, Meta(description="When IBKR gave its list of orders; null if it could not be read.")
    ]
    stale: Annotated[bool, Meta(description="Whether fills and orders made elsewhere may be missing.")]
    problem: Annotated[str | None, Meta(description="Code of the reason why IBKR's list could not be read.")]


class Preview(Model, frozen=True):
    """What an order would cost, and what it would do to the account."""

    currency: Annotated[Currency | None, Meta(description="Of the amounts; the rest is in the account's currency.")]
    amount: Annotated[Decimal | None, Meta(description="Value of the order without commission.")]
    commission: Decimal | None
    total: Decimal | None
    equity_before: Decimal | None
    equity_after: Decimal | None
    initial_margin_before: Decimal | None
    initial_margin_after: Decimal | None
    maintenance_margin_before: Decimal | None
    maintenance_margin_after: Decimal | None
    position_before: Decimal | None
    position_after: Decimal | None
    warnings: list[str]
    error: str | None
