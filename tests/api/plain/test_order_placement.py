"""Placing and previewing orders with the plain API."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import msgspec
import pytest

from ibkr_bridge.api.plain import plain_reader, symbol_resolution
from ibkr_bridge.ibkr.endpoint import Endpoint, Priority
from ibkr_bridge.models.orders import Order, Preview
from ibkr_bridge.session.state_machine import SessionState
from ibkr_bridge.sim.simulator import Simulator
from tests.api.plain.order_helpers import (
    ACCOUNT,
    CONFIRM_ALL,
    FAR_LIMIT,
    MARKET,
    place,
    placements,
)
from tests.conftest import OpenHarness
from tests.harness import READONLY_KEY, Harness


async def test_an_order_is_placed_by_its_symbol(harness: Harness) -> None:
    """The answer is the order, and the journal has it."""
    reply = await place(harness, {**MARKET, "client_order_id": "mine-1"})

    order = msgspec.json.decode(reply.body, type=Order)
    assert (reply.status, order.state.value) == (200, "placed")
    assert order.status is not None
    assert (order.symbol, order.side and order.side.value, str(order.quantity)) == ("MSFT", "buy", "2")
    assert (order.client_order_id, order.account, order.origin.value) == ("mine-1", ACCOUNT, "bridge")
    assert reply.headers["X-Bridge-Order"] == order.id
    assert (await harness.get(f"/orders/{order.id}")).json["status"] == "filled"


@pytest.mark.parametrize(
    ("members", "field"),
    [
        ({"type": "limit", "limit_price": "190.255"}, "limit_price"),
        ({"symbol": "ES@CME", "type": "midprice"}, "type"),
        ({"symbol": "ES@CME", "time_in_force": "opg"}, "time_in_force"),
        ({"symbol": "ES@CME", "quantity": "0.5"}, "quantity"),
    ],
)
async def test_what_ibkr_does_not_allow_for_the_contract_is_not_sent(
    harness: Harness, sim: Simulator, members: dict[str, str], field: str
) -> None:
    """Its rules say it before the order; IBKR's own answer would be a sentence for people."""
    reply = await place(harness, MARKET | members)

    assert (reply.status, reply.json["code"], reply.json["field"]) == (422, "validation_failed", field)
    assert placements(sim) == []


@pytest.mark.parametrize(
    ("old", "new", "field"),
    [
        ('"2"', '"1_000"', "quantity"),
        ('"2"', '"\uff11\uff12"', "quantity"),
        ('"2"', '" 2 "', "quantity"),
        ('"2"', '"NaN"', "quantity"),
        ('"2"', '"1e999"', "quantity"),
        ('"2"', "1e999", "quantity"),
        ('"2"', '"2", "quantity": "1000"', "quantity"),
        ('"buy"', '"buy", "side": "sell"', "side"),
        ('"2"', '"2", "bracket": {"stop_loss": "1", "stop_loss": "2"}', "bracket.stop_loss"),
        ('"2"', '"2", "bracket": {"stop_loss": "\u0661"}', "bracket.stop_loss"),
        ('"2"', '"2", "client_order_id": "mine-1\\n"', "client_order_id"),
    ],
)
async def test_what_two_programs_could_read_differently_is_not_sent(
    harness: Harness, sim: Simulator, old: str, new: str, field: str
) -> None:
    """One of them may be the check of an app, which saw a smaller order."""
    body = json.dumps(MARKET).replace(old, new, 1).encode()

    reply = await harness.post(f"/accounts/{ACCOUNT}/orders", body, headers={"Content-Type": "application/json"})

    assert (reply.status, reply.json["field"]) == (422, field)
    assert placements(sim) == []


@pytest.mark.parametrize("quantity", ['"2.0"', '"+2"', '"2E+0"', "2", "2.0", "2e0", '"2."', '"00002.00000000"'])
async def test_a_decimal_may_be_written_in_each_usual_form(harness: Harness, sim: Simulator, quantity: str) -> None:
    """They all mean the same everywhere."""
    body = json.dumps(MARKET).replace('"2"', quantity, 1).encode()

    reply = await harness.post(f"/accounts/{ACCOUNT}/orders", body, headers={"Content-Type": "application/json"})

    assert (reply.json["state"], reply.json["quantity"]) == ("placed", "2")
    assert json.loads(placements(sim)[0])["orders"][0]["quantity"] == 2


async def test_an_order_is_placed_although_ibkr_does_not_say_the_rules(harness: Harness, sim: Simulator) -> None:
    """IBKR says then itself whether it takes the order."""
    sim.faults.add("html-500", path="/iserver/contract/rules")

    assert (await place(harness, MARKET)).json["state"] == "placed"


