"""Quotes that are not in real time: delayed, frozen, of a closed market, missing; of all contracts or of one."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from ibkr_bridge.sim import Simulator
from ibkr_bridge.sim.market.availability import CLOSED, CODES, DELAY_S, DELAYED, FROZEN, MISSING, Availability
from tests.clocks import ManualClock
from tests.sim.market.stream_client import StreamClient
from tests.sim.wire import Wire

API = "/v1/api"
AAPL, MSFT = 265598, 272093
SNAPSHOT = f"{API}/iserver/marketdata/snapshot?conids={AAPL},{MSFT}&fields=31,84,86,55"
ORDERS = f"{API}/iserver/account/DU1234567/orders"


@pytest.fixture
async def quoted(wire: Wire, clock: ManualClock) -> Wire:
    """A connection whose market data lines are open."""
    await wire.call("GET", SNAPSHOT)
    clock.advance(2)
    return wire


async def read_rows(wire: Wire) -> list[dict[str, Any]]:
    """The rows of both contracts."""
    return list((await wire.call("GET", SNAPSHOT)).json())


def last(sim: Simulator, moment: float) -> str:
    """Apple's price at a moment, as field 31."""
    return f"{sim.market.world.quotes.last_price(AAPL, moment):,}"


def test_the_later_of_two_restrictions_counts() -> None:
    """When it ends, the earlier one is still there."""
    availability = Availability()
    availability.restrict(DELAYED, "", 0.0)
    availability.restrict(FROZEN, f"{AAPL}|8314", 5.0)
    both = [availability.kind_of(conid) for conid in (AAPL, MSFT)]
    availability.lift(FROZEN, f"{AAPL}|8314")

    assert both == [FROZEN, DELAYED]
    assert availability.kind_of(AAPL) == DELAYED
    assert (availability.code_of(AAPL), availability.closed_since(AAPL)) == ("DpB", None)


def test_a_conid_is_meant_as_a_whole() -> None:
    """A short one is a part of many others."""
    availability = Availability()
    availability.restrict(FROZEN, "8314", 0.0)

    assert [availability.kind_of(conid) for conid in (8314, 183145)] == [FROZEN, ""]


@pytest.mark.parametrize("kind", CODES)
async def test_the_first_letter_of_6509_says_it_for_one_contract(quoted: Wire, sim: Simulator, kind: str) -> None:
    """The other contract stays in real time, and both are when the fault ends."""
    sim.faults.add(kind, path=str(AAPL))
    during = [row["6509"] for row in await read_rows(quoted)]
    sim.faults.clear(kind)

    assert during == [CODES[kind], "RpB"]
    assert [row["6509"] for row in await read_rows(quoted)] == ["RpB", "RpB"]


async def test_delayed_quotes_are_a_quarter_of_an_hour_old(quoted: Wire, sim: Simulator, clock: ManualClock) -> None:
    """They go on moving."""
    sim.faults.add(DELAYED)

    [first, _] = await read_rows(quoted)
    clock.advance(30)
    [second, _] = await read_rows(quoted)

    assert [first["31"], second["31"]] == [last(sim, clock.now() - age - DELAY_S) for age in (30, 0)]


async def test_frozen_quotes_stand_still_and_go_on_later(quoted: Wire, sim: Simulator, clock: ManualClock) -> None:
    """Positions are then valued at the frozen price too."""
    frozen_at = clock.now()
    sim.faults.add(FROZEN)
    clock.advance(100)
    [row, _] = await read_rows(quoted)
    statement = sim.market.world.accounting.statement("DU1234567", clock.now())
    frozen_price = statement.positions[0].price
    sim.faults.clear()

    assert row["31"] == last(sim, frozen_at) == f"{frozen_price:,}"
    assert (await read_rows(quoted))[0]["31"] == last(sim, clock.now()) != row["31"]


async def test_a_closed_market_shows_the_former_close_and_no_bid(quoted: Wire, sim: Simulator) -> None:
    """IBKR puts a C in front of it."""
    sim.faults.add(CLOSED)

    [row, _] = await read_rows(quoted)

    assert (row["31"], row["55"]) == ("C190.00", "AAPL")
    assert not {"84", "86"} & set(row)


async def test_missing_quotes_have_no_field(quoted: Wire, sim: Simulator) -> None:
    """The row says why."""
    sim.faults.add(MISSING)

    [row, _] = await read_rows(quoted)

    assert set(row) == {"conid", "conidEx", "_updated", "server_id", "6119", "6509"}


async def test_the_stream_tells_that_quotes_are_delayed(
    client: StreamClient, sim: Simulator, clock: ManualClock
) -> None:
    """Field 6509 comes again when it changes."""
    first = await client.request(f'smd+{AAPL}+{{"fields":["31"]}}')
    sim.faults.add(DELAYED)
    clock.advance(0.5)
    update = await client.receive()

    assert (first["6509"], update["6509"]) == ("RpB", "DpB")
    assert update["31"] == last(sim, clock.now() - DELAY_S)


@pytest.mark.parametrize("kind", [FROZEN, CLOSED])
async def test_no_order_fills_in_a_closed_market(wire: Wire, sim: Simulator, clock: ManualClock, kind: str) -> None:
    """It waits, also with the rest of a large one, and fills when the market opens; nothing fills in the past."""
    book, ticket = sim.market.world.book, {"conid": AAPL, "orderType": "MKT", "side": "BUY", "tif": "DAY"}
    question = (await wire.call("POST", ORDERS, {"orders": [ticket | {"quantity": 1000}]})).json()
    await wire.call("POST", f"{API}/iserver/reply/{question[0]['id']}", {"confirmed": True})
    sim.faults.add(kind)
    await wire.call("POST", ORDERS, {"orders": [ticket | {"quantity": 1}]})
    clock.advance(60)
    await wire.call("GET", f"{API}/iserver/account/trades")
    during = len(book.trades)
    sim.faults.clear()
    book.fill_orders(clock.now() + 2)

    assert during == 1
    assert [trade.size for trade in book.trades[1:]] == [1000 - book.trades[0].size, Decimal(1)]
    assert all(trade.at >= clock.now() for trade in book.trades[1:])


async def test_an_order_without_market_data_is_asked_about(wire: Wire, sim: Simulator) -> None:
    """IBKR advises against blind trading; the order is placed once that is confirmed."""
    sim.faults.add(MISSING)
    ticket = {"conid": AAPL, "orderType": "MKT", "side": "BUY", "tif": "DAY", "quantity": 1}

    question = (await wire.call("POST", ORDERS, {"orders": [ticket]})).json()
    placed = (await wire.call("POST", f"{API}/iserver/reply/{question[0]['id']}", {"confirmed": True})).json()

    assert question[0]["messageIds"] == ["o354"]
    assert "without having market data" in question[0]["message"][0]
    assert placed[0]["order_status"] == "Submitted"
