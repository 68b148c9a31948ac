"""ibind's WebSocket client, as its users have it, through the bridge: set up as docs/clients.md says."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ibind import BindingStatus, IbkrClient, IbkrWsClient, events, subscriptions

from ibkr_bridge.events import FeedUp
from ibkr_bridge.sim.simulator import Simulator
from tests.clients.page import named
from tests.harness import Harness

ACCOUNT = "DU1234567"
AAPL = "265598"
PATIENCE = 15.0  # seconds


@pytest.fixture(autouse=True)
def the_day_after(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """The page's lines are taken back, and nothing was written to the disk."""
    monkeypatch.setattr("ibind.var.LOGS_DIR", str(tmp_path / "logs"))
    monkeypatch.setattr(IbkrClient, "_get_headers", IbkrClient._get_headers)
    monkeypatch.setattr(IbkrWsClient, "_get_header", IbkrWsClient._get_header)
    monkeypatch.setenv("IBIND_ACCOUNT_ID", ACCOUNT)
    yield
    assert not (tmp_path / "logs").exists()


async def day(use: Callable[[Any, Any], None]) -> None:
    """What a program does with its client, in a thread of its own; what it hears is in the queues of a sink."""

    def run() -> None:
        names = named("ibind's WebSocket client")
        client, sink = names["client"], names["sink"]
        assert client.start() is True
        try:
            use(client, sink)
        finally:
            client.shutdown()
            client._ibkr_client.close()

    await asyncio.to_thread(run)


WANTED = (
    (subscriptions.MarketDataSubscription(conid=AAPL, fields=["31", "84"]), events.MarketData),
    (subscriptions.MarketHistorySubscription(conid=AAPL, period="1d", bar="1h"), events.MarketHistory),
    (subscriptions.OrdersSubscription(), events.Orders),
    (subscriptions.TradesSubscription(), events.Trades),
    (subscriptions.PnlSubscription(), events.Pnl),
    (subscriptions.AccountSummarySubscription(account_id=ACCOUNT), events.AccountSummary),
    (subscriptions.AccountLedgerSubscription(account_id=ACCOUNT), events.AccountLedger),
    (subscriptions.PriceLadderSubscription(account_id=ACCOUNT, conid=AAPL), events.PriceLadder),
)


async def test_it_hears_all_it_subscribes_to(bridge: Harness, sim: Simulator) -> None:
    """Every kind it knows; `ech+hb`, `tic`, heartbeats and the session's state too."""

    def use(client: Any, sink: Any) -> None:
        handles = [client.subscribe(subscription) for subscription, _ in WANTED]
        assert client.wait_all(handles, timeout_each=PATIENCE) == []
        heard = {kind: sink.get(kind, block=True, timeout=PATIENCE) for _, kind in WANTED}
        assert all(heard.values()), heard
        assert heard[events.MarketData].data["last_price"]
        assert client.tic()["alive"] is True
        assert client.is_authenticated()

    await day(use)

    assert bridge.bridge.profile.streaming.feed.opened_count == 1


async def test_it_unsubscribes(bridge: Harness, sim: Simulator) -> None:
    """And is told so where IBKR would tell it."""

    def use(client: Any, sink: Any) -> None:
        history = subscriptions.MarketHistorySubscription(conid=AAPL, period="1d", bar="1h")
        summary = subscriptions.AccountSummarySubscription(account_id=ACCOUNT)
        for subscription, kind in ((history, events.MarketHistory), (summary, events.AccountSummary)):
            assert client.subscribe(subscription).wait(PATIENCE)
            assert sink.get(kind, block=True, timeout=PATIENCE)
            assert client.unsubscribe(subscription).wait(PATIENCE)
            assert client.get_binding_status(subscription.binding_key()) is BindingStatus.UNSUBSCRIBED

    await day(use)


async def test_it_sits_out_a_lost_session(bridge: Harness, sim: Simulator) -> None:
    """Its quotes go on; it did not have to subscribe again."""

    def use(client: Any, sink: Any) -> None:
        quotes = subscriptions.MarketDataSubscription(conid=AAPL, fields=["31"])
        assert client.subscribe(quotes).wait(PATIENCE)
        loop.call_soon_threadsafe(sim.lose_brokerage)
        while "authenticated" not in str(told := sink.get(events.AuthenticationStatus, block=True, timeout=PATIENCE)):
            assert told is not None
        asyncio.run_coroutine_threadsafe(bridge.wait_for_events(FeedUp, 2), loop).result(PATIENCE)
        while not sink.empty(events.MarketData):
            sink.get(events.MarketData)
        assert sink.get(events.MarketData, block=True, timeout=PATIENCE)

    loop = asyncio.get_running_loop()
    await day(use)
