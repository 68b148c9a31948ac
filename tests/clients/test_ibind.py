"""The client ibind, set up as docs/clients.md says: the calls of a trading day through the bridge."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ibind import ExternalBrokerError, IbkrClient, OrderRequest, QuestionType

from ibkr_bridge.session.state_machine import SessionState
from ibkr_bridge.sim.simulator import Simulator
from tests.clients.page import make_client
from tests.harness import Harness

ACCOUNT, OTHER = "DU1234567", "DU7654321"
AAPL = 265598
RESIZED = QuestionType.SIZE_MODIFICATION_LIMIT
FAR, LARGE = QuestionType.PRICE_PERCENTAGE_CONSTRAINT, QuestionType.ORDER_SIZE_LIMIT


@pytest.fixture(autouse=True)
def restore_ibind(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Undo the change that the page makes to ibind, and check that ibind wrote no logs."""
    monkeypatch.setattr("ibind.var.LOGS_DIR", str(tmp_path / "logs"))
    monkeypatch.setattr(IbkrClient, "_get_headers", IbkrClient._get_headers)
    yield
    assert not (tmp_path / "logs").exists()


async def run_with_client(use: Callable[[Any], None]) -> None:
    """Run `use` with the client of the page in another thread."""

    def run() -> None:
        client = make_client("ibind")
        try:
            client.account_id = ACCOUNT
            use(client)
        finally:
            client.close()

    await asyncio.to_thread(run)


def order(**changes: Any) -> OrderRequest:
    """A limit order far below the market, which stays open."""
    members = {"conid": AAPL, "side": "BUY", "quantity": 10, "order_type": "LMT", "acct_id": ACCOUNT, "price": 100.0}
    return OrderRequest(**{**members, "tif": "GTC", **changes})


async def test_the_session(bridge: Harness, sim: Simulator) -> None:
    """ibind is signed in, may send these calls at any rate, and cannot end the login."""
    before = len(sim.gateway_calls("/tickle"))

    def use(client: Any) -> None:
        assert client.check_health() is True
        assert client.check_auth_status() is True
        assert client.authentication_status().data["connected"] is True
        assert len({client.tickle().data["session"] for _ in range(5)}) == 1
        assert client.initialize_brokerage_session().data["authenticated"] is True
        assert client.reauthenticate().data == {"message": "triggered"}
        with pytest.raises(ExternalBrokerError, match="use POST /gateway/logout to log out") as caught:
            client.logout()
        assert caught.value.status_code == 404

    await run_with_client(use)

    assert len(sim.gateway_calls("/tickle")) - before <= 1
    assert bridge.bridge.profile.keeper.session.state is SessionState.READY


async def test_accounts_and_portfolio(bridge: Harness, sim: Simulator) -> None:
    """Positions come on three pages."""
    sim.market.world.accounting.open_accounts(233)

    def use(client: Any) -> None:
        assert client.receive_brokerage_accounts().data["accounts"] == [ACCOUNT, OTHER]
        assert client.switch_account(OTHER).data == {"set": True, "acctId": OTHER}
        assert client.switch_account(ACCOUNT).data == {"set": True, "acctId": ACCOUNT}
        assert client.receive_brokerage_accounts().data["selectedAccount"] == ACCOUNT
        assert [each["accountId"] for each in client.portfolio_accounts().data] == [ACCOUNT, OTHER]
        pages = [client.positions(page=page).data for page in range(4)]
        assert [len(page) for page in pages[:2]] == [100, 100]
        assert pages[2]
        assert pages[3] == []
        assert len({each["conid"] for page in pages for each in page}) == sum(map(len, pages))
        assert client.positions_by_conid(ACCOUNT, str(AAPL)).data[0]["position"] == 100
        assert client.portfolio_summary().data["netliquidation"]["amount"] > 0
        assert client.get_ledger().data["USD"]["cashbalance"] > 0
        assert client.account_summary().data["netLiquidationValue"] > 0
        assert client.account_performance(ACCOUNT, "1M").data["included"] == [ACCOUNT]

    await run_with_client(use)


async def test_contracts_and_quotes(bridge: Harness) -> None:
    """The first snapshot may be empty, as at IBKR; ibind repeats it."""

    def use(client: Any) -> None:
        assert client.search_contract_by_symbol("AAPL").data[0]["conid"] == str(AAPL)
        assert client.stock_conid_by_symbol(["AAPL", "IBM"]).data == {"AAPL": AAPL, "IBM": 8314}
        assert client.contract_information_by_conid(str(AAPL)).data["symbol"] == "AAPL"
        assert client.security_definition_by_conid([str(AAPL)]).data["secdef"][0]["conid"] == AAPL
        assert client.live_marketdata_snapshot(str(AAPL), ["31", "84"]).data[0]["conid"] == AAPL
        assert float(client.live_marketdata_snapshot_by_symbol("AAPL", ["31"])["AAPL"]["last_price"]) > 0
        history = client.marketdata_history_by_conid(str(AAPL), "1h", period="1d").data
        assert (history["symbol"], len(history["data"])) == ("AAPL", 24)
        assert client.marketdata_history_by_symbol("AAPL", "1h", period="1d").data["data"][0]["c"] > 0
        assert client.marketdata_unsubscribe_all().data == {"unsubscribed": True}

    await run_with_client(use)


