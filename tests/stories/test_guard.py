"""Calls that the rules refuse: the error names the rule, and no byte reaches the Gateway."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ibkr_bridge.session.state_machine import SessionState
from ibkr_bridge.sim.market_stage import MarketStage
from ibkr_bridge.sim.simulator import Simulator
from tests.conftest import OpenHarness
from tests.harness import READONLY_KEY, Harness, Placement, settings_for

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
async def live_sim() -> AsyncIterator[Simulator]:
    """A simulated Gateway with live accounts."""
    async with Simulator(live=True) as simulator:
        yield simulator


def changes_sent(sim: MarketStage) -> list[str]:
    """The targets of all changes that reached the Gateway, without those of the keeper."""
    return [call.target for call in sim.gateway_calls() if call.method != "GET" and "/auth/" not in call.target]


@pytest.mark.parametrize(("method", "target"), CHANGES)
async def test_a_read_only_bridge_changes_nothing(
    open_harness: OpenHarness, sim: MarketStage, method: str, target: str
) -> None:
    """The full key makes no difference."""
    harness = await open_harness(IBKR_READ_ONLY="yes")

    reply = await harness.request(method, target.format("DU1234567"), body=Placement().body)

    assert (reply.status, reply.code) == (403, "read_only")
    assert changes_sent(sim) == []


async def test_a_read_only_bridge_still_previews(open_harness: OpenHarness) -> None:
    """A what-if changes nothing."""
    harness = await open_harness(IBKR_READ_ONLY="yes")

    assert (await harness.post(f"{Placement().target}/whatif", Placement().body)).status == 200


@pytest.mark.parametrize(("method", "target"), CHANGES)
async def test_paper_mode_refuses_a_live_account(live_sim: Simulator, tmp_path: Path, method: str, target: str) -> None:
    """Paper is the default, so a forgotten setting costs no money."""
    async with Harness(settings_for(live_sim.url, tmp_path)) as harness:
        await harness.wait_until(SessionState.READY)

        reply = await harness.request(method, target.format("U1234567"), body=Placement("U1234567").body)

    assert (reply.status, reply.code) == (403, "paper_only")
    assert changes_sent(live_sim) == []


async def test_a_paper_account_number_on_a_live_login_counts_as_live(live_sim: Simulator, tmp_path: Path) -> None:
    """In case of doubt an account is live."""
    async with Harness(settings_for(live_sim.url, tmp_path)) as harness:
        await harness.wait_until(SessionState.READY)

        reply = await harness.post(Placement().target, Placement().body)

    assert reply.code == "paper_only"
    assert changes_sent(live_sim) == []


async def test_live_mode_must_be_set(live_sim: Simulator, tmp_path: Path) -> None:
    """Every response then names the mode."""
    async with Harness(settings_for(live_sim.url, tmp_path, IBKR_TRADING_MODE="live")) as harness:
        await harness.wait_until(SessionState.READY)

        reply = await harness.post(Placement("U1234567").target, Placement("U1234567").body)

    assert (reply.status, reply.headers["X-Bridge-Mode"]) == (200, "live")


@pytest.fixture
async def advised_sim() -> AsyncIterator[Simulator]:
    """A simulated Gateway whose paper accounts end in letters and form a group."""
    async with Simulator(accounts=("DU1234567A", "DU7654321B"), groups=("All", "Family")) as simulator:
        yield simulator


@pytest.mark.parametrize("account", ["DU1234567A", "All", "Family"])
async def test_paper_mode_trades_all_that_stands_for_paper_accounts(
    advised_sim: Simulator, tmp_path: Path, account: str
) -> None:
    """A letter at the end, or the name of a group, makes no account a live one."""
    async with Harness(settings_for(advised_sim.url, tmp_path)) as harness:
        await harness.wait_until(SessionState.READY)

        reply = await harness.post(Placement(account).target, Placement(account).body)
        status = await harness.get("/gateway/status")

    assert (reply.status, reply.headers["X-Bridge-Order-State"]) == (200, "placed")
    assert [each["account"] for each in status.json["accounts"]] == ["DU*****7A", "DU*****1B"]


async def test_an_account_that_the_login_does_not_have_is_refused(harness: Harness, sim: MarketStage) -> None:
    """The answer names those that there are."""
    reply = await harness.post(Placement("DU1234576").target, Placement("DU1234576").body)

    assert (reply.status, reply.code) == (403, "account_not_allowed")
    assert "DU*****67, DU*****21" in reply.json["hint"] or "DU*****21, DU*****67" in reply.json["hint"]
    assert changes_sent(sim) == []


async def test_the_numbers_that_ibkr_names_are_in_no_log_line(tmp_path: Path) -> None:
    """Whatever form they have."""
    async with (
        Simulator(accounts=("QX12345Z", "DU7654321B")) as sim,
        Harness(settings_for(sim.url, tmp_path)) as harness,
    ):
        await harness.wait_until(SessionState.READY)
        await harness.get("/health", headers={"X-Request-ID": "asked-by-QX12345Z"})

        assert "QX12345Z" not in harness.written.getvalue()
        assert harness.bridge.redactor.redact("QX12345Z and DU7654321B") == "QX*****5Z and DU*****1B"


@pytest.mark.parametrize(
    ("target", "body"),
    [
        ("/iserver/account/DU7654321/orders", Placement("DU7654321").body),
        (
            "/iserver/account/DU1234567/orders",
            Placement("DU7654321").body,
        ),  # the ticket names another account than the path
        ("/iserver/account/DU1234567/orders?acctId=DU7654321", Placement().body),
        ("/iserver/account/DU1234567/orders", b'{"orders":[{"acctId":"DU1234567","acctId":"DU7654321"}]}'),
        ("/iserver/account/DU1234567/orders", b'{"orders":[{"acctId":"DU7654321","acctId":"DU1234567"}]}'),
        ("/iserver/account", {"acctId": "DU7654321"}),
        ("/iserver/account/orders/group", {"orders": [{"conid": 1}]}),
        (
            "/iserver/account/orders/group",
            {"orders": [{"acctId": "DU1234567", "conid": 1}]},
        ),  # a group may trade other accounts
        ("/iserver/Account/DU7654321/orders", Placement().body),  # it is unknown how IBKR reads this spelling
        ("/iserver/account/DU7654321/orderz", {}),
        ("/iserver/account/DU1234567/orders", {"orders": [{"acctId": "DU1234567", "acct": "DU7654321"}]}),
        ("/iserver/account/DU1234567/orders?acct=DU7654321", Placement().body),
        ("/iserver/something", {"x": 1}),
    ],
)
async def test_accounts_outside_the_list_are_refused(
    open_harness: OpenHarness, sim: MarketStage, target: str, body: object
) -> None:
    """The account may be named in the path, the query or the body."""
    harness = await open_harness(IBKR_ALLOWED_ACCOUNTS="DU1234567")

    reply = await harness.post(target, body)

    assert (reply.status, reply.code) == (403, "account_not_allowed")
    assert changes_sent(sim) == []


async def test_an_account_on_the_list_trades(open_harness: OpenHarness) -> None:
    """The list refuses other accounts only."""
    harness = await open_harness(IBKR_ALLOWED_ACCOUNTS="DU1234567")

    assert (await harness.post(Placement().target, Placement().body)).status == 200


@pytest.mark.parametrize("quantity", [11, "11", 1e9])
async def test_an_order_above_the_quantity_limit_is_refused(
    open_harness: OpenHarness, sim: MarketStage, quantity: object
) -> None:
    """A typing error of one zero is not sent."""
    harness = await open_harness(IBKR_MAX_ORDER_QUANTITY="10")

    over = await harness.post(Placement().target, Placement(extra={"quantity": quantity}).body)
    at = await harness.post(Placement().target, Placement(quantity=10).body)

    assert ((over.status, over.code), at.status) == ((403, "order_limit_exceeded"), 200)
    assert len(sim.calls(Placement().target)) == 1


@pytest.mark.parametrize(
    "conidex", ["28812380;;;265598/3,8314/-1", "28812380;;;265598/1,8314/-11", "28812380;;265598/1"]
)
async def test_a_combination_counts_with_its_largest_leg(
    open_harness: OpenHarness, sim: MarketStage, conidex: str
) -> None:
    """Four combinations of three shares each are twelve shares, and an unreadable combination has any size."""
    harness = await open_harness(IBKR_MAX_ORDER_QUANTITY="10")

    reply = await harness.post(Placement().target, Placement(quantity=4, extra={"conidex": conidex}).body)

    assert (reply.status, reply.code) == (403, "order_limit_exceeded")
    assert changes_sent(sim) == []


@pytest.mark.parametrize(
    ("method", "target", "body"),
    [
        ("POST", "/fa/model/save", {"model": "growth", "positionTargets": []}),
        ("POST", "/iserver/account/allocation/group/delete", {"name": "family"}),
        ("PUT", "/iserver/account/allocation/group", {"name": "family"}),
        ("POST", "/iserver/notification", {"orderId": 7, "reqId": "1", "text": "Yes"}),
        ("POST", "/iserver/questions/suppress", {"messageIds": ["o163"]}),
    ],
)
async def test_a_trade_that_names_no_account_is_refused_beside_a_list(
    open_harness: OpenHarness, sim: MarketStage, method: str, target: str, body: object
) -> None:
    """The login has a second account, which is not on the list."""
    harness = await open_harness(IBKR_ALLOWED_ACCOUNTS="DU1234567", IBKR_BRIDGE_EXTRA_PREFIXES="fa")

    reply = await harness.request(method, target, body=body)

    assert (reply.status, reply.code) == (403, "account_not_allowed")
    assert changes_sent(sim) == []


async def test_suppressing_questions_passes_if_the_whole_login_is_on_the_list(open_harness: OpenHarness) -> None:
    """No other account can be concerned."""
    harness = await open_harness(IBKR_ALLOWED_ACCOUNTS="DU1234567,DU7654321")

    assert (await harness.post("/iserver/questions/suppress", {"messageIds": ["o163"]})).status == 200


@pytest.mark.parametrize(
    "target",
    [
        "/iserver/account/DU1234567/orders",
        "/iserver/account/DU1234567/order/7/",
        "/v1/api/iserver/Account/DU1234567/orders",
        "/iserver/reply/abc",
        "/iserver/notification",
        "/iserver/questions/suppress",
        "/iserver/account/DU1234567/alert/activate",
        "/iserver/auth/ssodh/init",
    ],
)
async def test_a_path_that_trades_by_another_method_is_no_read(
    open_harness: OpenHarness, sim: MarketStage, target: str
) -> None:
    """It is unknown whether IBKR looks at the method, so the reading key does not suffice."""
    harness = await open_harness(IBKR_BRIDGE_READONLY_KEY=READONLY_KEY)

    reply = await harness.get(target, key=READONLY_KEY)

    assert (reply.status, reply.code) == (403, "insufficient_scope")
    assert not [call for call in sim.gateway_calls() if call.target.endswith(target.rpartition("iserver")[2])]


async def test_an_order_above_the_value_limit_is_refused(open_harness: OpenHarness, sim: MarketStage) -> None:
    """The value is in the account's base currency, from the market price or the limit price of the order."""
    harness = await open_harness(IBKR_MAX_ORDER_VALUE="1000")
    limit = {"orderType": "LMT", "price": 187.5}

    allowed = [await harness.post(Placement().target, Placement(quantity=5, extra=extra).body) for extra in ({}, limit)]
    refused = [await harness.post(Placement().target, Placement(quantity=6, extra=extra).body) for extra in ({}, limit)]

    assert [reply.status for reply in allowed] == [200, 200]
    assert [(reply.status, reply.code) for reply in refused] == [(403, "order_limit_exceeded")] * 2
    assert "IBKR_MAX_ORDER_VALUE" in refused[0].json["hint"]
    assert len(sim.calls(Placement().target)) == 2


