"""What is refused before a byte leaves: the caller learns the rule, and the Gateway learns nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ibkr_bridge.session.state_machine import SessionState
from ibkr_bridge.sim.market_stage import MarketStage
from ibkr_bridge.sim.simulator import Simulator
from tests.conftest import Open
from tests.harness import READING, Harness, Placed, settings_for

CANCEL = "/iserver/account/DU1234567/order/1"
CHANGES = (
    ("POST", "/iserver/account/{}/orders"),
    ("POST", "/iserver/account/{}/orders/"),
    ("POST", "/v1/api/iserver/account/{}/orders"),
    ("POST", "/iserver/account/{}/order"),
    ("POST", "/iserver/account/{}/order/1"),
    ("DELETE", "/iserver/account/{}/order/1"),
    ("POST", "/iserver/account/{}/alert"),
    ("PUT", "/iserver/something/new"),
    ("POST", "/iserver/something/new"),
)


@pytest.fixture
async def live() -> AsyncIterator[Simulator]:
    """A simulated Gateway whose accounts are real ones."""
    async with Simulator(live=True) as simulator:
        yield simulator


def changes_seen(sim: MarketStage) -> list[str]:
    """What reached the Gateway and was no read of the keeper's."""
    return [call.target for call in sim.gateway_calls() if call.method != "GET" and "/auth/" not in call.target]


@pytest.mark.parametrize(("method", "target"), CHANGES)
async def test_a_read_only_bridge_changes_nothing(
    open_harness: Open, sim: MarketStage, method: str, target: str
) -> None:
    """Whatever the key."""
    harness = await open_harness(IBKR_READ_ONLY="yes")

    reply = await harness.request(method, target.format("DU1234567"), body=Placed().body)

    assert (reply.status, reply.code) == (403, "read_only")
    assert changes_seen(sim) == []


async def test_a_read_only_bridge_still_previews(open_harness: Open) -> None:
    """A what-if changes nothing."""
    harness = await open_harness(IBKR_READ_ONLY="yes")

    assert (await harness.post(f"{Placed().target}/whatif", Placed().body)).status == 200


@pytest.mark.parametrize(("method", "target"), CHANGES)
async def test_paper_mode_refuses_a_live_account(live: Simulator, tmp_path: Path, method: str, target: str) -> None:
    """Forgetting to set the mode costs nothing."""
    async with Harness(settings_for(live.url, tmp_path)) as harness:
        await harness.wait_until(SessionState.READY)

        reply = await harness.request(method, target.format("U1234567"), body=Placed("U1234567").body)

    assert (reply.status, reply.code) == (403, "paper_only")
    assert changes_seen(live) == []


async def test_a_paper_looking_number_on_a_live_login_is_in_doubt(live: Simulator, tmp_path: Path) -> None:
    """In doubt it is live."""
    async with Harness(settings_for(live.url, tmp_path)) as harness:
        await harness.wait_until(SessionState.READY)

        reply = await harness.post(Placed().target, Placed().body)

    assert reply.code == "paper_only"
    assert changes_seen(live) == []


async def test_live_has_to_be_said(live: Simulator, tmp_path: Path) -> None:
    """And is then said in every answer."""
    async with Harness(settings_for(live.url, tmp_path, IBKR_TRADING_MODE="live")) as harness:
        await harness.wait_until(SessionState.READY)

        reply = await harness.post(Placed("U1234567").target, Placed("U1234567").body)

    assert (reply.status, reply.headers["X-Bridge-Mode"]) == (200, "live")


@pytest.mark.parametrize(
    ("target", "body"),
    [
        ("/iserver/account/DU7654321/orders", Placed("DU7654321").body),
        ("/iserver/account/DU1234567/orders", Placed("DU7654321").body),  # the ticket says another than the path
        ("/iserver/account/DU1234567/orders?acctId=DU7654321", Placed().body),
        ("/iserver/account/%44U7654321/orders", {"orders": []}),
        ("/iserver/account/DU1234567/orders", b'{"orders":[{"acctId":"DU1234567","acctId":"DU7654321"}]}'),
        ("/iserver/account/DU1234567/orders", b'{"orders":[{"acctId":"DU7654321","acctId":"DU1234567"}]}'),
        ("/iserver/account", {"acctId": "DU7654321"}),
        ("/iserver/account/orders/group", {"orders": [{"conid": 1}]}),
        ("/iserver/account/orders/group", {"orders": [{"acctId": "DU1234567", "conid": 1}]}),  # a group trades others
        ("/iserver/Account/DU7654321/orders", Placed().body),  # nobody knows what IBKR makes of the spelling
        ("/iserver/account/DU7654321/orderz", {}),
        ("/iserver/account/DU1234567/orders", {"orders": [{"acctId": "DU1234567", "acct": "DU7654321"}]}),
        ("/iserver/account/DU1234567/orders?acct=DU7654321", Placed().body),
        ("/iserver/something", {"x": 1}),
    ],
)
async def test_accounts_outside_the_list_are_refused(
    open_harness: Open, sim: MarketStage, target: str, body: object
) -> None:
    """Wherever the account is named."""
    harness = await open_harness(IBKR_ALLOWED_ACCOUNTS="DU1234567")

    reply = await harness.post(target, body)

    assert (reply.status, reply.code) == (403, "account_not_allowed")
    assert changes_seen(sim) == []


async def test_an_account_on_the_list_trades(open_harness: Open) -> None:
    """The list refuses nobody else."""
    harness = await open_harness(IBKR_ALLOWED_ACCOUNTS="DU1234567")

    assert (await harness.post(Placed().target, Placed().body)).status == 200