async def test_an_orders_life(bridge: Harness, sim: Simulator) -> None:
    """Placement after two questions, read, changed, read again and cancelled. Each step is sent to IBKR once."""

    def use(client: Any) -> None:
        client.receive_brokerage_accounts()
        placed = client.place_order(order(quantity=600, coid="mine-1"), {FAR: True, LARGE: True}).data
        number = placed["order_id"]
        assert placed["order_status"] == "Submitted"
        assert client.order_status(number).data["order_status"] == "Submitted"
        client.live_orders()
        assert str(client.live_orders().data["orders"][0]["orderId"]) == number
        changed = client.modify_order(number, order(quantity=5, price=101.0), {FAR: True, RESIZED: True}).data
        assert changed["order_id"] == number
        assert float(client.order_status(number).data["limit_price"]) == 101
        assert client.cancel_order(number).data["msg"] == "Request was submitted"
        assert client.order_status(number).data["order_status"] == "Cancelled"

    await run_with_client(use)

    assert [len(sim.calls(part)) for part in (f"{ACCOUNT}/orders", "/iserver/reply/")] == [1, 4]


async def test_ibind_recognises_every_question(bridge: Harness, sim: Simulator) -> None:
    """By its text; this order has three."""
    answers = {LARGE: True, QuestionType.ORDER_VALUE_LIMIT: True, QuestionType.STOP_ORDER_RISKS: True}

    def use(client: Any) -> None:
        client.receive_brokerage_accounts()
        stop = order(order_type="STP", side="SELL", quantity=5_500)
        assert client.place_order(stop, answers).data["order_status"] == "PreSubmitted"

    await run_with_client(use)

    assert len(sim.calls("/iserver/reply/")) == 3


async def test_an_order_that_is_filled_is_a_trade(bridge: Harness) -> None:
    """ibind requests trades with a slash at the end of the path."""

    def use(client: Any) -> None:
        client.receive_brokerage_accounts()
        client.place_order(order(order_type="MKT", price=None, tif="DAY"), {})
        assert client.trades().data[0]["conid"] == AAPL
        assert client.trades(days="7").data[0]["side"] == "B"

    await run_with_client(use)


@pytest.mark.parametrize(
    ("answers", "error", "words"),
    [({FAR: False}, RuntimeError, "was not given a positive reply"), ({}, ValueError, "No answer found")],
)
async def test_an_order_whose_question_is_not_confirmed_is_not_placed(
    bridge: Harness, answers: dict[Any, bool], error: type[Exception], words: str
) -> None:
    """ibind leaves its question open, so other orders are refused for up to a minute."""

    def use(client: Any) -> None:
        client.receive_brokerage_accounts()
        with pytest.raises(error, match=words):
            client.place_order(order(), answers)
        with pytest.raises(ExternalBrokerError, match="order_in_progress"):
            client.place_order(order(), {FAR: True})
        client.live_orders()
        assert client.live_orders().data["orders"] == []

    await run_with_client(use)


async def test_a_bracket_and_the_same_order_twice(bridge: Harness, sim: Simulator) -> None:
    """A repeat with the same cOID gets the first response; a different order with that cOID is refused."""

    def use(client: Any) -> None:
        client.receive_brokerage_accounts()
        first = client.place_order(order(coid="mine-2"), {FAR: True}).data
        assert client.place_order(order(coid="mine-2"), {FAR: True}).data == first
        with pytest.raises(ExternalBrokerError, match="duplicate_order"):
            client.place_order(order(coid="mine-2", quantity=11), {FAR: True})
        family = [order(coid="mine-3"), order(side="SELL", price=300.0, parent_id="mine-3")]
        placed = client.place_order(family, {FAR: True}).data
        assert len(placed) == 2

    await run_with_client(use)


async def test_a_lost_session_is_reported(bridge: Harness, sim: Simulator) -> None:
    """With a code for programs and a text for people; nothing is sent to IBKR."""
    sim.log_out()
    await bridge.wait_until_checked(SessionState.SIGNED_OUT)

    def use(client: Any) -> None:
        assert client.check_health() is False
        assert client.check_auth_status() is False
        with pytest.raises(ExternalBrokerError, match="session_unavailable") as caught:
            client.portfolio_accounts()
        assert caught.value.status_code == 503
        assert "sign in at the Gateway" in str(caught.value)

    await run_with_client(use)


async def test_an_order_without_a_response_is_sent_once(bridge: Harness, sim: Simulator) -> None:
    """With the settings of the page ibind does not repeat it either."""
    sim.faults.add("cut-before", path=f"{ACCOUNT}/orders")

    def use(client: Any) -> None:
        with pytest.raises(ExternalBrokerError, match="order_unknown"):
            client.place_order(order(), {FAR: True})

    await run_with_client(use)

    assert len(sim.gateway_calls(f"{ACCOUNT}/orders")) == 1


async def test_an_order_that_ibind_repeats_is_placed_once(bridge: Harness, sim: Simulator) -> None:
    """By default ibind repeats a call after a timeout, here without a cOID. Two intended orders stay two."""
    sim.faults.add("delay", path=f"{ACCOUNT}/orders", seconds=1.5, times=1)

    def use(client: Any) -> None:
        client.timeout, client.max_retries = 1, 3
        near = order(order_type="MKT", price=None)
        first = client.place_order(near, {}).data
        second = client.place_order(near, {}).data
        assert first["order_id"] != second["order_id"]

    await run_with_client(use)

    assert len(sim.calls(f"{ACCOUNT}/orders")) == 2
    assert len(sim.market.world.book.orders(sim.clock.now())) == 2
