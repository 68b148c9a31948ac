"""Streams, from IBKR's socket to the subscribers."""

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
from tests.conftest import OpenHarness
from tests.harness import KEY, READONLY_KEY, Harness, Placement, with_timeout
from tests.stream_clients import StreamEvent, open_sse, open_websocket

AAPL, IBM, MSFT = 265598, 8314, 272093
QUOTES = f"/stream/quotes?conids={AAPL}&fields=31,84"
ANOTHER = "another-key-for-tests-0123456789-abcd"


async def with_feed(harness: Harness) -> Harness:
    """The harness, once its feed is connected."""
    await harness.wait_for_events(events.FeedUp)
    return harness


def commands_received(sim: Simulator) -> list[str]:
    """The commands that IBKR received on its socket, without the keep-alives."""
    return [text for text in sim.market.stream.received if text != "tic"]


def has(*names: str) -> Any:
    """A condition: the event is a quote with these fields."""
    return lambda event: event.name == "message" and all(name in event.data for name in names)


# -- quotes


async def test_quotes_are_sent_as_events(harness: Harness, sim: Simulator) -> None:
    """Each has an id and JSON with the requested fields only."""
    async with open_sse(await with_feed(harness), QUOTES) as quotes:
        first = await quotes.receive()

    assert (first.name, first.data["conid"]) == ("message", AAPL)
    assert {"31", "84"} <= first.data.keys() and not {"86", "85"} & first.data.keys()
    assert first.id
    assert quotes.retry == "3000"
    headers = quotes.reply.headers
    assert headers["Content-Type"] == "text/event-stream; charset=utf-8"
    assert (headers["Cache-Control"], headers["X-Accel-Buffering"]) == ("no-store, no-transform", "no")


async def test_two_readers_have_different_fields(harness: Harness, sim: Simulator) -> None:
    """IBKR is asked for the fields of both, and each reader gets its own."""
    await with_feed(harness)
    async with open_sse(harness, QUOTES) as one, open_sse(harness, f"/stream/quotes?conids={AAPL}&fields=86") as other:
        first = await one.receive_until(has("31", "84"))
        second = await other.receive_until(has("86"))
        await sim.market.stream.wait_for_message(f'smd+{AAPL}+{{"fields":["31","84","86"]}}')

    assert all(not {"86"} & event.data.keys() for event in first)
    assert all(not {"31", "84"} & event.data.keys() for event in second)


async def test_a_new_subscriber_gets_the_complete_quote_at_once(harness: Harness, sim: Simulator) -> None:
    """With its age; nothing is sent to IBKR."""
    await with_feed(harness)
    async with open_sse(harness, QUOTES) as first:
        await first.receive_until(has("31", "84"))
        count = len(commands_received(sim))
        async with open_sse(harness, QUOTES) as second:
            quote = await second.receive()

    assert {"31", "84", "_age"} <= quote.data.keys()
    assert 0 <= quote.data["_age"] < 5
    assert len(commands_received(sim)) == count


async def test_a_subscription_without_subscribers_ends_after_a_grace_period(harness: Harness, sim: Simulator) -> None:
    """It begins when the last subscriber has left."""
    await with_feed(harness)
    async with open_sse(harness, QUOTES) as first:
        await first.receive()
        async with open_sse(harness, QUOTES) as second:
            await second.receive()
    hub = harness.bridge.profile.streaming.hub
    await with_timeout(_wait_until_unused(hub))
    assert f"umd+{AAPL}+{{}}" not in commands_received(sim)

    for subscription in hub.upstream_subscriptions:
        subscription.unused_since = float("-inf")  # the grace period is over

    await with_timeout(sim.market.stream.wait_for_message(f"umd+{AAPL}+{{}}"))


async def _wait_until_unused(hub: Any) -> None:
    while hub.subscribers:
        await asyncio.sleep(0)


async def test_the_hundred_and_first_contract_is_refused(harness: Harness, sim: Simulator) -> None:
    """IBKR would send nothing for it and report no error."""
    await with_feed(harness)
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
    async with open_sse(harness, target) as stream:
        return stream.reply.status