@pytest.mark.parametrize("path", ["/iserver/contract/rules", "/trsrv/secdef"])
async def test_an_order_does_not_wait_long_for_what_it_can_do_without(
    harness: Harness, sim: Simulator, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    """A market order that leaves after the time-out of a read meets another market."""
    monkeypatch.setattr(plain_reader, "OPTIONAL_TIMEOUT_S", 0.1)
    sim.faults.add("silence", path=path)

    async with asyncio.timeout(harness.bridge.profile.settings.gateway_timeout_s / 2):
        order = (await place(harness, {**MARKET, "symbol": None, "conid": 272093})).json
        changed = await harness.request("PATCH", f"/orders/{order['id']}", body={"quantity": "1"})

    assert (order["state"], changed.code) == ("placed", "order_not_working")


async def test_what_an_order_needs_has_the_priority_of_orders(
    harness: Harness, sim: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise a page that reads too much would stop its orders; what an order can do without may wait."""
    admission = harness.bridge.profile.admission
    seen: dict[str, Priority] = {}
    acquire = admission.acquire

    async def acquire_and_record(endpoint: Endpoint, priority: Priority, *args: Any, **kwargs: Any) -> Any:
        seen.setdefault(endpoint.path, priority)
        return await acquire(endpoint, priority, *args, **kwargs)

    monkeypatch.setattr(admission, "acquire", acquire_and_record)
    order = (await place(harness, FAR_LIMIT, CONFIRM_ALL)).json
    await harness.request("PATCH", f"/orders/{order['id']}", body={"quantity": "1"}, headers=CONFIRM_ALL)

    reads = ("/trsrv/{what}", "/iserver/account/order/status/{orderId}", "/iserver/contract/rules")
    assert [seen[path] for path in reads] == [Priority.ORDERS, Priority.ORDERS, Priority.READS]


@pytest.mark.parametrize(
    ("extra", "field"),
    [
        ({"symbol": None}, "symbol"),
        ({"conid": 1}, "symbol"),
        ({"quantity": None}, "quantity"),
        ({"cash_amount": "5"}, "quantity"),
        ({"quantity": "-1"}, "quantity"),
        ({"quantity": "NaN"}, "quantity"),
        ({"quantity": "1e400"}, "quantity"),
        ({"limit_price": "1"}, "limit_price"),
        ({"type": "limit"}, "limit_price"),
        ({"type": "stop"}, "stop_price"),
        ({"type": "trail"}, "trail"),
        ({"type": "nonsense"}, "type"),
        ({"side": "hold"}, "side"),
        ({"outside_hours": True}, "outside_hours"),
        ({"bracket": {}}, "bracket"),
        ({"bracket": {"take_profit": "1", "stop_loss": "2"}}, "bracket.take_profit"),
        ({"client_order_id": "with spaces"}, "client_order_id"),
        ({"client_order_id": "brdg-mine"}, "client_order_id"),
        ({"qty": "1"}, "qty"),
        ({"symbol": "../x"}, "symbol"),
    ],
)
async def test_a_wrong_ticket_is_refused_before_anything_is_sent(
    harness: Harness, sim: Simulator, extra: dict[str, Any], field: str
) -> None:
    """With the member that is to blame."""
    reply = await place(harness, {**MARKET, **extra})

    assert (reply.status, reply.code, reply.json["field"]) == (422, "validation_failed", field)
    assert placements(sim) == []


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff", b"[" * 5000])
async def test_a_body_that_is_no_ticket_is_refused(harness: Harness, body: bytes) -> None:
    """It is never an internal error."""
    reply = await harness.post(f"/accounts/{ACCOUNT}/orders", body)

    assert reply.code in ("bad_request", "validation_failed")


@pytest.mark.parametrize(
    ("account", "extra", "code"),
    [
        ("DU9999999", {}, "account_not_found"),
        (ACCOUNT, {"symbol": "NOPE"}, "instrument_not_found"),
        (ACCOUNT, {"symbol": None, "conid": 999}, "instrument_not_found"),
    ],
)
async def test_an_account_or_instrument_that_does_not_exist_is_not_found(
    harness: Harness, sim: Simulator, account: str, extra: dict[str, Any], code: str
) -> None:
    """Before anything is sent."""
    reply = await harness.post(f"/accounts/{account}/orders", {**MARKET, **extra})

    assert (reply.status, reply.code) == (404, code)
    assert placements(sim) == []


async def test_the_same_idempotency_key_places_one_order(harness: Harness, sim: Simulator) -> None:
    """Also a bracket, whose parent gets its name from the key."""
    bracket = {**MARKET, "bracket": {"take_profit": "900", "stop_loss": "1"}}
    for ticket, key in ((MARKET, "key-1"), (bracket, "key-2")):
        replies = [await place(harness, ticket, {"Idempotency-Key": key}) for _ in range(2)]
        assert [reply.status for reply in replies] == [200, 200]
        assert replies[0].json["id"] == replies[1].json["id"]

    assert len(placements(sim)) == 2


async def test_a_bracket_is_one_order_with_two_that_close_it(harness: Harness, sim: Simulator) -> None:
    """The children carry the parent's name."""
    ticket = {**MARKET, "bracket": {"take_profit": "900", "stop_loss": "1"}}
    reply = await place(harness, ticket, {"X-Bridge-Confirm": "o163,o10331,o2137,o354,o383,o451"})

    assert len(reply.json["order_ids"]) == 3, reply.json
    assert reply.json["order_id"] == reply.json["order_ids"][0]
    orders = sorted(sim.market.world.book.orders(sim.clock.now()), key=lambda order: order.number)
    assert [(order.side, order.kind) for order in orders] == [("BUY", "MKT"), ("SELL", "LMT"), ("SELL", "STP")]


async def test_a_read_only_key_previews_and_places_nothing(open_harness: OpenHarness, sim: Simulator) -> None:
    """A preview is a read."""
    harness = await open_harness(IBKR_BRIDGE_READONLY_KEY=READONLY_KEY)
    path = f"/accounts/{ACCOUNT}/orders"

    preview = await harness.request("POST", f"{path}/preview", key=READONLY_KEY, body=MARKET)
    order = await harness.request("POST", path, key=READONLY_KEY, body=MARKET)

    assert msgspec.json.decode(preview.body, type=Preview).commission is not None
    assert (order.status, order.code) == (403, "insufficient_scope")
    assert placements(sim) == []


async def test_the_same_key_finds_its_order_while_ibkr_describes_nothing(harness: Harness, sim: Simulator) -> None:
    """What was sent first depends on the request alone."""
    first = await place(harness, MARKET, {"Idempotency-Key": "key-1"})
    sim.faults.add("status", path="/trsrv/secdef", status=503)
    symbol_resolution._DIRECTORIES.clear()  # as after a restart

    second = await place(harness, MARKET, {"Idempotency-Key": "key-1"})

    assert (second.status, second.json["id"]) == (200, first.json["id"])
    assert len(placements(sim)) == 1


@pytest.mark.parametrize("instrument", [{"symbol": "MSFT"}, {"symbol": None, "conid": 272093}])
@pytest.mark.parametrize("has_key", [True, False])
async def test_an_order_that_is_sent_again_after_the_login_has_ended_is_the_same(
    harness: Harness, sim: Simulator, instrument: dict[str, Any], has_key: bool
) -> None:
    """Its caller must not hear that nothing happened: the order is placed."""
    name = {} if has_key else {"client_order_id": "mine-1"}
    headers = {"Idempotency-Key": "key-1"} if has_key else None
    ticket = {**MARKET, **instrument, **name}
    first = await place(harness, ticket, headers)
    sim.faults.add("sso-lost")
    await harness.wait_until_checked(SessionState.SIGNED_OUT)
    symbol_resolution._DIRECTORIES.clear()  # as after a restart

    second = await place(harness, ticket, headers)
    other = await place(harness, {**ticket, "quantity": "3"}, headers)

    assert (second.status, second.json["id"], second.json["state"]) == (200, first.json["id"], "placed")
    assert other.code == ("idempotency_mismatch" if has_key else "duplicate_order")
    assert len(placements(sim)) == 1


async def test_a_name_that_is_free_again_belongs_to_a_new_order(harness: Harness, sim: Simulator) -> None:
    """It is for the instrument that the caller names now, and is checked as every other."""
    name = {"client_order_id": "mine-1"}
    asked = (await place(harness, {**FAR_LIMIT, **name})).json
    await harness.post(f"/orders/{asked['id']}/answer", {"confirm": False})

    refused = await place(harness, {**MARKET, **name, "type": "limit", "limit_price": "190.255"})
    order = (await place(harness, {**MARKET, **name})).json

    assert (refused.code, refused.json["field"]) == ("validation_failed", "limit_price")
    assert (order["state"], order["symbol"], order["conid"]) == ("placed", "MSFT", 272093)
    assert json.loads(placements(sim)[-1])["orders"][0]["conid"] == 272093


async def test_a_repeat_of_an_order_that_ends_meanwhile_is_not_sent(
    harness: Harness, sim: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its instrument was taken from the earlier order, and nobody has checked it."""
    name, repository = {"client_order_id": "mine-1"}, harness.bridge.profile.orders.repository
    asked = (await place(harness, {**FAR_LIMIT, **name})).json
    earlier = repository.index.find(asked["id"])
    await harness.post(f"/orders/{asked['id']}/answer", {"confirm": False})
    monkeypatch.setattr(repository.index, "find_by_identity", lambda *_: earlier)  # as it was a moment ago

    reply = await place(harness, {**MARKET, **name})

    assert (reply.status, reply.code) == (409, "order_in_progress")
    assert len(placements(sim)) == 1


async def test_an_order_of_another_account_is_not_the_same(harness: Harness, sim: Simulator) -> None:
    """The account is looked up as ever."""
    await place(harness, MARKET, {"Idempotency-Key": "key-1"})

    reply = await harness.post("/accounts/DU9999999/orders", MARKET, headers={"Idempotency-Key": "key-1"})

    assert reply.code == "account_not_found"
    assert len(placements(sim)) == 1
