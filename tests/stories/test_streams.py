"""Streams, from IBKR's socket to whoever reads."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from contextlib import AsyncExitStack
from typing import Any

import aiohttp
import pytest

from ibkr_bridge import events
from ibkr_bridge.session.state_machine import SessionState
from ibkr_bridge.sim.simulator import Simulator
from tests.conftest import Open
from tests.harness import KEY, READING, Harness, Placed, within
from tests.stream_clients import StreamEvent, open_sse, open_websocket

AAPL, IBM, MSFT = 265598, 8314, 272093
QUOTES = f"/stream/quotes?conids={AAPL}&fields=31,84"
ANOTHER = "another-key-for-tests-0123456789-abcd"


async def up(harness: Harness) -> Harness:
    """A harness whose stream is fresh."""
    await harness.wait_for_events(events.FeedUp)
    return harness


def upstream(sim: Simulator) -> list[str]:
    """What IBKR was told on its socket, but for signs of life."""
    return [text for text in sim.market.stream.received if text != "tic"]


def has(*names: str) -> Any:
    """Whether an event is a quote with these fields."""
    return lambda told: told.name == "message" and all(name in told.data for name in names)


# -- quotes


async def test_quotes_are_sent_as_events(harness: Harness, sim: Simulator) -> None:
    """JSON, an id each, the fields that were asked for and no others."""
    async with open_sse(await up(harness), QUOTES) as quotes:
        first = await quotes.receive()

    assert (first.name, first.data["conid"]) == ("message", AAPL)
    assert {"31", "84"} <= first.data.keys() and not {"86", "85"} & first.data.keys()
    assert first.id
    assert quotes.retry == "3000"
    headers = quotes.reply.headers
    assert headers["Content-Type"] == "text/event-stream; charset=utf-8"
    assert (headers["Cache-Control"], headers["X-Accel-Buffering"]) == ("no-store, no-transform", "no")


async def test_two_readers_have_different_fields(harness: Harness, sim: Simulator) -> None:
    """IBKR is asked for all of them, and each reader gets its own."""
    await up(harness)
    async with open_sse(harness, QUOTES) as one, open_sse(harness, f"/stream/quotes?conids={AAPL}&fields=86") as other:
        mine = await one.receive_until(has("31", "84"))
        theirs = await other.receive_until(has("86"))
        await sim.market.stream.wait_for_message(f'smd+{AAPL}+{{"fields":["31","84","86"]}}')

    assert all(not {"86"} & told.data.keys() for told in mine)
    assert all(not {"31", "84"} & told.data.keys() for told in theirs)


async def test_a_newcomer_gets_the_whole_picture_at_once(harness: Harness, sim: Simulator) -> None:
    """With its age; IBKR is not asked again."""
    await up(harness)
    async with open_sse(harness, QUOTES) as first:
        await first.receive_until(has("31", "84"))
        asked = len(upstream(sim))
        async with open_sse(harness, QUOTES) as second:
            picture = await second.receive()

    assert {"31", "84", "_age"} <= picture.data.keys()
    assert 0 <= picture.data["_age"] < 5
    assert len(upstream(sim)) == asked


async def test_what_nobody_reads_any_more_is_ended_after_a_grace(harness: Harness, sim: Simulator) -> None:
    """And not before the last has left."""
    await up(harness)
    async with open_sse(harness, QUOTES) as first:
        await first.receive()
        async with open_sse(harness, QUOTES) as second:
            await second.receive()
    hub = harness.bridge.profile.streaming.hub
    await within(_left(hub))
    assert f"umd+{AAPL}+{{}}" not in upstream(sim)

    for subscription in hub.upstream_subscriptions:
        subscription.unused_since = float("-inf")  # the grace is over

    await within(sim.market.stream.wait_for_message(f"umd+{AAPL}+{{}}"))


async def _left(hub: Any) -> None:
    while hub.subscribers:
        await asyncio.sleep(0)


async def test_the_hundred_and_first_contract_is_refused(harness: Harness, sim: Simulator) -> None:
    """IBKR would say nothing, for ever."""
    await up(harness)
    many = ",".join(str(900_000_001 + number) for number in range(100))
    async with open_sse(harness, f"/stream/quotes?conids={many}&fields=31") as quotes:
        await quotes.receive()

        refused = await harness.get(QUOTES)
        shared = await _status(harness, "/stream/quotes?conids=900000001&fields=31")
        snapshot = await harness.get(f"/iserver/marketdata/snapshot?conids={AAPL}&fields=31")

    assert (refused.status, refused.code) == (429, "market_data_limit")
    assert shared == 200
    assert (snapshot.status, snapshot.code) == (429, "market_data_limit")


async def _status(harness: Harness, target: str) -> int:
    async with open_sse(harness, target) as opened:
        return opened.reply.status


async def test_lines_of_snapshots_make_room_for_streams(harness: Harness, sim: Simulator) -> None:
    """The one that was looked at the longest time ago is given back."""
    await up(harness)
    for start in (0, 50):
        many = ",".join(str(900_000_001 + start + number) for number in range(50))
        await harness.get(f"/iserver/marketdata/snapshot?conids={many}&fields=31")

    async with open_sse(harness, QUOTES) as quotes:
        told = await quotes.receive()

    assert told.data["conid"] == AAPL
    assert "umd+900000001+{}" in upstream(sim)


MANY = "?conids=" + ",".join(map(str, range(101)))


@pytest.mark.parametrize("query", ["", "?conids=", "?conids=abc", "?conids=1&fields=x", "?conids=1,-2", MANY])
async def test_a_stream_of_nothing_is_refused(harness: Harness, query: str) -> None:
    """In words, before it begins."""
    refused = await harness.get(f"/stream/quotes{query}")

    assert (refused.status, refused.code) == (400, "bad_request")


async def test_unsubscribing_is_for_the_caller_alone(open_harness: Open, sim: Simulator) -> None:
    """IBKR would end everybody's quotes; a line nobody else has is given back on its socket."""
    harness = await up(await open_harness(IBKR_BRIDGE_READONLY_KEY=READING))
    async with open_sse(harness, QUOTES) as quotes:
        await quotes.receive()
        await harness.get(f"/iserver/marketdata/snapshot?conids={AAPL},{IBM},{MSFT}&fields=31")
        await harness.get(f"/iserver/marketdata/snapshot?conids={IBM}&fields=31", key=READING)

        streamed = await harness.post("/iserver/marketdata/unsubscribe", {"conid": AAPL})
        looked_at = await harness.post("/iserver/marketdata/unsubscribe", {"conid": IBM})
        own = await harness.post("/iserver/marketdata/unsubscribe", {"conid": MSFT})
        everything = await harness.get("/iserver/marketdata/unsubscribeall")
        await quotes.receive_until(has("31"))

    assert [reply.json for reply in (streamed, looked_at, own)] == [{"success": True}] * 3
    assert everything.json == {"unsubscribed": True}
    assert everything.headers["X-Bridge-Source"] == "bridge"
    assert sim.calls("/marketdata/unsubscribe") == []
    assert [text for text in upstream(sim) if text.startswith("umd")] == [f"umd+{MSFT}+{{}}"]