async def test_market_data_lines_of_snapshots_are_released_for_streams(harness: Harness, sim: Simulator) -> None:
    """The line whose snapshot was requested first is released."""
    await with_feed(harness)
    for start in (0, 50):
        many = ",".join(str(900_000_001 + start + number) for number in range(50))
        await harness.get(f"/iserver/marketdata/snapshot?conids={many}&fields=31")

    async with open_sse(harness, QUOTES) as quotes:
        event = await quotes.receive()

    assert event.data["conid"] == AAPL
    assert "umd+900000001+{}" in commands_received(sim)


TOO_MANY = "?conids=" + ",".join(map(str, range(101)))


@pytest.mark.parametrize("query", ["", "?conids=", "?conids=abc", "?conids=1&fields=x", "?conids=1,-2", TOO_MANY])
async def test_a_stream_with_an_invalid_query_is_refused(harness: Harness, query: str) -> None:
    """The response is an ordinary error, not a stream."""
    refused = await harness.get(f"/stream/quotes{query}")

    assert (refused.status, refused.code) == (400, "bad_request")


async def test_unsubscribing_concerns_the_caller_only(open_harness: OpenHarness, sim: Simulator) -> None:
    """IBKR would end the quotes of all callers. A market data line that nobody else uses is released on the socket."""
    harness = await with_feed(await open_harness(IBKR_BRIDGE_READONLY_KEY=READONLY_KEY))
    async with open_sse(harness, QUOTES) as quotes:
        await quotes.receive()
        await harness.get(f"/iserver/marketdata/snapshot?conids={AAPL},{IBM},{MSFT}&fields=31")
        await harness.get(f"/iserver/marketdata/snapshot?conids={IBM}&fields=31", key=READONLY_KEY)

        streamed = await harness.post("/iserver/marketdata/unsubscribe", {"conid": AAPL})
        shared = await harness.post("/iserver/marketdata/unsubscribe", {"conid": IBM})
        own = await harness.post("/iserver/marketdata/unsubscribe", {"conid": MSFT})
        everything = await harness.get("/iserver/marketdata/unsubscribeall")
        await quotes.receive_until(has("31"))

    assert [reply.json for reply in (streamed, shared, own)] == [{"success": True}] * 3
    assert everything.json == {"unsubscribed": True}
    assert everything.headers["X-Bridge-Source"] == "bridge"
    assert sim.calls("/marketdata/unsubscribe") == []
    assert [text for text in commands_received(sim) if text.startswith("umd")] == [f"umd+{MSFT}+{{}}"]


# -- the feed


@pytest.mark.gateway_only("there is no Gateway that could restart")
async def test_fifty_readers_stay_connected_during_a_restart_of_the_gateway(harness: Harness, sim: Simulator) -> None:
    """All get `stale`, then `fresh`, then a complete quote."""
    await with_feed(harness)
    async with AsyncExitStack() as stack:
        readers = [await stack.enter_async_context(open_sse(harness, QUOTES)) for _ in range(50)]
        await asyncio.gather(*(reader.receive_until(has("31", "84")) for reader in readers))

        await sim.restart()
        await asyncio.gather(*(reader.receive("stale") for reader in readers))
        sim.log_in()
        received = await asyncio.gather(*(reader.receive_until(has("31", "84")) for reader in readers))

    names = [[event.name for event in events_] for events_ in received]
    assert all("fresh" in reader_names and "stale" not in reader_names for reader_names in names)
    assert all(reader_names.index("fresh") < len(reader_names) - 1 for reader_names in names)


