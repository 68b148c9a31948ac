"""The plain API as typed methods: accounts, quotes and orders as the structs of `ibkr_bridge.models`.

Each method sends one request. What comes back is the struct that the bridge itself has sent; members that only a newer
bridge knows are ignored.
"""

from __future__ import annotations

import uuid
from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any, TypeVar
from urllib.parse import quote

import msgspec

from ibkr_bridge.client.errors import ClientError, NotThisBridge, OrderUnknown
from ibkr_bridge.client.reply import Reply
from ibkr_bridge.client.request import Params
from ibkr_bridge.models.accounts import Account, AccountList, Balance, PositionList, TradeList
from ibkr_bridge.models.base import AssetClass, Model
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

Shape = TypeVar("Shape", bound=Model)
VERSION_HINT = "use a client and a bridge of the same version"


class PlainMethods(ABC):
    """The methods of the plain API, for a client that can send a request.

    An account is its number, an instrument its symbol (`AAPL`, `ES@CME`, `EUR.USD`) or its conid, a number. Every
    method raises `ClientError` as `request` does.
    """

    @abstractmethod
    def request(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        params: Params | None = None,
        wait: float | None = None,
        request_id: str | None = None,
        idempotency_key: str | None = None,
    ) -> Reply:
        """Send one call and return the response as it came."""

    # -- the session and the accounts

    def session(self) -> Session:
        """Whether quotes and orders work now, and what the user can do if not."""
        return self._read("/session", Session)

    def accounts(self) -> AccountList:
        """The accounts of the login."""
        return self._read("/accounts", AccountList)

    def account(self, account: str) -> Account:
        """One account with its balances, and its profit and loss."""
        return self._read(f"/accounts/{_segment(account)}", Account)

    def balance(self, account: str | None = None) -> Balance:
        """The balance in a few figures. The account may be left out if the login has one only."""
        return self._read("/account/balance", Balance, {"account": account})

    def positions(self, account: str | None = None) -> PositionList:
        """What one account holds, or all accounts."""
        path = "/positions" if account is None else f"/accounts/{_segment(account)}/positions"
        return self._read(path, PositionList)

    def trades(self, account: str, days: int = 1) -> TradeList:
        """The trades of the last days, at most seven, today included; the latest first."""
        return self._read(f"/accounts/{_segment(account)}/trades", TradeList, {"days": days})

    # -- instruments and prices

    def instrument(self, symbol_or_conid: str | int, asset_class: AssetClass | None = None) -> Instrument:
        """The instrument that quotes and orders use for a symbol, or the one with a conid.

        Raises:
            InvalidRequest: no instrument (`instrument_not_found`), or several (`ambiguous_symbol`; the body of the
                error has them as `candidates`).
        """
        if isinstance(symbol_or_conid, int):
            return self._read(f"/instruments/{symbol_or_conid}", Instrument)
        params = {"symbol": symbol_or_conid, "class": asset_class.value if asset_class else None}
        return self._read("/instruments", InstrumentSearch, params).instrument

    def quotes(self, *symbols: str, conids: Iterable[int] = ()) -> QuoteList:
        """Quotes in the order of the arguments, and why others have none (`problems`)."""
        params = {"symbols": symbols or None, "conids": tuple(conids) or None}
        return self._read("/quotes", QuoteList, params)

    def history(
        self, symbol_or_conid: str | int, period: str = "1d", bar: str = "5min", outside_hours: bool = False
    ) -> History:
        """The price history of one instrument, in bars.

        Args:
            symbol_or_conid: the instrument.
            period: how far back, such as `1d`, `2w`, `6m` or `1y`.
            bar: how long a bar is, such as `1min`, `1h` or `1d`.
            outside_hours: whether with the time outside regular trading hours.
        """
        name = "conid" if isinstance(symbol_or_conid, int) else "symbol"
        params = {name: symbol_or_conid, "period": period, "bar": bar, "outside_hours": outside_hours}
        return self._read("/history", History, params)

    # -- orders

    def place(self, account: str, ticket: OrderTicket, idempotency_key: str | None = None) -> Order:
        """Place one order. If its `state` is `question`, IBKR asks something first: see `answer`.

        Args:
            account: the account that trades.
            ticket: the order.
            idempotency_key: a name of this attempt. The same ticket with the same key is one order, also if it is sent
                again after a lost response. If none is given, a new one is made; an error has it too.

        Raises:
            OrderUnknown: the order may exist.
            ClientError: IBKR or the bridge refused it.
        """
        return self._change("POST", f"/accounts/{_segment(account)}/orders", ticket, idempotency_key)

    def preview(self, account: str, ticket: OrderTicket) -> Preview:
        """What an order would cost, and what it would do to the account. Nothing is placed."""
        reply = self.request("POST", f"/accounts/{_segment(account)}/orders/preview", _body_of(ticket))
        return decode(reply, Preview)

    def order(self, order_id: str) -> OrderDetails:
        """One order with all its events, however old it is."""
        return self._read(f"/orders/{_segment(order_id)}", OrderDetails)

    def list_orders(self, state: OrderState | None = None, limit: int | None = None) -> OrderList:
        """The orders of the last day and those that are open, the latest first; also those made elsewhere."""
        return self._read("/orders", OrderList, {"state": state.value if state else None, "limit": limit})

    def change(self, order_id: str, change: OrderChange, idempotency_key: str | None = None) -> Order:
        """Change a working order. If IBKR asks something first, the result is the change, to be answered."""
        return self._change("PATCH", f"/orders/{_segment(order_id)}", change, idempotency_key)

    def answer(
        self, order_id: str, confirm: bool, question_id: str | None = None, idempotency_key: str | None = None
    ) -> Order:
        """Answer IBKR's question about an order. After a no, the order is not placed.

        Args:
            order_id: the order that has the question.
            confirm: whether to go on nevertheless.
            question_id: the question that a person has read, so that no later one is answered by mistake.
            idempotency_key: as for `place`.
        """
        sent = QuestionAnswer(confirm, question_id)
        return self._change("POST", f"/orders/{_segment(order_id)}/answer", sent, idempotency_key)

    def cancel(self, order_id: str, idempotency_key: str | None = None) -> Order:
        """Cancel an order. An open question about it is answered with no."""
        return self._change("DELETE", f"/orders/{_segment(order_id)}", None, idempotency_key)

    def _read(self, path: str, shape: type[Shape], params: Params | None = None) -> Shape:
        return decode(self.request("GET", path, params=params), shape)

    def _change(self, method: str, path: str, sent: Model | None, idempotency_key: str | None) -> Order:
        """Send an order call with a key; an error has the key too."""
        key = idempotency_key or str(uuid.uuid4())
        body = _body_of(sent) if sent is not None else None
        try:
            return decode(self.request(method, path, body, idempotency_key=key), Order, is_change=True)
        except ClientError as exc:
            exc.idempotency_key = key
            raise


def decode(reply: Reply, shape: type[Shape], *, is_change: bool = False) -> Shape:
    """The body of a good response as a struct.

    Raises:
        OrderUnknown: the body has another shape, and the call has changed something.
        NotThisBridge: the body of a read has another shape.
    """
    try:
        return msgspec.json.decode(reply.body, type=shape)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass  # raised below instead: the parser's error would put the body into the traceback
    error = OrderUnknown if is_change else NotThisBridge
    raise error(
        "the response does not have the shape that this client knows",
        hint=OrderUnknown.hint if is_change else VERSION_HINT,
        status=reply.status,
        headers=reply.headers,
        body=reply.body,
        request_id=reply.request_id,
    )


def _body_of(shape: Model) -> dict[str, Any]:
    """What to send: without the members that are not set, so that an older bridge does not see them."""
    members = msgspec.to_builtins(shape)
    return {name: value for name, value in members.items() if value is not None}


def _segment(text: str) -> str:
    """A part of a path: a slash or a question mark in it must not make another path."""
    return quote(text, safe="")