# -- the source


async def test_fifty_readers_sit_out_a_restart_of_the_gateway(harness: Harness, sim: Simulator) -> None:
    """All get `stale`, then `fresh`, then a whole picture; nobody connects anew."""
    await up(harness)
    async with AsyncExitStack() as open_ones:
        readers = [await open_ones.enter_async_context(open_sse(harness, QUOTES)) for _ in range(50)]
        await asyncio.gather(*(reader.receive_until(has("31", "84")) for reader in readers))

        await sim.restart()
        await asyncio.gather(*(reader.receive("stale") for reader in readers))
        sim.log_in()
        told = await asyncio.gather(*(reader.receive_until(has("31", "84")) for reader in readers))

    names = [[event.name for event in events_] for events_ in told]
    assert all("fresh" in each and "stale" not in each for each in names)
    assert all(each.index("fresh") < len(each) - 1 for each in names)


async def test_a_lost_brokerage_session_is_seen_at_once(harness: Harness, sim: Simulator) -> None:
    """Not at the next look: the keeper's looks are three seconds apart."""
    await up(harness)
    async with open_sse(harness, QUOTES) as quotes, open_websocket(harness) as client:
        await quotes.receive_until(has("31", "84"))

        sim.lose_brokerage()
        stale = await quotes.receive("stale")
        fresh = await quotes.receive("fresh")
        await quotes.receive_until(has("31", "84"))
        heard = [await client.receive("system"), await client.receive("system"), await client.receive("system")]

    (lost,) = [event for event in harness.events_seen if isinstance(event, events.SessionLost)]
    assert lost.reason == "brokerage_lost"
    assert stale.data["reason"] == "brokerage_lost"
    assert stale.data["since"] <= fresh.data["since"]
    assert [sorted(told.keys() - {"topic"})[0] for told in heard] == ["success", "stale", "fresh"]