@pytest.mark.parametrize("quantity", [11, "11", 1e9])
async def test_an_order_above_the_cap_is_refused(open_harness: Open, sim: MarketStage, quantity: object) -> None:
    """A zero too many stays here."""
    harness = await open_harness(IBKR_MAX_ORDER_QUANTITY="10")

    over = await harness.post(Placed().target, Placed(extra={"quantity": quantity}).body)
    at = await harness.post(Placed().target, Placed(quantity=10).body)

    assert ((over.status, over.code), at.status) == ((403, "order_limit_exceeded"), 200)
    assert len(sim.calls(Placed().target)) == 1


async def test_an_order_above_the_value_cap_is_refused(open_harness: Open, sim: MarketStage) -> None:
    """In the account's base currency, by the market's price or the order's limit."""
    harness = await open_harness(IBKR_MAX_ORDER_VALUE="1000")
    limit = {"orderType": "LMT", "price": 187.5}

    within = [await harness.post(Placed().target, Placed(quantity=5, extra=extra).body) for extra in ({}, limit)]
    beyond = [await harness.post(Placed().target, Placed(quantity=6, extra=extra).body) for extra in ({}, limit)]

    assert [reply.status for reply in within] == [200, 200]
    assert [(reply.status, reply.code) for reply in beyond] == [(403, "order_limit_exceeded")] * 2
    assert "IBKR_MAX_ORDER_VALUE" in beyond[0].json["hint"]
    assert len(sim.calls(Placed().target)) == 2


@pytest.mark.parametrize("extra", [{"conid": 1}, {"cashQty": "x"}, {"conidex": "28812380;;;1/1,2/-1"}])
async def test_a_value_that_cannot_be_bounded_is_refused(
    open_harness: Open, sim: MarketStage, extra: dict[str, object]
) -> None:
    """Better no order than one beyond a limit somebody set."""
    harness = await open_harness(IBKR_MAX_ORDER_VALUE="1000000000")

    reply = await harness.post(Placed().target, Placed(extra=extra).body)

    assert (reply.status, reply.code) == (403, "order_limit_exceeded")
    assert changes_seen(sim) == []


@pytest.mark.parametrize("number", ["-1", "%2D1", "-01", "0", "+1", "1.0"])
async def test_cancelling_everything_has_to_be_said(harness: Harness, sim: MarketStage, number: str) -> None:
    """By its word; nothing leaves before."""
    target = f"/iserver/account/DU1234567/order/{number}"

    refused = await harness.request("DELETE", target, headers={"X-Bridge-Confirm": "all"})
    said = await harness.request("DELETE", target, headers={"X-Bridge-Confirm": "cancel-all"})

    assert (refused.status, refused.code) == (403, "confirmation_required")
    assert (said.status, len(changes_seen(sim))) == (200, 1)


@pytest.mark.parametrize(
    ("method", "target", "body"),
    [
        ("POST", "/iserver/watchlist", {"id": "1", "name": "mine"}),
        ("POST", "/iserver/account", {"acctId": "DU1234567"}),
        ("POST", "/iserver/account/DU1234567/alert", {"alertName": "x"}),
    ],
)
async def test_a_pause_stops_orders_and_nothing_else(
    open_harness: Open, sim: MarketStage, method: str, target: str, body: object
) -> None:
    """Lists, alerts and the selected account place nothing; they still need the full key."""
    harness = await open_harness(IBKR_BRIDGE_READONLY_KEY=READING)
    await harness.post("/gateway/pause")

    reading, full = (
        await harness.request(method, target, body=body, key=READING),
        await harness.request(method, target, body=body),
    )

    assert (reading.status, reading.code) == (403, "insufficient_scope")
    assert full.code is None


async def test_a_preview_needs_no_more_than_the_reading_key(open_harness: Open) -> None:
    """It changes nothing."""
    harness = await open_harness(IBKR_BRIDGE_READONLY_KEY=READING)

    assert (await harness.post(f"{Placed().target}/whatif", Placed().body, key=READING)).status == 200


async def test_paused_stops_orders_and_lets_out(open_harness: Open, sim: MarketStage) -> None:
    """Getting out is always possible, over a restart too."""
    harness = await open_harness()
    await harness.post("/gateway/pause")
    await harness.finish()
    again = await open_harness(IBKR_MAX_ORDER_QUANTITY="1")

    order = await again.post(Placed().target, Placed().body)
    cancel = await again.request("DELETE", CANCEL)
    await again.post("/gateway/resume")
    after = await again.post(Placed().target, Placed().body)

    assert (order.status, order.code) == (403, "trading_paused")
    assert (cancel.status, after.status) == (200, 200)


async def test_a_body_the_rules_cannot_read_is_refused(harness: Harness, sim: MarketStage) -> None:
    """What we cannot see into is not sent."""
    reply = await harness.post(Placed().target, b'{"orders":[{"acctId":', headers={"Content-Type": "application/json"})

    assert (reply.status, reply.code) == (400, "bad_request")
    assert changes_seen(sim) == []


async def test_paid_calls_need_the_key_and_the_word(open_harness: Open, sim: MarketStage) -> None:
    """IBKR charges for each one."""
    closed = await open_harness(IBKR_BRIDGE_EXTRA_PREFIXES="md")

    reply = await closed.get("/md/regsnapshot?conid=265598")

    assert (reply.status, reply.code) == (403, "insufficient_scope")
    assert "IBKR_ALLOW_PAID_SNAPSHOTS" in reply.json["hint"]
    assert not sim.gateway_calls("/md/")
