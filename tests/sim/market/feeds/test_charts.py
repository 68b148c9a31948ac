"""Charts, `smh`, and ladders, `sbd`."""

from __future__ import annotations

from ibkr_bridge.sim.market.feeds.charts import MAX_CHARTS
from tests.clocks import ManualClock
from tests.sim.market.conftest import Listen
from tests.sim.market.stream_client import AAPL, IBM, StreamClient

SMH = f'smh+{AAPL}+{{"exchange":"SMART","period":"1d","bar":"1hour","outsideRth":false,"source":"trades"}}'
SBD = f"sbd+DU1234567+{AAPL}+ISLAND"


async def test_a_chart_comes_completely_and_then_in_updates(client: StreamClient, clock: ManualClock) -> None:
    """An update has the changed members of the last candle."""
    chart = await client.request(SMH)
    clock.advance(1)
    update = await client.receive()

    assert (chart["topic"], chart["points"], len(chart["data"])) == (f"smh+{AAPL}", 24, 24)
    assert (update["topic"], update["serverId"]) == (chart["topic"], chart["serverId"])
    assert [set(candle) for candle in update["data"]] == [{"c", "t"}]
    assert update["data"][0]["t"] == chart["data"][-1]["t"]


async def test_a_new_candle_has_an_open(client: StreamClient, clock: ManualClock) -> None:
    """Its first update has the open."""
    chart = await client.request(SMH.replace("1hour", "1min").replace('"1d"', '"10min"'))
    clock.advance(60)
    update = await client.receive()

    assert set(update["data"][0]) == {"o", "c", "t"}
    assert update["data"][0]["t"] - chart["data"][-1]["t"] == 60_000


async def test_the_sixth_chart_is_refused_until_one_is_ended(listen: Listen) -> None:
    """The charts of all sockets count. The same chart counts once for each request, and is ended by its number."""
    one, other = await listen(), await listen()
    numbers = [(await each.request(SMH))["serverId"] for each in (one, other, one, other, one)]
    sixth = await other.request(SMH)
    await one.request(f"umh+{numbers[0]}")
    again = await other.request(SMH)

    assert len(set(numbers)) == MAX_CHARTS
    assert sixth == {"topic": f"smh+{AAPL}", "error": "Too many chart requests"}
    assert again["serverId"] not in numbers


async def test_a_chart_without_data_is_refused(client: StreamClient) -> None:
    """The refusal is a message with an error."""
    refusals = [await client.request(text) for text in ("smh+1+{}", f'smh+{AAPL}+{{"bar":"x"}}')]

    assert [message["error"] for message in refusals] == ["Chart data unavailable"] * 2


async def test_a_ladder_has_a_row_for_each_price(client: StreamClient, clock: ManualClock) -> None:
    """Prices fall, and the last price is in the middle. Later messages have only the changed rows."""
    ladder = await client.request(SBD)
    clock.advance(1)
    update = await client.receive()

    rows = ladder["data"]
    assert (ladder["topic"], update["topic"]) == (SBD, SBD)
    assert all(set(row) == {"row", "focus", "price", "bid", "ask"} for row in rows)
    assert [row["row"] for row in rows if row["focus"]] == [5]
    assert sorted(rows, key=lambda row: -float(row["price"])) == rows
    assert 0 < len(update["data"]) <= len(rows)


async def test_ladders_are_ended_by_account(client: StreamClient, clock: ManualClock) -> None:
    """All ladders of the account end; those of another account stay."""
    client.send(SBD, f"sbd+DU1234567+{IBM}", f"sbd+DU7654321+{AAPL}", "ubd+DU1234567")
    await client.receive_pending()

    clock.advance(1)

    assert [message["topic"] for message in await client.receive_pending()] == [f"sbd+DU7654321+{AAPL}"]