@pytest.mark.parametrize("extra", [{"conid": 1}, {"cashQty": "x"}, {"conidex": "28812380;;;1/1,2/-1"}])
async def test_an_order_of_unknown_value_is_refused(
    open_harness: OpenHarness, sim: MarketStage, extra: dict[str, object]
) -> None:
    """No order may exceed the limit that the user has set."""
    harness = await open_harness(IBKR_MAX_ORDER_VALUE="1000000000")

    reply = await harness.post(Placement().target, Placement(extra=extra).body)

    assert (reply.status, reply.code) == (403, "order_limit_exceeded")
    assert changes_sent(sim) == []


@pytest.mark.parametrize("number", ["-1", "%2D1", "-01", "0", "+1", "1.0"])
async def test_cancelling_all_orders_must_be_confirmed(harness: Harness, sim: MarketStage, number: str) -> None:
    """With the exact word; without it nothing is sent."""
    target = f"/iserver/account/DU1234567/order/{number}"

    refused = await harness.request("DELETE", target, headers={"X-Bridge-Confirm": "all"})
    confirmed = await harness.request("DELETE", target, headers={"X-Bridge-Confirm": "cancel-all"})

    assert (refused.status, refused.code) == (403, "confirmation_required")
    assert (confirmed.status, len(changes_sent(sim))) == (200, 1)