async def test_a_lost_brokerage_session_is_noticed_at_once(harness: Harness, sim: Simulator) -> None:
    """Before the keeper's next check, which may be three seconds away."""
    await with_feed(harness)
    async with open_sse(harness, QUOTES) as quotes, open_websocket(harness) as client:
        await quotes.receive_until(has("31", "84"))

        sim.lose_brokerage()
        stale = await quotes.receive("stale")
        fresh = await quotes.receive("fresh")
        await quotes.receive_until(has("31", "84"))
        messages = [await client.receive("system"), await client.receive("system"), await client.receive("system")]

    (lost,) = [event for event in harness.events_seen if isinstance(event, events.SessionLost)]
    assert lost.reason == "brokerage_lost"
    assert stale.data["reason"] == "brokerage_lost"
    assert stale.data["since"] <= fresh.data["since"]
    assert [sorted(message.keys() - {"topic"})[0] for message in messages] == ["success", "stale", "fresh"]


async def test_a_client_that_subscribes_before_the_session_is_ready(open_harness: OpenHarness, sim: Simulator) -> None:
    """Its commands are not lost: it is told to wait, and gets its quotes later."""
    sim.lose_brokerage()
    sim.start_competing()
    harness = await open_harness(ready=False, IBKR_COMPETE="yield")
    await harness.wait_until(SessionState.COMPETING)
    async with open_websocket(harness) as client, open_sse(harness, QUOTES) as quotes:
        await client.send(f'smd+{AAPL}+{{"fields":["31"]}}')
        first = [await client.receive(), await client.receive()]
        stale = await quotes.receive()

        sim.market.world.sessions.open_brokerage(sim.clock.now(), compete=True, is_established=True)
        await client.receive_until(lambda message: "success" in message)
        quote = await client.receive(f"smd+{AAPL}")
        fresh = await quotes.receive()

    assert first[0] == {"message": "waiting for session"}
    assert first[1]["stale"]["reason"] == "competing"
    assert (stale.name, stale.data["reason"], fresh.name) == ("stale", "competing", "fresh")
    assert "31" in quote


async def test_a_socket_that_is_cut_is_opened_again(harness: Harness, sim: Simulator) -> None:
    """All subscriptions are requested again."""
    await with_feed(harness)
    async with open_sse(harness, QUOTES) as quotes:
        await quotes.receive_until(has("31", "84"))

        await sim.market.stream.close_all(4001)
        stale = await quotes.receive("stale")
        await quotes.receive("fresh")
        await quotes.receive_until(has("31", "84"))

    assert stale.data["reason"] == "stream_disconnected"
    assert commands_received(sim).count(f'smd+{AAPL}+{{"fields":["31","84"]}}') == 2


@pytest.mark.parametrize(
    "nonsense",
    [
        *(b"\xff\xfe not json", b"[1,2,3]", b"{", b"null", b'{"topic":7}', b'{"topic":"smd+1","args":9}', b"[" * 9000),
        *(b'{"topic":[1]}', b'{"topic":{}}', b'{"topic":"sor","args":{"x":[]}}', b'{"topic":"sts","args":[1]}'),
        b'{"topic":"sor","args":[' + b'{"a":' * 970 + b"1" + b"}" * 970 + b"]}",
    ],
)
async def test_invalid_frames_are_ignored(harness: Harness, sim: Simulator, nonsense: bytes) -> None:
    """The next frame is read."""
    await with_feed(harness)
    async with (
        open_sse(harness, QUOTES) as quotes,
        open_sse(harness, "/stream/orders"),
        open_websocket(harness) as client,
    ):
        await client.send('ssd+DU1234567+{"keys":["AccountCode"]}')
        await quotes.receive_until(has("31", "84"))

        await sim.market.stream.send_bytes_to_all(nonsense)
        await sim.market.stream.send_to_all(json.dumps({"topic": f"smd+{AAPL}", "conid": AAPL, "31": "sense"}))
        received = await quotes.receive_until(lambda event: event.data.get("31") == "sense")

    assert all(event.name == "message" for event in received)


@pytest.mark.gateway_only("the limit of a frame is that of the Gateway")
async def test_the_feed_reconnects_after_a_frame_that_is_too_large(harness: Harness, sim: Simulator) -> None:
    """The Gateway closes the socket because of it."""
    await with_feed(harness)
    async with open_sse(harness, QUOTES) as quotes:
        await quotes.receive_until(has("31", "84"))

        await sim.market.stream.send_to_all("x" * 70_000)
        await quotes.receive("stale")
        await quotes.receive("fresh")
        await quotes.receive_until(has("31", "84"))


