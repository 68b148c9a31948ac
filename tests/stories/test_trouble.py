"""Everything that can go wrong between the bridge and IBKR, and the one clear answer callers get for each."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ibkr_bridge import events
from ibkr_bridge.session.state_machine import SessionState
from ibkr_bridge.sim.market_stage import MarketStage
from ibkr_bridge.upstream.gateway import exchange
from tests.clocks import ManualClock
from tests.conftest import Open
from tests.harness import PATIENCE, Harness, Placed, Reply, settings_for, within

ORDER = Placed()


def said(reply: Reply) -> tuple[int, str | None]:
    """What programs switch on."""
    return reply.status, reply.code


async def test_a_gateway_that_is_not_there(open_harness: Open, unused_tcp_port: int) -> None:
    """Nothing was sent; the hint says what to start."""
    harness = await open_harness(ready=False, gateway=f"https://127.0.0.1:{unused_tcp_port}")

    reply = await harness.get("/portfolio/accounts")

    assert said(reply) == (503, "gateway_unreachable")
    assert "IBeam" in reply.json["hint"]
    assert "Retry-After" in reply.headers


async def test_a_gateway_that_goes_away(harness: Harness, sim: MarketStage) -> None:
    """The first call finds out, for a read and an order alike: no connection, so nothing was sent."""
    sim.faults.add("refuse")

    read = await harness.get("/portfolio/accounts")
    order = await harness.post(ORDER.target, ORDER.body)

    assert said(read) == said(order) == (503, "gateway_unreachable")
    await harness.wait_until(SessionState.UNREACHABLE)


async def test_a_gateway_that_comes_back(harness: Harness, sim: MarketStage) -> None:
    """Nobody has to restart the bridge."""
    sim.faults.add("refuse")
    await harness.get("/portfolio/accounts")
    await harness.wait_until(SessionState.UNREACHABLE)

    sim.faults.clear()
    await harness.wait_until(SessionState.READY)

    assert (await harness.get("/portfolio/accounts")).status == 200


async def test_a_port_that_accepts_and_never_greets(open_harness: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """Connected, and not a byte of TLS: silence, told within the connect deadline."""
    monkeypatch.setattr(exchange, "CONNECT_TIMEOUT_S", 0.5)
    held: list[asyncio.StreamWriter] = []
    silent = await asyncio.start_server(lambda _, writer: held.append(writer), "127.0.0.1", 0)
    harness = await open_harness(ready=False, gateway=f"https://127.0.0.1:{silent.sockets[0].getsockname()[1]}")

    await harness.wait_until(SessionState.SILENT)

    assert (await harness.get("/gateway/auth-status", key=None)).json["reason"] == "gateway_timeout"
    silent.close()
    for writer in held:
        writer.close()


async def test_a_port_that_speaks_no_tls(open_harness: Open) -> None:
    """The hint names the setting."""

    async def plain(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.0 400 Bad Request\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(plain, "127.0.0.1", 0)
    harness = await open_harness(ready=False, gateway=f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}")

    reply = await harness.get("/portfolio/accounts")

    assert said(reply) == (503, "gateway_unreachable")
    assert "IBKR_GATEWAY_URL" in reply.json["hint"]
    server.close()


async def test_silence_ends_with_our_own_deadline(harness: Harness, sim: MarketStage) -> None:
    """The Gateway itself would let callers wait for ever."""
    sim.faults.add("silence", path="/portfolio/accounts", times=1)

    reply = await harness.get("/portfolio/accounts")

    assert said(reply) == (504, "gateway_timeout")


async def test_an_order_that_meets_silence_is_unknown_not_failed(harness: Harness, sim: MarketStage) -> None:
    """It may have been placed; whoever sends it again may own twice as much."""
    sim.faults.add("silence", path=ORDER.target, times=1)

    reply = await harness.post(ORDER.target, ORDER.body)

    assert said(reply) == (502, "order_unknown")
    assert not reply.json["retryable"]
    assert "do not send it again" in reply.json["hint"]
    assert len(sim.calls(ORDER.target)) == 1
    assert [event for event in harness.events_seen if isinstance(event, events.OrderLost)]


async def test_a_change_that_meets_silence_is_unknown_too(harness: Harness, sim: MarketStage) -> None:
    """It is no order, so nobody looks for it; the log tells."""
    sim.faults.add("silence", path="/iserver/watchlist", times=1)

    reply = await harness.post("/iserver/watchlist", {"id": "1", "name": "mine"})

    assert said(reply) == (502, "order_unknown")
    assert "X-Bridge-Order" not in reply.headers
    assert [event for event in harness.events_seen if isinstance(event, events.ChangeUnknown)]


async def test_a_late_answer_frees_its_place_and_reaches_nobody_else(harness: Harness, sim: MarketStage) -> None:
    """The connection it comes on is never used again."""
    sim.faults.add("delay", path="/portfolio/accounts", times=3, seconds=1.6)

    late = await asyncio.gather(*(harness.get("/portfolio/accounts") for _ in range(3)))
    taken = harness.bridge.profile.admission.slots_taken
    reply = await harness.get("/portfolio/DU1234567/meta", headers={"X-Bridge-Wait": "5"})

    assert {said(each) for each in late} == {(504, "gateway_timeout")}
    assert taken == 3  # they are still at work over there
    assert (reply.status, reply.json["id"]) == (200, "DU1234567")


@pytest.mark.parametrize("fault", ["cut-before", "garble"])
async def test_a_broken_answer_to_a_read(harness: Harness, sim: MarketStage, fault: str) -> None:
    """One clear word for whatever is not HTTP."""
    sim.faults.add(fault, path="/portfolio/accounts")

    assert said(await harness.get("/portfolio/accounts")) == (502, "gateway_protocol_error")


async def test_a_read_cut_before_its_first_byte_is_asked_once_more(harness: Harness, sim: MarketStage) -> None:
    """Nothing had been received, and a read harms nobody."""
    sim.faults.add("cut-before", path="/portfolio/accounts", times=1)

    assert (await harness.get("/portfolio/accounts")).status == 200


@pytest.mark.parametrize("fault", ["cut-before", "cut-in", "garble", "empty-503", "stall-in", "die-in", "drop"])
async def test_an_order_whose_answer_is_lost_is_unknown_and_never_sent_again(
    harness: Harness, sim: MarketStage, fault: str
) -> None:
    """Whatever became of the answer, the order went out exactly once."""
    sim.faults.add(fault, path=ORDER.target)

    reply = await harness.post(ORDER.target, ORDER.body)

    assert said(reply) == (502, "order_unknown")
    assert len(sim.gateway_calls(ORDER.target)) == 1


@pytest.mark.parametrize(
    ("method", "target"),
    [("DELETE", "/iserver/account/DU1234567/order/1"), ("PUT", "/iserver/account/DU1234567/something/new")],
)
async def test_what_changes_something_is_never_sent_twice(
    harness: Harness, sim: MarketStage, method: str, target: str
) -> None:
    """HTTP libraries repeat these by themselves, as they call them idempotent."""
    sim.faults.add("cut-before", path="/iserver/account/DU1234567")

    reply = await harness.request(method, target)

    assert said(reply) == (502, "order_unknown")
    assert len(sim.gateway_calls(target)) == 1


@pytest.mark.parametrize("fault", ["cut-in", "stall-in", "die-in"])
async def test_half_an_answer_is_no_answer(harness: Harness, sim: MarketStage, fault: str) -> None:
    """Small ones are held until they are whole."""
    sim.faults.add(fault, path="/portfolio/accounts", times=1)

    reply = await harness.get("/portfolio/accounts")

    assert reply.code in ("gateway_protocol_error", "gateway_timeout")


async def test_a_401_is_explained_not_passed_on(harness: Harness, sim: MarketStage) -> None:
    """The caller's key is fine: either the session is gone, or IBKR refuses this call to this user."""
    sim.faults.add("status", path="/portfolio/accounts", times=1, status=401, body="")
    refused = await harness.get("/portfolio/accounts")

    sim.log_out()
    gone = await harness.get("/portfolio/accounts")

    assert said(refused) == (403, "upstream_refused")
    assert said(gone) == (503, "session_unavailable")


