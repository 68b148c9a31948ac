"""Charts, `smh`, and ladders, `sbd`."""

from __future__ import annotations

from ibkr_bridge.sim.market.feeds.charts import MAX_CHARTS
from tests.clocks import ManualClock
from tests.sim.market.conftest import Listen
from tests.sim.market.ear import AAPL, IBM, Ear

SMH = f'smh+{AAPL}+{{"exchange":"SMART","period":"1d","bar":"1hour","outsideRth":false,"source":"trades"}}'
SBD = f"sbd+DU1234567+{AAPL}+ISLAND"


async def test_a_chart_comes_whole_then_in_scraps(ear: Ear, clock: ManualClock) -> None:
    """Of the last candle what has changed."""
    whole = await ear.ask(SMH)
    clock.advance(1)
    scrap = await ear.hear()

    assert (whole["topic"], whole["points"], len(whole["data"])) == (f"smh+{AAPL}", 24, 24)
    assert (scrap["topic"], scrap["serverId"]) == (whole["topic"], whole["serverId"])
    assert [set(candle) for candle in scrap["data"]] == [{"c", "t"}]
    assert scrap["data"][0]["t"] == whole["data"][-1]["t"]


async def test_a_new_candle_has_an_open(ear: Ear, clock: ManualClock) -> None:
    """In the first scrap of it."""
    whole = await ear.ask(SMH.replace("1hour", "1min").replace('"1d"', '"10min"'))
    clock.advance(60)
    scrap = await ear.hear()

    assert set(scrap["data"][0]) == {"o", "c", "t"}
    assert scrap["data"][0]["t"] - whole["data"][-1]["t"] == 60_000


async def test_the_sixth_chart_is_refused_until_one_is_ended(listen: Listen) -> None:
    """Over all sockets; the same chart counts as often as it was asked for, and is ended by its number."""
    one, other = await listen(), await listen()
    numbers = [(await each.ask(SMH))["serverId"] for each in (one, other, one, other, one)]
    sixth = await other.ask(SMH)
    await one.ask(f"umh+{numbers[0]}")
    again = await other.ask(SMH)

    assert len(set(numbers)) == MAX_CHARTS
    assert sixth == {"topic": f"smh+{AAPL}", "error": "Too many chart requests"}
    assert again["serverId"] not in numbers


async def test_a_chart_of_nothing_is_refused(ear: Ear) -> None:
    """With a word."""
    said = [await ear.ask(text) for text in ("smh+1+{}", f'smh+{AAPL}+{{"bar":"x"}}')]

    assert [message["error"] for message in said] == ["Chart data unavailable"] * 2


async def test_a_ladder_has_a_row_for_each_price(ear: Ear, clock: ManualClock) -> None:
    """Falling, the last price in the middle; later only rows that have changed."""
    first = await ear.ask(SBD)
    clock.advance(1)
    later = await ear.hear()

    rows = first["data"]
    assert (first["topic"], later["topic"]) == (SBD, SBD)
    assert all(set(row) == {"row", "focus", "price", "bid", "ask"} for row in rows)
    assert [row["row"] for row in rows if row["focus"]] == [5]
    assert sorted(rows, key=lambda row: -float(row["price"])) == rows
    assert 0 < len(later["data"]) <= len(rows)


async def test_ladders_are_ended_by_account(ear: Ear, clock: ManualClock) -> None:
    """All of it; those of another stay."""
    ear.say(SBD, f"sbd+DU1234567+{IBM}", f"sbd+DU7654321+{AAPL}", "ubd+DU1234567")
    await ear.rest()

    clock.advance(1)

    assert [message["topic"] for message in await ear.rest()] == [f"sbd+DU7654321+{AAPL}"]