@pytest.mark.parametrize(
    ("method", "target", "body"),
    [
        ("POST", "/iserver/watchlist", {"id": "1", "name": "mine"}),
        ("POST", "/iserver/account", {"acctId": "DU1234567"}),
        ("POST", "/iserver/account/DU1234567/alert", {"alertName": "x"}),
    ],
)
async def test_a_pause_stops_only_orders(
    open_harness: OpenHarness, sim: MarketStage, method: str, target: str, body: object
) -> None:
    """Watchlists, alerts and the selected account place no order; they still need the full key."""
    harness = await open_harness(IBKR_BRIDGE_READONLY_KEY=READONLY_KEY)
    await harness.post("/gateway/pause")

    with_reading_key, with_full_key = (
        await harness.request(method, target, body=body, key=READONLY_KEY),
        await harness.request(method, target, body=body),
    )

    assert (with_reading_key.status, with_reading_key.code) == (403, "insufficient_scope")
    assert with_full_key.code is None


async def test_a_preview_needs_only_the_reading_key(open_harness: OpenHarness) -> None:
    """It changes nothing."""
    harness = await open_harness(IBKR_BRIDGE_READONLY_KEY=READONLY_KEY)

    assert (await harness.post(f"{Placement().target}/whatif", Placement().body, key=READONLY_KEY)).status == 200