async def test_access_denied_names_the_list(harness: Harness, sim: MarketStage) -> None:
    """Users look for it in IBKR's documentation, in vain."""
    sim.faults.add("denied")

    first = await harness.get("/portfolio/accounts")
    await harness.wait_until(SessionState.UNREACHABLE)
    then = await harness.get("/portfolio/accounts")
    status = await harness.get("/gateway/auth-status", key=None)

    assert said(first) == said(then) == (503, "gateway_forbidden")
    assert "ips.allow" in first.json["hint"]
    assert "conf.yaml" in first.json["hint"]
    assert (status.json["reason"], "ips.allow" in status.json["hint"]) == ("gateway_forbidden", True)


@pytest.mark.parametrize(("headers", "wait"), [({"Retry-After": "7"}, "7"), ({"Retry-After": "soon"}, "5"), ({}, "5")])
async def test_too_many_requests_come_with_a_time(
    harness: Harness, sim: MarketStage, headers: dict[str, str], wait: str
) -> None:
    """IBKR rarely says how long; callers are told the period of the limit."""
    sim.faults.add("429", path="/portfolio/accounts", times=1, headers=headers)

    reply = await harness.get("/portfolio/accounts")

    assert said(reply) == (429, "rate_limited")
    assert reply.headers["Retry-After"] == wait