@pytest.mark.parametrize("figure", ["NaN", "-Infinity", "1e999"])
async def test_figures_that_json_cannot_express_become_null(harness: Harness, sim: Simulator, figure: str) -> None:
    """A browser could not parse them."""
    await with_feed(harness)
    async with open_sse(harness, QUOTES) as quotes:
        await quotes.receive_until(has("31", "84"))
        await sim.market.stream.send_to_all(f'{{"topic":"smd+{AAPL}","conid":{AAPL},"31":{figure}}}')
        received = await quotes.receive_until(lambda event: event.data.get("31") is None and "31" in event.data)

    assert received[-1].data["31"] is None


# -- orders, trades, profit and loss


async def test_orders_are_streamed_with_all_known_fields(harness: Harness, sim: Simulator) -> None:
    """IBKR sends only the fields that changed; a subscriber gets the complete order."""
    await with_feed(harness)
    async with open_sse(harness, "/stream/orders") as orders, open_sse(harness, "/stream/trades") as trades:
        await with_timeout(sim.market.stream.wait_for_message("sor+{}"))
        await harness.post(Placement().target, Placement().body)
        order = (await orders.receive_until(lambda event: event.data.get("status") == "Filled"))[-1]
        trade = await trades.receive()

    assert (order.name, order.data["conid"], order.data["ticker"]) == ("message", AAPL, "AAPL")
    assert trade.data["order_ref"] == order.data["order_ref"]


async def test_missed_events_are_replayed(harness: Harness, sim: Simulator) -> None:
    """From `Last-Event-ID` on. For an id of another process the stream sends `gap` and the complete state."""
    await with_feed(harness)
    async with open_sse(harness, "/stream/orders") as orders:
        await with_timeout(sim.market.stream.wait_for_message("sor+{}"))
        await harness.post(Placement().target, Placement().body)
        last = (await orders.receive_until(lambda event: event.data.get("status") == "Filled"))[-1]
        async with open_sse(harness, "/stream/orders") as meanwhile:
            second = await harness.post(Placement().target, Placement(quantity=2).body)
            await meanwhile.receive_until(
                lambda event: _is_about(event, second) and event.data.get("status") == "Filled"
            )

    async with open_sse(harness, "/stream/orders", Last_Event_ID=last.id) as resumed:
        missed = await resumed.receive_until(lambda event: event.data.get("status") == "Filled")
    async with open_sse(harness, "/stream/orders", Last_Event_ID="of-another-run-7") as unknown:
        gap, *rows = [await unknown.receive() for _ in range(3)]

    assert all(_is_about(event, second) for event in missed)
    assert (gap.name, gap.data) == ("gap", {"after": "of-another-run-7"})
    assert len({row.data["orderId"] for row in rows}) == 2


def _is_about(event: StreamEvent, placed: Any) -> bool:
    return bool(str(event.data.get("orderId")) == placed.json[0]["order_id"])


async def test_profit_and_loss_is_streamed_by_account(harness: Harness, sim: Simulator) -> None:
    """There is one event for each account."""
    async with open_sse(await with_feed(harness), "/stream/pnl") as pnl:
        rows = [await pnl.receive(), await pnl.receive()]

    assert {row.data["key"] for row in rows} == {"DU1234567.Core", "DU7654321.Core"}
    assert all("dpl" in row.data for row in rows)


# -- the session


async def test_the_session_is_streamed_without_market_data(harness: Harness, sim: Simulator) -> None:
    """First the current state, then each change; but never `stale`."""
    await with_feed(harness)
    async with open_sse(harness, "/stream/session") as session:
        first = await session.receive()
        sim.lose_brokerage()
        received = await session.receive_until(lambda event: event.data["state"] == "ready")

    assert (first.data["state"], first.data["authenticated"]) == ("ready", True)
    assert [event.data["state"] for event in received] == ["opening", "ready"]
    assert (received[0].data["reason"], received[0].data["authenticated"]) == ("brokerage_lost", False)
    assert all(event.name == "message" for event in received)