async def test_a_client_that_subscribes_before_the_session_is_ready(open_harness: Open, sim: Simulator) -> None:
    """Nothing it says is lost: it hears that it is early, and then all it wanted."""
    sim.lose_brokerage()
    sim.start_competing()
    harness = await open_harness(ready=False, IBKR_COMPETE="yield")
    await harness.wait_until(SessionState.COMPETING)
    async with open_websocket(harness) as client, open_sse(harness, QUOTES) as quotes:
        await client.send(f'smd+{AAPL}+{{"fields":["31"]}}')
        first = [await client.receive(), await client.receive()]
        stale = await quotes.receive()

        sim.market.world.sessions.open_brokerage(sim.clock.now(), compete=True, is_established=True)
        await client.receive_until(lambda told: "success" in told)
        quote = await client.receive(f"smd+{AAPL}")
        fresh = await quotes.receive()

    assert first[0] == {"message": "waiting for session"}
    assert first[1]["stale"]["reason"] == "competing"
    assert (stale.name, stale.data["reason"], fresh.name) == ("stale", "competing", "fresh")
    assert "31" in quote


async def test_a_socket_that_is_cut_is_opened_again(harness: Harness, sim: Simulator) -> None:
    """And everything is asked for again."""
    await up(harness)
    async with open_sse(harness, QUOTES) as quotes:
        await quotes.receive_until(has("31", "84"))

        await sim.market.stream.close_all(4001)
        stale = await quotes.receive("stale")
        await quotes.receive("fresh")
        await quotes.receive_until(has("31", "84"))

    assert stale.data["reason"] == "stream_disconnected"
    assert upstream(sim).count(f'smd+{AAPL}+{{"fields":["31","84"]}}') == 2


@pytest.mark.parametrize(
    "nonsense",
    [
        *(b"\xff\xfe not json", b"[1,2,3]", b"{", b"null", b'{"topic":7}', b'{"topic":"smd+1","args":9}', b"[" * 9000),
        *(b'{"topic":[1]}', b'{"topic":{}}', b'{"topic":"sor","args":{"x":[]}}', b'{"topic":"sts","args":[1]}'),
        b'{"topic":"sor","args":[' + b'{"a":' * 970 + b"1" + b"}" * 970 + b"]}",
    ],
)
async def test_frames_that_make_no_sense_are_survived(harness: Harness, sim: Simulator, nonsense: bytes) -> None:
    """The next one counts."""
    await up(harness)
    async with (
        open_sse(harness, QUOTES) as quotes,
        open_sse(harness, "/stream/orders"),
        open_websocket(harness) as client,
    ):
        await client.send('ssd+DU1234567+{"keys":["AccountCode"]}')
        await quotes.receive_until(has("31", "84"))

        await sim.market.stream.send_bytes_to_all(nonsense)
        await sim.market.stream.send_to_all(json.dumps({"topic": f"smd+{AAPL}", "conid": AAPL, "31": "sense"}))
        told = await quotes.receive_until(lambda told: told.data.get("31") == "sense")

    assert all(event.name == "message" for event in told)


async def test_a_frame_that_is_too_large_is_survived(harness: Harness, sim: Simulator) -> None:
    """The Gateway ends the socket over it; another one is opened."""
    await up(harness)
    async with open_sse(harness, QUOTES) as quotes:
        await quotes.receive_until(has("31", "84"))

        await sim.market.stream.send_to_all("x" * 70_000)
        await quotes.receive("stale")
        await quotes.receive("fresh")
        await quotes.receive_until(has("31", "84"))


@pytest.mark.parametrize("figure", ["NaN", "-Infinity", "1e999"])
async def test_what_is_no_number_is_no_json(harness: Harness, sim: Simulator, figure: str) -> None:
    """A page could not read it."""
    await up(harness)
    async with open_sse(harness, QUOTES) as quotes:
        await quotes.receive_until(has("31", "84"))
        await sim.market.stream.send_to_all(f'{{"topic":"smd+{AAPL}","conid":{AAPL},"31":{figure}}}')
        told = await quotes.receive_until(lambda told: told.data.get("31") is None and "31" in told.data)

    assert told[-1].data["31"] is None


# -- orders, trades, profit and loss


async def test_orders_are_streamed_with_all_that_is_known_of_them(harness: Harness, sim: Simulator) -> None:
    """IBKR sends what changed; an app gets the order."""
    await up(harness)
    async with open_sse(harness, "/stream/orders") as orders, open_sse(harness, "/stream/trades") as trades:
        await within(sim.market.stream.wait_for_message("sor+{}"))
        await harness.post(Placed().target, Placed().body)
        order = (await orders.receive_until(lambda told: told.data.get("status") == "Filled"))[-1]
        trade = await trades.receive()

    assert (order.name, order.data["conid"], order.data["ticker"]) == ("message", AAPL, "AAPL")
    assert trade.data["order_ref"] == order.data["order_ref"]


