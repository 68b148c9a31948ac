"""The typed methods of the plain API, against a running bridge and against scripted answers."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from ibkr_bridge.client import (
    BridgeClient,
    ClientError,
    GatewayError,
    InvalidRequest,
    NotThisBridge,
    OrderChange,
    OrderState,
    OrderStatus,
    OrderTicket,
    OrderType,
    OrderUnknown,
    Side,
    TemporarilyUnavailable,
)
from ibkr_bridge.client.plain_methods import decode
from ibkr_bridge.client.reply import Reply
from ibkr_bridge.models.base import AssetClass
from ibkr_bridge.models.session import ActionKind, Session
from ibkr_bridge.session.state_machine import SessionState
from ibkr_bridge.sim.simulator import Simulator
from tests.client.fast_client import client_of
from tests.client.scripted_server import response, scripted_server
from tests.client.test_client import error_from, run_with_client
from tests.harness import Harness

ACCOUNT = "DU1234567"
MARKET = OrderTicket(side=Side.BUY, type=OrderType.MARKET, symbol="MSFT", quantity=Decimal(2))
FAR_LIMIT = OrderTicket(
    side=Side.BUY, type=OrderType.LIMIT, symbol="AAPL", quantity=Decimal(10), limit_price=Decimal("150.25")
)
"""So far from the market that IBKR asks."""
SESSION = {
    **{"state": "ready", "ready": True, "mode": "paper", "can_trade": True, "since": "2026-06-17T16:00:00Z"},
    **{"reason": "ready", "message": "Connected.", "action": {"kind": "none", "url": None}},
    **{"retry_after": None, "next_reset": "2026-06-18T04:00:00Z", "conditions": []},
}


async def test_the_session_and_the_accounts(harness: Harness) -> None:
    """Money is a decimal, a time is aware, and nothing has to be parsed."""

    def use(client: BridgeClient) -> None:
        session, accounts, account = client.session(), client.accounts(), client.account(ACCOUNT)
        assert (session.ready, session.can_trade, session.action.kind) == (True, True, ActionKind.NONE)
        assert [each.id for each in accounts.accounts] == [ACCOUNT, "DU7654321"]
        assert isinstance(account.net_liquidation, Decimal)
        assert account.as_of.tzinfo is not None
        assert client.balance(ACCOUNT).balance is not None
        assert {each.account for each in client.positions().positions} > {ACCOUNT}
        assert {each.account for each in client.positions(ACCOUNT).positions} == {ACCOUNT}
        assert client.trades(ACCOUNT, days=7).stale is False

    await run_with_client(harness, use)


async def test_instruments_and_prices(harness: Harness) -> None:
    """A text is a symbol, a number is a conid."""

    def use(client: BridgeClient) -> None:
        apple = client.instrument("AAPL")
        assert client.instrument(apple.conid) == apple == client.instrument("AAPL", AssetClass.STOCK)
        quotes = client.quotes("AAPL", "NOSUCH", conids=[8314])
        assert [each.conid for each in quotes.quotes] == [apple.conid, 8314]
        assert [each.requested for each in quotes.problems] == ["NOSUCH"]
        by_symbol = client.history("ES@CME", "1d", "1h", outside_hours=True)
        assert (by_symbol.bar, by_symbol.outside_hours) == ("1h", True)
        assert client.history(apple.conid).bars[0].close > 0

    await run_with_client(harness, use)


async def test_an_order_from_its_preview_to_its_cancel(harness: Harness, sim: Simulator) -> None:
    """A question is answered, and what is changed is the order itself."""

    def use(client: BridgeClient) -> None:
        assert client.preview(ACCOUNT, FAR_LIMIT).amount is not None
        asked = client.place(ACCOUNT, FAR_LIMIT)
        assert asked.state is OrderState.QUESTION
        assert asked.question is not None
        order = client.answer(asked.id, True, asked.question.id)
        assert (order.state, order.status) == (OrderState.PLACED, OrderStatus.WORKING)
        changed = client.change(order.id, OrderChange(quantity=Decimal(11)))
        if changed.state is OrderState.QUESTION:
            client.answer(changed.id, True)
        assert client.order(order.id).quantity == Decimal(11)
        assert order.id in [each.id for each in client.list_orders(OrderState.PLACED, 10).orders]
        assert client.cancel(order.id).status is OrderStatus.CANCELLING
        assert client.orders("placed")[-1]["id"] == order.id
        assert [event.what for event in client.order(order.id).events][:2] == ["sent", "asked"]

    await run_with_client(harness, use)

    assert [call.target.endswith("/orders") for call in sim.calls(f"{ACCOUNT}/orders")].count(True) == 1


async def test_the_same_key_is_one_order(harness: Harness, sim: Simulator) -> None:
    """A program that has lost the answer sends the ticket again; without a key of its own, two calls are two orders."""

    def use(client: BridgeClient) -> list[str]:
        return [client.place(ACCOUNT, MARKET, key).id for key in ("a-1", "a-1", None, None)]

    first, again, other, another = await run_with_client(harness, use)

    assert first == again
    assert len({first, other, another}) == 3
    assert len(sim.market.world.book.orders(sim.clock.now())) == 3


@pytest.mark.parametrize(
    ("use", "kind", "code", "field"),
    [
        (lambda client: client.account("DU9"), InvalidRequest, "account_not_found", None),
        (lambda client: client.account("../status"), InvalidRequest, "bad_path", None),
        (lambda client: client.balance(), InvalidRequest, "bad_request", "account"),
        (lambda client: client.instrument("NOSUCH"), InvalidRequest, "instrument_not_found", "symbol"),
        (lambda client: client.quotes(), InvalidRequest, "bad_request", "symbols"),
        (lambda client: client.history("AAPL", "1x"), InvalidRequest, "bad_request", "period"),
        (lambda client: client.order("abc"), InvalidRequest, "order_not_found", None),
        (
            lambda client: client.place(ACCOUNT, OrderTicket(side=Side.BUY, type=OrderType.LIMIT, symbol="AAPL")),
            *(InvalidRequest, "validation_failed", "quantity"),
        ),
    ],
)
async def test_an_error_names_the_field_and_has_words_for_the_user(
    harness: Harness, use: Callable[[BridgeClient], Any], kind: type[ClientError], code: str, field: str | None
) -> None:
    """An app marks the field and shows the sentence."""
    error = await error_from(harness, use)

    assert (type(error), error.code, error.field) == (kind, code, field)
    assert error.user_message.endswith(".")
    assert error.action is not None


async def test_an_error_says_that_the_user_must_sign_in(harness: Harness, sim: Simulator) -> None:
    """And where."""
    sim.log_out()
    await harness.wait_until_checked(SessionState.SIGNED_OUT)

    error = await error_from(harness, lambda client: client.accounts(), repeats=0)

    assert isinstance(error, TemporarilyUnavailable)
    assert error.action is not None
    assert error.action.kind is ActionKind.SIGN_IN
    assert error.action.url


async def test_an_order_that_ibkr_rejects_is_an_error(harness: Harness) -> None:
    """The key that was made for it is on the error."""
    ticket = OrderTicket(side=Side.BUY, type=OrderType.MARKET, conid=999999999, quantity=Decimal(1))

    error = await error_from(harness, lambda client: client.place(ACCOUNT, ticket))

    assert isinstance(error, GatewayError | InvalidRequest)
    assert error.idempotency_key


@pytest.mark.parametrize(
    "use",
    [
        lambda client: client.place(ACCOUNT, MARKET),
        lambda client: client.change("1", OrderChange(quantity=Decimal(2))),
        lambda client: client.answer("1", True),
        lambda client: client.cancel("1"),
    ],
)
def test_a_lost_answer_leaves_the_key_for_another_try(use: Callable[[BridgeClient], Any]) -> None:
    """The outcome is unknown; with the key the same call is safe to send."""
    with scripted_server(b"") as server, client_of(server.url) as client:
        with pytest.raises(OrderUnknown) as caught:
            use(client)

        (head,) = server.requests
    assert f"Idempotency-Key: {caught.value.idempotency_key}\r\n".encode() in head


def test_only_what_is_set_is_sent() -> None:
    """An older bridge refuses members that it does not know; money is text."""
    with scripted_server(b"") as server, client_of(server.url) as client:
        with pytest.raises(OrderUnknown):
            client.place(ACCOUNT, MARKET)

        (head,) = server.requests
    assert json.loads(head.partition(b"\r\n\r\n")[2]) == {
        **{"side": "buy", "type": "market", "symbol": "MSFT", "quantity": "2"},
        **{"time_in_force": "day", "outside_hours": False},
    }


def test_a_lost_preview_is_no_lost_order() -> None:
    """Nothing can have happened."""
    with scripted_server(b"") as server, client_of(server.url) as client:
        with pytest.raises(ClientError) as caught:
            client.preview(ACCOUNT, MARKET)

        assert len(server.requests) == 1
    assert caught.value.code == "bridge_connection_lost"


def test_members_of_a_newer_bridge_are_ignored() -> None:
    """An older client goes on working, also if the new member is in an inner shape."""
    body = {**SESSION, "mood": "good", "action": {"kind": "none", "url": None, "more": 1}}
    with (
        scripted_server(response("200 OK", json.dumps(body).encode(), source="bridge")) as server,
        client_of(server.url) as client,
    ):
        assert client.session().ready


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b"\xff", b"[" * 5000])
def test_another_shape_is_an_error(body: bytes) -> None:
    """After a change the order may exist, so that is said; the parser's error is not part of it."""
    with pytest.raises(NotThisBridge) as caught:
        decode(Reply(200, {}, body), Session)
    with pytest.raises(OrderUnknown):
        decode(Reply(200, {}, body), Session, is_change=True)

    assert caught.value.__context__ is None
