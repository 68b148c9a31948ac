"""The websocket client of ibind through the bridge, set up as docs/clients.md says."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ibind import BindingStatus, IbkrClient, IbkrWsClient, events, subscriptions

from ibkr_bridge.events import FeedUp
from ibkr_bridge.sim.simulator import Simulator
from tests.clients.page import run_python
from tests.harness import Harness

ACCOUNT = "DU1234567"
AAPL = "265598"
TIMEOUT_S = 15.0


@pytest.fixture(autouse=True)
def restore_ibind(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Undo the changes that the page makes to ibind, and check that ibind wrote no logs."""
    monkeypatch.setattr("ibind.var.LOGS_DIR", str(tmp_path / "logs"))
    monkeypatch.setattr(IbkrClient, "_get_headers", IbkrClient._get_headers)
    monkeypatch.setattr(IbkrWsClient, "_get_header", IbkrWsClient._get_header)
    monkeypatch.setenv("IBIND_ACCOUNT_ID", ACCOUNT)
    yield
    assert not (tmp_path / "logs").exists()


async def run_with_client(use: Callable[[Any, Any], None]) -> None:
    """Run `use` in another thread with the client of the page and the sink that collects its messages."""

    def run() -> None:
        names = run_python("ibind's WebSocket client")
        client, sink = names["client"], names["sink"]
        assert client.start() is True
        try:
            use(client, sink)
        finally:
            client.shutdown()
            client._ibkr_client.close()

    await asyncio.to_thread(run)


SUBSCRIPTIONS = (
    (subscriptions.MarketDataSubscription(conid=AAPL, fields=["31", "84"]), events.MarketData),
    (subscriptions.MarketHistorySubscription(conid=AAPL, period="1d", bar="1h"), events.MarketHistory),
    (subscriptions.OrdersSubscription(), events.Orders),
    (subscriptions.TradesSubscription(), events.Trades),
    (subscriptions.PnlSubscription(), events.Pnl),
    (subscriptions.AccountSummarySubscription(account_id=ACCOUNT), events.AccountSummary),
    (subscriptions.AccountLedgerSubscription(account_id=ACCOUNT), events.AccountLedger),
    (subscriptions.PriceLadderSubscription(account_id=ACCOUNT, conid=AAPL), events.PriceLadder),
)


async def test_it_receives_all_that_it_subscribes_to(bridge: Harness, sim: Simulator) -> None:
    """Every kind of subscription, and `ech+hb`, `tic`, heartbeats and the state of the session."""

    def use(client: Any, sink: Any) -> None:
        handles = [client.subscribe(subscription) for subscription, _ in SUBSCRIPTIONS]
        assert client.wait_all(handles, timeout_each=TIMEOUT_S) == []
        received = {kind: sink.get(kind, block=True, timeout=TIMEOUT_S) for _, kind in SUBSCRIPTIONS}
        assert all(received.values()), received
        assert received[events.MarketData].data["last_price"]
        assert client.tic()["alive"] is True
        assert client.is_authenticated()

    await run_with_client(use)

    assert bridge.bridge.profile.streaming.feed.opened_count == 1


async def test_it_unsubscribes(bridge: Harness, sim: Simulator) -> None:
    """The bridge confirms it if IBKR would."""

    def use(client: Any, sink: Any) -> None:
        history = subscriptions.MarketHistorySubscription(conid=AAPL, period="1d", bar="1h")
        summary = subscriptions.AccountSummarySubscription(account_id=ACCOUNT)
        for subscription, kind in ((history, events.MarketHistory), (summary, events.AccountSummary)):
            assert client.subscribe(subscription).wait(TIMEOUT_S)
            assert sink.get(kind, block=True, timeout=TIMEOUT_S)
            assert client.unsubscribe(subscription).wait(TIMEOUT_S)
            assert client.get_binding_status(subscription.binding_key()) is BindingStatus.UNSUBSCRIBED

    await run_with_client(use)


async def test_its_quotes_survive_a_lost_session(bridge: Harness, sim: Simulator) -> None:
    """Without a new subscription."""

    def use(client: Any, sink: Any) -> None:
        quotes = subscriptions.MarketDataSubscription(conid=AAPL, fields=["31"])
        assert client.subscribe(quotes).wait(TIMEOUT_S)
        loop.call_soon_threadsafe(sim.lose_brokerage)
        while "authenticated" not in str(
            message := sink.get(events.AuthenticationStatus, block=True, timeout=TIMEOUT_S)
        ):
            assert message is not None
        asyncio.run_coroutine_threadsafe(bridge.wait_for_events(FeedUp, 2), loop).result(TIMEOUT_S)
        while not sink.empty(events.MarketData):
            sink.get(events.MarketData)
        assert sink.get(events.MarketData, block=True, timeout=TIMEOUT_S)

    loop = asyncio.get_running_loop()
    await run_with_client(use)