async def test_nobody_signed_in_is_answered_without_a_trip(harness: Harness, sim: MarketStage) -> None:
    """The Gateway is left in peace, and the hint says where to sign in."""
    sim.log_out()
    await harness.wait_until(SessionState.SIGNED_OUT)
    before = len(sim.gateway_calls("/portfolio"))

    reply = await harness.get("/portfolio/accounts")

    assert said(reply) == (503, "session_unavailable")
    assert "sign in" in reply.json["hint"]
    assert len(sim.gateway_calls("/portfolio")) == before


async def test_a_caller_may_wait_for_the_session(harness: Harness, sim: MarketStage) -> None:
    """Nothing is sent while it waits, so that it is safe for orders too."""
    sim.log_out()
    await harness.wait_until(SessionState.SIGNED_OUT)
    order = asyncio.create_task(harness.post(ORDER.target, ORDER.body, headers={"X-Bridge-Wait": "20"}))

    sim.log_in()
    reply = await order

    assert reply.status == 200
    assert len(sim.calls(ORDER.target)) == 1


async def test_the_portfolio_needs_only_the_login(open_harness: Open, sim: MarketStage) -> None:
    """While another session competes, positions can still be read; quotes cannot."""
    harness = await open_harness(IBKR_COMPETE="yield")
    sim.start_competing()
    await harness.wait_until(SessionState.COMPETING)

    portfolio = await harness.get("/portfolio/accounts")
    quotes = await harness.get("/iserver/marketdata/snapshot?conids=265598&fields=31")

    assert portfolio.status == 200
    assert said(quotes) == (503, "session_unavailable")
    assert "IBeam" in quotes.json["hint"]


async def test_a_known_window_is_maintenance_not_an_alarm(sim: MarketStage, tmp_path: Path) -> None:
    """Saturday evening in New York: the answer says until when, the log does not shout."""
    saturday = ManualClock(datetime(2026, 6, 20, 23, 0, tzinfo=UTC))
    sim.faults.add("maintenance")
    async with Harness(settings_for(sim.url, tmp_path, IBKR_BRIDGE_MAINTENANCE="sat 18:00-24:00"), saturday) as harness:
        await harness.wait_until(SessionState.SILENT)

        reply = await harness.get("/portfolio/accounts")

    assert said(reply) == (503, "maintenance")
    assert reply.headers["Retry-After"] == str(5 * 3600)
    assert [event.level for event in harness.events_seen if isinstance(event, events.SessionChanged)] == ["info"]