# -- existing clients


async def test_commands_are_those_of_ibkr(harness: Harness, sim: Simulator) -> None:
    """The answers are IBKR's too, in text frames; an unknown command gets an error."""
    await with_feed(harness)
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
        echo = await client.receive_until(lambda message: isinstance(message, str))
        errors = [await client.receive("error") for _ in range(4)]
        confirmation = await client.receive()

    assert greeting == {"topic": "system", "success": "simulated"}
    assert tic["alive"] is True
    assert echo == "ech+hb"
    assert {error["code"] for error in errors} == {"bad_request"}
    assert confirmation == {"result": "unsubscribed from summary"}


async def test_every_kind_of_subscription_works(harness: Harness, sim: Simulator) -> None:
    """All that IBKR's reference lists."""
    await with_feed(harness)
    topics = {
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
        for command, topic in topics.items():
            await client.send(command)
            assert (await client.receive(topic))["topic"] == topic


async def test_a_bug_closes_the_socket_with_code_1011(
    harness: Harness, sim: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An HTTP response would not be a valid frame."""
    await with_feed(harness)

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


async def test_a_path_of_the_bridge_may_end_with_a_slash(harness: Harness) -> None:
    """IBKR's own clients add one."""
    await with_feed(harness)
    async with open_sse(harness, "/stream/session/") as session:
        assert (await session.receive()).data["state"] == "ready"
    assert (await harness.get("/orders/")).status == 200
    assert (await harness.get("/health/", key=None)).status == 401


async def test_a_request_without_upgrade_to_the_socket_is_refused(harness: Harness) -> None:
    """The response is an ordinary error."""
    refused = await harness.get("/ws")

    assert (refused.status, refused.code) == (400, "bad_request")


async def test_streams_and_sockets_need_a_key(harness: Harness) -> None:
    """No path works without one."""
    for target in (QUOTES, "/stream/session", "/ws", "/v1/api/ws"):
        refused = await harness.get(target, key=None)
        assert (refused.status, refused.code) == (401, "invalid_key")
    with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
        async with open_websocket(harness, key="wrong" * 10):
            pass
    assert caught.value.status == 401


# -- keys


async def test_a_rotated_key_ends_the_streams_opened_with_it(harness: Harness, sim: Simulator) -> None:
    """At once, with the reason; the previous key remains valid as long as it is in the settings."""
    await with_feed(harness)
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
    """The token is in the query, as browsers cannot send headers here; it is not logged."""
    await with_feed(harness)
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


async def test_streams_end_when_the_bridge_ends(open_harness: OpenHarness, sim: Simulator) -> None:
    """At once, with the reason; the end does not wait for them."""
    harness = await with_feed(await open_harness())
    async with open_sse(harness, QUOTES) as quotes, open_websocket(harness) as client:
        await quotes.receive()
        await client.receive()

        unfinished = await with_timeout(harness.finish())
        end = await quotes.receive("end")

    assert end.data == {"reason": "shutting_down"}
    assert unfinished == 0


# -- a subscription that ends the feed


@pytest.mark.gateway_only("the limit of a frame is that of the Gateway")
async def test_a_chart_that_is_too_long_is_quarantined(harness: Harness, sim: Simulator) -> None:
    """The Gateway closes the socket of all subscribers because of it; the bridge finds out which one it was."""
    await with_feed(harness)
    async with open_sse(harness, QUOTES) as quotes, open_websocket(harness) as client:
        await quotes.receive_until(has("31", "84"))

        await client.send('smh+8314+{"period":"1w","bar":"1min"}')
        problem = await client.receive_until(lambda message: message.get("code") == "subscription_quarantined")
        await client.send('smh+8314+{"period":"1w","bar":"1min"}')
        refused = await client.receive("error")
        lost = len([event for event in harness.events_seen if isinstance(event, events.FeedLost)])
        await quotes.receive_until(has("31"))

    assert "too long" in problem["error"]
    assert refused["code"] == "bad_request"
    assert lost <= 3
