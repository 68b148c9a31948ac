"""The routes of the plain API."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

from aiohttp.typedefs import Handler
from msgspec import Meta

from ibkr_bridge.api.plain import accounts, events, instruments, order_changes, order_placement, orders, quotes, session
from ibkr_bridge.api.route import Auth, Parameter, Route, keyed_route
from ibkr_bridge.errors import (
    AccountNotAllowed,
    AccountNotFound,
    AmbiguousSymbol,
    BadRequest,
    BridgeError,
    Busy,
    DuplicateOrder,
    GatewayProtocolError,
    GatewayTimeout,
    GatewayUnreachable,
    IdempotencyMismatch,
    InPenaltyBox,
    InstrumentNotFound,
    JournalUnavailable,
    Maintenance,
    MarketDataLimit,
    OrderInProgress,
    OrderLimitExceeded,
    OrderNotFound,
    OrderNotPlaced,
    OrderNotWorking,
    OrderRejected,
    OrderUnknown,
    PaperOnly,
    RateLimited,
    ReadOnly,
    ReplyNotFound,
    SessionUnavailable,
    ShuttingDown,
    TradingPaused,
    UpstreamError,
    UpstreamRefused,
    ValidationFailed,
)
from ibkr_bridge.ibkr.endpoint import Effect
from ibkr_bridge.models.accounts import Account, AccountList, Balance, PositionList, TradeList
from ibkr_bridge.models.base import AccountId, AssetClass, Conid, Model
from ibkr_bridge.models.instruments import Instrument, InstrumentSearch
from ibkr_bridge.models.orders import (
    Order,
    OrderChange,
    OrderDetails,
    OrderList,
    OrderState,
    OrderTicket,
    Preview,
    QuestionAnswer,
)
from ibkr_bridge.models.quotes import History, QuoteList
from ibkr_bridge.models.session import Session

Errors = tuple[type[BridgeError], ...]
UPSTREAM_ERRORS: Errors = (
    *(SessionUnavailable, Maintenance, RateLimited, InPenaltyBox, Busy),
    *(GatewayUnreachable, GatewayTimeout, GatewayProtocolError, UpstreamRefused, UpstreamError),
)
"""What every route that asks IBKR can answer."""
ORDER_ERRORS: Errors = (
    *(BadRequest, ValidationFailed, ReadOnly, PaperOnly, AccountNotAllowed, OrderLimitExceeded, TradingPaused),
    *(OrderInProgress, DuplicateOrder, IdempotencyMismatch, JournalUnavailable),
    *(OrderRejected, OrderNotWorking, OrderUnknown, OrderNotPlaced),
)
"""What every route that sends an order call can answer as well."""
SYMBOL_ERRORS: Errors = (BadRequest, InstrumentNotFound, AmbiguousSymbol)
DAYS = Annotated[int, Meta(ge=1, le=accounts.MAX_TRADE_DAYS)]
LIMIT = Annotated[int, Meta(ge=1, le=orders.MAX_LIMIT)]
SYMBOL = Parameter("symbol", "A symbol, such as `AAPL`, `ES@CME` or `EUR.USD`.", example="AAPL")
CLASS = Parameter("class", "The class of the instrument, if several have the symbol.", AssetClass, example="stock")


def _read(
    path: str,
    handler: Handler,
    response: type[Model],
    summary: str,
    *parameters: Parameter,
    errors: Errors = (),
) -> Route:
    return keyed_route(
        *("GET", path, Effect.READ, handler, summary),
        errors=(*errors, *UPSTREAM_ERRORS),
        response=response,
        parameters=parameters,
    )


def _order_call(
    method: str,
    path: str,
    handler: Handler,
    summary: str,
    request: type[Model] | None = None,
    errors: Errors = (),
) -> Route:
    return keyed_route(
        *(method, path, Effect.TRADE, handler, summary),
        errors=(*errors, *ORDER_ERRORS, *UPSTREAM_ERRORS),
        response=Order,
        request=request,
        cancels=method == "DELETE",
    )


PLAIN_ROUTES: tuple[Route, ...] = (
    keyed_route(
        *("GET", "/session", Effect.READ, session.get_session),
        "Whether an app can read and trade now, and what its user can do if not.",
        response=Session,
    ),
    _read("/accounts", accounts.list_accounts, AccountList, "The accounts of the login."),
    _read(
        *("/accounts/{id}", accounts.get_account, Account, "One account with its balances and profit and loss."),
        errors=(AccountNotFound,),
    ),
    _read(
        *("/accounts/{id}/positions", accounts.list_account_positions, PositionList, "What one account holds."),
        errors=(AccountNotFound,),
    ),
    _read(
        *("/accounts/{id}/trades", accounts.list_trades, TradeList, "The trades of one account, the latest first."),
        Parameter("days", "How many days, today included; IBKR has seven.", DAYS, example="1"),
        errors=(AccountNotFound, BadRequest),
    ),
    _read(
        *("/account/balance", accounts.get_balance, Balance, "The balance of one account in a few figures."),
        Parameter("account", "The account; may be left out if the login has one.", AccountId, example="DU1234567"),
        errors=(AccountNotFound, BadRequest),
    ),
    _read("/positions", accounts.list_positions, PositionList, "What all accounts hold."),
    _read(
        *("/instruments", instruments.search_instruments, InstrumentSearch, "What a symbol stands for."),
        *(replace(SYMBOL, is_required=True), CLASS),
        errors=SYMBOL_ERRORS,
    ),
    _read(
        *("/instruments/{conid}", instruments.get_instrument, Instrument, "One instrument."),
        errors=(InstrumentNotFound, BadRequest),
    ),
    _read(
        *("/quotes", quotes.list_quotes, QuoteList, "The quotes of instruments, and why some have none."),
        Parameter("symbols", "Symbols, between commas.", example="AAPL,ES@CME"),
        Parameter("conids", "Numbers of instruments, between commas.", example="265598"),
        errors=(BadRequest,),
    ),
    _read(
        *("/history", quotes.get_history, History, "The price history of one instrument."),
        SYMBOL,
        Parameter("conid", "The number of the instrument, instead of its symbol.", Conid),
        Parameter("period", "How far back: `1d`, `2w`, `6m`, `1y`.", example="1d"),
        Parameter("bar", "How long a bar is: `1min`, `5min`, `1h`, `1d`.", example="5min"),
        Parameter("outside_hours", "Whether with the time outside regular hours.", bool),
        errors=SYMBOL_ERRORS,
    ),
    keyed_route(
        *("GET", "/orders", Effect.READ, orders.list_orders),
        "The orders of the last day and those that are open, the latest first; also those made elsewhere.",
        errors=(BadRequest,),
        response=OrderList,
        parameters=(
            Parameter("state", "Only the orders in this state.", OrderState, example="unknown"),
            Parameter("limit", "How many at most, up to 1000; 100 if left out.", LIMIT, example="50"),
        ),
    ),
    keyed_route(
        *("GET", "/orders/{id}", Effect.READ, orders.get_order),
        "One order with all its events, however old it is.",
        errors=(OrderNotFound, JournalUnavailable),
        response=OrderDetails,
    ),
    Route(
        *("GET", "/events", Effect.READ, Auth.KEY_OR_TOKEN, events.open_events),
        parameters=(
            Parameter("topics", f"Which events: {', '.join(events.TOPICS)}; all but quotes if left out."),
            Parameter("symbols", "Symbols of the quotes, between commas.", example="AAPL,ES@CME"),
            Parameter("conids", "Numbers of instruments of the quotes, between commas."),
        ),
        errors=(InstrumentNotFound, AmbiguousSymbol, BadRequest, MarketDataLimit, ShuttingDown, *UPSTREAM_ERRORS),
        endless=True,
        token_in_query=True,
        media_type="text/event-stream",
        summary="One stream for a page: session, accounts, positions, orders, trades and quotes as they change.",
    ),
    _order_call(
        *("POST", "/accounts/{id}/orders", order_placement.place_order, "Places one order; IBKR may ask a question."),
        OrderTicket,
        (AccountNotFound, InstrumentNotFound, AmbiguousSymbol),
    ),
    keyed_route(
        *("POST", "/accounts/{id}/orders/preview", Effect.READ, order_placement.preview_order),
        "What an order would cost, and what it would do to the account.",
        errors=(ValidationFailed, AccountNotFound, *SYMBOL_ERRORS, OrderInProgress, *UPSTREAM_ERRORS),
        response=Preview,
        request=OrderTicket,
    ),
    _order_call(
        *("PATCH", "/orders/{id}", order_changes.change_order, "Changes a working order."),
        OrderChange,
        (OrderNotFound,),
    ),
    _order_call(
        *("POST", "/orders/{id}/answer", order_changes.answer_question, "Answers IBKR's question about an order."),
        QuestionAnswer,
        (OrderNotFound, ReplyNotFound),
    ),
    _order_call(*("DELETE", "/orders/{id}", order_changes.cancel_order, "Cancels an order."), errors=(OrderNotFound,)),
)