async def test_what_was_missed_is_told_again(harness: Harness, sim: Simulator) -> None:
    """By `Last-Event-ID`; an id of another run is answered by a word and the whole picture."""
    await up(harness)
    async with open_sse(harness, "/stream/orders") as orders:
        await within(sim.market.stream.wait_for_message("sor+{}"))
        await harness.post(Placed().target, Placed().body)
        last = (await orders.receive_until(lambda told: told.data.get("status") == "Filled"))[-1]
        async with open_sse(harness, "/stream/orders") as meanwhile:
            second = await harness.post(Placed().target, Placed(quantity=2).body)
            await meanwhile.receive_until(lambda told: _is(told, second) and told.data.get("status") == "Filled")

    async with open_sse(harness, "/stream/orders", Last_Event_ID=last.id) as again:
        missed = await again.receive_until(lambda told: told.data.get("status") == "Filled")
    async with open_sse(harness, "/stream/orders", Last_Event_ID="of-another-run-7") as strange:
        gap, *rows = [await strange.receive() for _ in range(3)]

    assert all(_is(told, second) for told in missed)
    assert (gap.name, gap.data) == ("gap", {"after": "of-another-run-7"})
    assert len({row.data["orderId"] for row in rows}) == 2


def _is(told: StreamEvent, placed: Any) -> bool:
    return bool(str(told.data.get("orderId")) == placed.json[0]["order_id"])


async def test_profit_and_loss_is_streamed_by_account(harness: Harness, sim: Simulator) -> None:
    """One event for each."""
    async with open_sse(await up(harness), "/stream/pnl") as pnl:
        rows = [await pnl.receive(), await pnl.receive()]

    assert {row.data["key"] for row in rows} == {"DU1234567.Core", "DU7654321.Core"}
    assert all("dpl" in row.data for row in rows)


# -- the session


async def test_the_session_is_streamed_without_market_data(harness: Harness, sim: Simulator) -> None:
    """The state there is, then each one that follows; and never a word of a stale source."""
    await up(harness)
    async with open_sse(harness, "/stream/session") as session:
        first = await session.receive()
        sim.lose_brokerage()
        told = await session.receive_until(lambda told: told.data["state"] == "ready")

    assert (first.data["state"], first.data["authenticated"]) == ("ready", True)
    assert [event.data["state"] for event in told] == ["opening", "ready"]
    assert (told[0].data["reason"], told[0].data["authenticated"]) == ("brokerage_lost", False)
    assert all(event.name == "message" for event in told)


# -- existing clients


async def test_commands_are_ibkrs_own(harness: Harness, sim: Simulator) -> None:
    """And answers too, in text frames; what is no command is said to be none."""
    await up(harness)
    async with open_websocket(harness) as client:
        greeting = await client.receive()
        for command in (
            "tic",
            "ech+hb",
            "nonsense",
            "smd+abc+{}",
            "smd+1+[1]",
            'smd+1+{"fields":[1]}',
            "usd+DU1234567+{}",
        ):
            await client.send(command)
        tic = await client.receive("tic")
        echo = await client.receive_until(lambda told: isinstance(told, str))
        wrong = [await client.receive("error") for _ in range(4)]
        farewell = await client.receive()

    assert greeting == {"topic": "system", "success": "simulated"}
    assert tic["alive"] is True
    assert echo == "ech+hb"
    assert {each["code"] for each in wrong} == {"bad_request"}
    assert farewell == {"result": "unsubscribed from summary"}


async def test_every_kind_of_subscription_works(harness: Harness, sim: Simulator) -> None:
    """Those of IBKR's reference."""
    await up(harness)
    wanted = {
        f'smd+{AAPL}+{{"fields":["31"]}}': f"smd+{AAPL}",
        "sor+{}": "sor",
        "str+{}": "str",
        "spl+{}": "spl",
        "ssd+DU1234567+{}": "ssd+DU1234567",
        "sld+DU1234567+{}": "sld+DU1234567",
        f'smh+{AAPL}+{{"period":"1d","bar":"1h"}}': f"smh+{AAPL}",
        f"sbd+DU1234567+{AAPL}": f"sbd+DU1234567+{AAPL}",
    }
    async with open_websocket(harness) as client:
        for command, topic in wanted.items():
            await client.send(command)
            assert (await client.receive(topic))["topic"] == topic