async def test_a_window_does_not_hide_that_somebody_has_to_sign_in(sim: MarketStage, tmp_path: Path) -> None:
    """A login does not come back by itself when the window ends."""
    saturday = ManualClock(datetime(2026, 6, 20, 23, 0, tzinfo=UTC))
    sim.log_out()
    async with Harness(settings_for(sim.url, tmp_path, IBKR_BRIDGE_MAINTENANCE="sat 18:00-24:00"), saturday) as harness:
        await harness.wait_until(SessionState.SIGNED_OUT)

        reply = await harness.get("/portfolio/accounts")

    assert said(reply) == (503, "session_unavailable")
    assert "sign in" in reply.json["hint"]


async def test_our_own_bug_is_told_by_its_id_alone(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    """The caller learns where to look, not what we were doing; the log learns the place, not the words."""

    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("secret words")

    monkeypatch.setattr(harness.bridge.profile.admission, "acquire", broken)

    reply = await harness.get("/portfolio/accounts", headers={"X-Request-ID": "find-me"})

    assert said(reply) == (500, "internal")
    assert reply.json["request_id"] == "find-me"
    assert "secret words" not in reply.body.decode() + harness.written.getvalue()
    failed = [event for event in harness.events_seen if isinstance(event, events.RequestFailed)]
    assert (failed[0].error, "admission_gate.py" in failed[0].places) == ("ZeroDivisionError", True)


async def test_a_caller_who_hangs_up_in_the_queue_is_forgotten(open_harness: Open, sim: MarketStage) -> None:
    """Its order is never sent: nobody would learn what became of it."""
    harness = await open_harness(IBKR_GATEWAY_TIMEOUT="2")
    cancel = "/iserver/account/DU1234567/order/{}"
    sim.faults.add("silence", path="/DU1234567/order/", times=4)
    stuck = [asyncio.create_task(harness.request("DELETE", cancel.format(number))) for number in range(1, 5)]
    await within(sim.wait_for_calls("/DU1234567/order/", 4))
    waiting = asyncio.create_task(harness.post("/iserver/account/DU7654321/orders", Placed("DU7654321").body))
    async with asyncio.timeout(PATIENCE):
        while not harness.bridge.profile.admission.waiting().total():
            await asyncio.sleep(0)

    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    sim.faults.clear()
    await asyncio.gather(*stuck)
    await harness.wait_for_events(events.RequestServed, 5)

    assert not sim.calls("DU7654321/orders")


@pytest.mark.parametrize("place", ["/proc/self/nowhere", "file"])
async def test_a_state_directory_that_cannot_be_is_said_and_survived(
    sim: MarketStage, tmp_path: Path, place: str
) -> None:
    """Reads go on, orders do not; what is not kept is named."""
    (tmp_path / "file").write_text("not a directory")
    async with Harness(settings_for(sim.url, tmp_path / place)) as harness:
        await harness.wait_until(SessionState.READY)

        read = await harness.get("/portfolio/accounts")
        pause = await harness.post("/gateway/pause")
        order = await harness.post(ORDER.target, ORDER.body)

    assert read.status == 200
    assert (pause.json["paused"], pause.json["kept"]) == (True, False)
    assert order.code == "journal_unavailable"
    told = [event for event in harness.events_seen if isinstance(event, events.StateUnavailable)]
    assert {event.what for event in told} >= {"the state directory", "the pause file"}


class Delay:
    """A way to the Gateway on which a new connection has to wait until it is let through."""

    def __init__(self, sim: MarketStage) -> None:
        self._port = sim.port
        self._writers: list[asyncio.StreamWriter] = []
        self.open = asyncio.Event()
        self.knocked = asyncio.Event()
        self.open.set()

    async def meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Forward one connection, both ways."""
        self.knocked.set()
        await self.open.wait()
        there_reader, there_writer = await asyncio.open_connection("127.0.0.1", self._port)
        self._writers += [writer, there_writer]
        await asyncio.gather(self._pour(reader, there_writer), self._pour(there_reader, writer))

    async def _pour(self, source: asyncio.StreamReader, drain: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while chunk := await source.read(65536):
                drain.write(chunk)
        drain.close()

    def close(self) -> None:
        """Cut everything."""
        for writer in self._writers:
            writer.close()


@pytest.mark.parametrize("what", ["the caller hangs up", "somebody pauses"])
async def test_an_order_is_looked_at_once_more_when_its_connection_stands(
    sim: MarketStage, tmp_path: Path, what: str
) -> None:
    """Connecting may take seconds; an order whose caller has gone, or which was stopped meanwhile, stays here."""
    way = Delay(sim)
    server = await asyncio.start_server(way.meet, "127.0.0.1", 0)
    url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with Harness(settings_for(url, tmp_path)) as harness:
        await harness.wait_until(SessionState.READY)
        await harness.wait_for_events(events.FeedUp)  # which makes a connection of its own
        way.open.clear()
        way.knocked.clear()
        order = asyncio.create_task(harness.post(ORDER.target, ORDER.body))
        await way.knocked.wait()

        if what == "somebody pauses":
            assert (await harness.post("/gateway/pause")).status == 200
        else:
            order.cancel()
            await asyncio.gather(order, return_exceptions=True)
            while (
                harness.bridge.drain.in_flight
                and harness.bridge.profile.admission.slots_taken
                and not way.open.is_set()
            ):
                way.open.set()
        way.open.set()
        outcome = (await asyncio.gather(order, return_exceptions=True))[0]
        await harness.wait_for_events(events.RequestServed)
        taken = harness.bridge.profile.admission.slots_taken
    server.close()
    way.close()

    assert not sim.gateway_calls(ORDER.target)
    assert taken == 0
    if isinstance(outcome, Reply):
        assert said(outcome) == (403, "trading_paused")


async def test_an_order_whose_caller_left_before_the_answer_is_told_in_the_log(
    harness: Harness, sim: MarketStage
) -> None:
    """It was placed, and nobody heard: somebody has to find out."""
    sim.faults.add("delay", path=ORDER.target, seconds=0.3, times=1)
    order = asyncio.create_task(harness.post(ORDER.target, ORDER.body))
    await sim.wait_for_calls(ORDER.target, 1)

    order.cancel()
    (unheard,) = await harness.wait_for_events(events.OrderResponseUndelivered)

    assert isinstance(unheard, events.OrderResponseUndelivered)
    assert (unheard.state, unheard.order_id) == ("placed", "1000000001")


async def test_who_waits_for_the_session_is_told_when_the_bridge_ends(harness: Harness, sim: MarketStage) -> None:
    """Nothing was sent; the next instance will take it."""
    sim.log_out()
    await harness.wait_until(SessionState.SIGNED_OUT)
    waiting = asyncio.create_task(harness.post(ORDER.target, ORDER.body, headers={"X-Bridge-Wait": "60"}))
    while not harness.bridge.drain.orders_in_flight:
        await asyncio.sleep(0)

    await harness.finish()

    assert said(await waiting) == (503, "shutting_down")


async def test_all_places_held_by_the_unanswered_is_not_ready(harness: Harness, sim: MarketStage) -> None:
    """Signed in, and still no call can pass."""
    sim.faults.add("silence", path="/portfolio", times=3)
    await asyncio.gather(*(harness.get("/portfolio/accounts") for _ in range(3)))

    reply = await harness.get("/readyz", key=None)

    assert reply.status == 503
    assert reply.body.startswith(b"busy: ")


async def test_being_paced_is_not_taken_for_an_open_session(harness: Harness, sim: MarketStage) -> None:
    """IBKR answers 429 to every look: after five seconds nobody knows, and that is what is told."""
    sim.faults.add("429", path="/auth/status")
    sim.lose_brokerage()
    keeper = harness.bridge.profile.keeper
    keeper.request_check()
    await keeper.check_now()
    keeper.checked_at -= 10

    told = await harness.get("/gateway/auth-status", key=None)

    assert (told.json["authenticated"], told.json["reason"]) == (False, "rate_limited")