async def test_a_pause_allows_cancels(open_harness: OpenHarness, sim: MarketStage) -> None:
    """Open orders can always be cancelled; the pause outlives a restart."""
    harness = await open_harness()
    await harness.post("/gateway/pause")
    await harness.finish()
    restarted = await open_harness(IBKR_MAX_ORDER_QUANTITY="1")

    order = await restarted.post(Placement().target, Placement().body)
    cancel = await restarted.request("DELETE", CANCEL)
    await restarted.post("/gateway/resume")
    after = await restarted.post(Placement().target, Placement().body)

    assert (order.status, order.code) == (403, "trading_paused")
    assert (cancel.status, after.status) == (200, 200)


async def test_a_body_that_the_rules_cannot_read_is_refused(harness: Harness, sim: MarketStage) -> None:
    """An order that cannot be checked is not sent."""
    reply = await harness.post(
        Placement().target, b'{"orders":[{"acctId":', headers={"Content-Type": "application/json"}
    )

    assert (reply.status, reply.code) == (400, "bad_request")
    assert changes_sent(sim) == []


async def test_paid_calls_must_be_allowed_by_a_setting(open_harness: OpenHarness, sim: MarketStage) -> None:
    """IBKR charges for each call."""
    harness = await open_harness(IBKR_BRIDGE_EXTRA_PREFIXES="md")

    reply = await harness.get("/md/regsnapshot?conid=265598")

    assert (reply.status, reply.code) == (403, "insufficient_scope")
    assert "IBKR_ALLOW_PAID_SNAPSHOTS" in reply.json["hint"]
    assert not sim.gateway_calls("/md/")


@pytest.mark.parametrize("account", ["%44U7654321", "DU%37654321", "D%557654321"])
async def test_an_account_in_escaped_letters_is_a_bad_path(
    open_harness: OpenHarness, sim: MarketStage, account: str
) -> None:
    """Whichever account a program reads in it, nothing is sent."""
    harness = await open_harness(IBKR_ALLOWED_ACCOUNTS="DU1234567")
    before = len(sim.calls("/orders"))

    reply = await harness.post(f"/iserver/account/{account}/orders", {"orders": []})

    assert (reply.status, reply.code) == (400, "bad_path")
    assert len(sim.calls("/orders")) == before