async def test_a_fault_of_ours_ends_the_socket_in_its_own_words(
    harness: Harness, sim: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An answer of HTTP would be no frame."""
    await up(harness)

    def fail(*_: object) -> None:
        raise KeyError("secret")

    async with open_websocket(harness) as client:
        await client.receive()
        monkeypatch.setattr(harness.bridge.profile.streaming.hub, "subscribe", fail)
        await client.send("sor+{}")
        with pytest.raises(EOFError) as closed:
            while True:
                await client.receive()
    (failed,) = await harness.wait_for_events(events.RequestFailed)

    assert "1011" in str(closed.value)
    assert "secret" not in harness.written.getvalue()
    assert failed.error == "KeyError"  # type: ignore[attr-defined]


async def test_an_address_of_ours_may_end_with_a_slash(harness: Harness) -> None:
    """As IBKR's own clients write it."""
    await up(harness)
    async with open_sse(harness, "/stream/session/") as session:
        assert (await session.receive()).data["state"] == "ready"
    assert (await harness.get("/orders/")).status == 200
    assert (await harness.get("/health/", key=None)).status == 401


async def test_a_plain_request_for_a_socket_is_refused(harness: Harness) -> None:
    """In words."""
    refused = await harness.get("/ws")

    assert (refused.status, refused.code) == (400, "bad_request")


async def test_nobody_streams_without_a_key(harness: Harness) -> None:
    """Neither way."""
    for target in (QUOTES, "/stream/session", "/ws", "/v1/api/ws"):
        refused = await harness.get(target, key=None)
        assert (refused.status, refused.code) == (401, "invalid_key")
    with pytest.raises(aiohttp.WSServerHandshakeError) as told:
        async with open_websocket(harness, key="wrong" * 10):
            pass
    assert told.value.status == 401


# -- keys


async def test_a_rotated_key_ends_what_was_opened_with_it(harness: Harness, sim: Simulator) -> None:
    """At once, with the reason; the previous key goes on for as long as it is accepted."""
    await up(harness)
    async with open_sse(harness, QUOTES) as quotes, open_websocket(harness) as client:
        await quotes.receive()
        settings = harness.bridge.settings
        harness.bridge.keys.replace(dataclasses.replace(settings, key=ANOTHER, key_previous=KEY))
        await quotes.receive_until(has("31"))

        harness.bridge.keys.replace(dataclasses.replace(settings, key=ANOTHER))
        end = await quotes.receive("end")
        with pytest.raises(EOFError) as closed:
            while True:
                await client.receive()

    assert end.data == {"reason": "key_rotated"}
    assert "1008" in str(closed.value) and "key_rotated" in str(closed.value)


async def test_a_token_opens_streams_until_its_key_is_rotated(harness: Harness, sim: Simulator) -> None:
    """In the query, as browsers can; it is nowhere in the log."""
    await up(harness)
    token = (await harness.post("/auth/token")).json["token"]
    async with (
        open_sse(harness, f"{QUOTES}&token={token}", key=None) as quotes,
        open_websocket(harness, f"/ws?token={token}", key=None, Origin="http://localhost:3001") as client,
    ):
        await quotes.receive()
        await client.receive()
        settings = harness.bridge.settings
        harness.bridge.keys.replace(dataclasses.replace(settings, key=ANOTHER, key_previous=KEY))
        end = await quotes.receive("end")

    assert end.data == {"reason": "key_rotated"}
    assert token not in harness.written.getvalue()


async def test_streams_end_when_the_bridge_does(open_harness: Open, sim: Simulator) -> None:
    """At once, with the reason; nobody waits for them."""
    harness = await up(await open_harness())
    async with open_sse(harness, QUOTES) as quotes, open_websocket(harness) as client:
        await quotes.receive()
        await client.receive()

        unfinished = await within(harness.finish())
        end = await quotes.receive("end")

    assert end.data == {"reason": "shutting_down"}
    assert unfinished == 0


# -- one who asks for too much


async def test_a_chart_that_is_too_long_keeps_nobody_in_the_dark(harness: Harness, sim: Simulator) -> None:
    """The Gateway ends the whole socket over it, each time; it is found out, and its reader is told."""
    await up(harness)
    async with open_sse(harness, QUOTES) as quotes, open_websocket(harness) as client:
        await quotes.receive_until(has("31", "84"))

        await client.send('smh+8314+{"period":"1w","bar":"1min"}')
        problem = await client.receive_until(lambda told: told.get("code") == "subscription_quarantined")
        await client.send('smh+8314+{"period":"1w","bar":"1min"}')
        refused = await client.receive("error")
        lost = len([event for event in harness.events_seen if isinstance(event, events.FeedLost)])
        await quotes.receive_until(has("31"))

    assert "too long" in problem["error"]
    assert refused["code"] == "bad_request"
    assert lost <= 3
