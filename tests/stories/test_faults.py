"""What can go wrong between the bridge and IBKR, and the error that callers get for each case."""

from __future__ import annotations

import asyncio
import dataclasses
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ibkr_bridge import events
from ibkr_bridge.session.state_machine import SessionState
from ibkr_bridge.sim.market_stage import MarketStage
from ibkr_bridge.upstream.http import exchange
from tests.clocks import ManualClock
from tests.conftest import OpenHarness
from tests.harness import FAST_OPTIONS, TEST_TIMEOUT_S, Harness, Placement, Reply, settings_for, with_timeout

ORDER = Placement()


def error_of(reply: Reply) -> tuple[int, str | None]:
    """Status and error code, by which programs decide."""
    return reply.status, reply.code


async def test_a_gateway_that_is_not_running(open_harness: OpenHarness, unused_tcp_port: int) -> None:
    """Nothing is sent; the hint says what to start."""
    harness = await open_harness(ready=False, gateway=f"https://127.0.0.1:{unused_tcp_port}")

    reply = await harness.get("/portfolio/accounts")

    assert error_of(reply) == (503, "gateway_unreachable")
    assert "IBeam" in reply.json["hint"]
    assert "Retry-After" in reply.headers


async def test_a_gateway_that_stops(harness: Harness, sim: MarketStage) -> None:
    """The first call notices it. Neither a read nor an order gets a connection, so nothing was sent."""
    sim.faults.add("refuse")

    read = await harness.get("/portfolio/accounts")
    order = await harness.post(ORDER.target, ORDER.body)

    assert error_of(read) == error_of(order) == (503, "gateway_unreachable")
    await harness.wait_until(SessionState.UNREACHABLE)


async def test_a_gateway_that_starts_again(harness: Harness, sim: MarketStage) -> None:
    """The bridge need not be restarted."""
    sim.faults.add("refuse")
    await harness.get("/portfolio/accounts")
    await harness.wait_until(SessionState.UNREACHABLE)

    sim.faults.clear()
    await harness.wait_until(SessionState.READY)

    assert (await harness.get("/portfolio/accounts")).status == 200


async def test_a_port_that_accepts_and_sends_nothing(
    open_harness: OpenHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The TLS handshake gets no answer: the timeout is reported within the deadline for connecting."""
    monkeypatch.setattr(exchange, "CONNECT_TIMEOUT_S", 0.5)
    writers: list[asyncio.StreamWriter] = []
    silent = await asyncio.start_server(lambda _, writer: writers.append(writer), "127.0.0.1", 0)
    harness = await open_harness(ready=False, gateway=f"https://127.0.0.1:{silent.sockets[0].getsockname()[1]}")

    await harness.wait_until(SessionState.SILENT)

    assert (await harness.get("/gateway/auth-status", key=None)).json["reason"] == "gateway_timeout"
    silent.close()
    for writer in writers:
        writer.close()


async def test_a_port_without_tls(open_harness: OpenHarness) -> None:
    """The hint names the setting."""

    async def send_plain_http(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.0 400 Bad Request\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(send_plain_http, "127.0.0.1", 0)
    harness = await open_harness(ready=False, gateway=f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}")

    reply = await harness.get("/portfolio/accounts")

    assert error_of(reply) == (503, "gateway_unreachable")
    assert "IBKR_GATEWAY_URL" in reply.json["hint"]
    server.close()


@pytest.mark.unanswered
async def test_a_call_without_a_response_ends_at_the_bridges_deadline(harness: Harness, sim: MarketStage) -> None:
    """The Gateway itself would let callers wait without end."""
    sim.faults.add("silence", path="/portfolio/accounts", times=1)

    reply = await harness.get("/portfolio/accounts")

    assert error_of(reply) == (504, "gateway_timeout")


@pytest.mark.unanswered
async def test_an_order_without_a_response_is_unknown_not_failed(harness: Harness, sim: MarketStage) -> None:
    """It may have been placed; a caller that sends it again may buy twice."""
    sim.faults.add("silence", path=ORDER.target, times=1)

    reply = await harness.post(ORDER.target, ORDER.body)

    assert error_of(reply) == (502, "order_unknown")
    assert not reply.json["retryable"]
    assert "do not send it again" in reply.json["hint"]
    assert len(sim.calls(ORDER.target)) == 1
    assert [event for event in harness.events_seen if isinstance(event, events.OrderLost)]


@pytest.mark.unanswered
async def test_a_change_without_a_response_is_unknown_too(harness: Harness, sim: MarketStage) -> None:
    """It is not an order, so it is not reconciled; it is logged."""
    sim.faults.add("silence", path="/iserver/watchlist", times=1)

    reply = await harness.post("/iserver/watchlist", {"id": "1", "name": "mine"})

    assert error_of(reply) == (502, "order_unknown")
    assert "X-Bridge-Order" not in reply.headers
    assert [event for event in harness.events_seen if isinstance(event, events.ChangeUnknown)]


@pytest.mark.unanswered
async def test_a_late_response_frees_its_slot_and_reaches_no_other_caller(harness: Harness, sim: MarketStage) -> None:
    """Its connection is never used again."""
    sim.faults.add("delay", path="/portfolio/accounts", times=3, seconds=2.0)

    late_calls = await asyncio.gather(*(harness.get("/portfolio/accounts") for _ in range(3)))
    ghost_calls = harness.bridge.profile.upstream.abandoned
    reply = await harness.get("/portfolio/DU1234567/meta", headers={"X-Bridge-Wait": "5"})

    assert {error_of(reply) for reply in late_calls} == {(504, "gateway_timeout")}
    assert ghost_calls == 3  # the Gateway still works on them
    assert (reply.status, reply.json["id"]) == (200, "DU1234567")


@pytest.mark.parametrize("fault", ["cut-before", "garble"])
async def test_a_broken_response_to_a_read(harness: Harness, sim: MarketStage, fault: str) -> None:
    """Whatever is not HTTP has the same error code."""
    sim.faults.add(fault, path="/portfolio/accounts")

    assert error_of(await harness.get("/portfolio/accounts")) == (502, "gateway_protocol_error")


async def test_a_read_that_is_cut_before_the_response_is_sent_once_more(harness: Harness, sim: MarketStage) -> None:
    """No byte of the response had come, and a read changes nothing."""
    sim.faults.add("cut-before", path="/portfolio/accounts", times=1)

    assert (await harness.get("/portfolio/accounts")).status == 200


@pytest.mark.parametrize("fault", ["cut-before", "cut-in", "garble", "empty-503", "stall-in", "die-in", "drop"])
@pytest.mark.unanswered
async def test_an_order_whose_response_is_lost_is_unknown_and_never_repeated(
    harness: Harness, sim: MarketStage, fault: str
) -> None:
    """However the response was lost, the order was sent exactly once."""
    sim.faults.add(fault, path=ORDER.target)

    reply = await harness.post(ORDER.target, ORDER.body)

    assert error_of(reply) == (502, "order_unknown")
    assert len(sim.gateway_calls(ORDER.target)) == 1


@pytest.mark.parametrize(
    ("method", "target"),
    [("DELETE", "/iserver/account/DU1234567/order/1"), ("PUT", "/iserver/account/DU1234567/something/new")],
)
async def test_a_change_is_never_sent_twice(harness: Harness, sim: MarketStage, method: str, target: str) -> None:
    """HTTP libraries repeat these methods on their own, as the methods count as idempotent."""
    sim.faults.add("cut-before", path="/iserver/account/DU1234567")

    reply = await harness.request(method, target)

    assert error_of(reply) == (502, "order_unknown")
    assert len(sim.gateway_calls(target)) == 1


@pytest.mark.parametrize("fault", ["cut-in", "stall-in", "die-in"])
@pytest.mark.unanswered
async def test_half_a_response_is_an_error(harness: Harness, sim: MarketStage, fault: str) -> None:
    """Small responses are buffered until they are complete."""
    sim.faults.add(fault, path="/portfolio/accounts", times=1)

    reply = await harness.get("/portfolio/accounts")

    assert reply.code in ("gateway_protocol_error", "gateway_timeout")


async def test_a_401_of_the_gateway_is_not_passed_on(harness: Harness, sim: MarketStage) -> None:
    """The caller's key is valid: either the session is gone, or IBKR does not allow this call for this user."""
    sim.faults.add("status", path="/portfolio/accounts", times=1, status=401, body="")
    refused = await harness.get("/portfolio/accounts")

    sim.log_out()
    without_login = await harness.get("/portfolio/accounts")

    assert error_of(refused) == (403, "upstream_refused")
    assert error_of(without_login) == (503, "session_unavailable")


async def test_access_denied_names_the_setting_of_the_gateway(harness: Harness, sim: MarketStage) -> None:
    """IBKR's documentation does not name it."""
    sim.faults.add("denied")

    first = await harness.get("/portfolio/accounts")
    await harness.wait_until(SessionState.UNREACHABLE)
    second = await harness.get("/portfolio/accounts")
    status = await harness.get("/gateway/auth-status", key=None)

    assert error_of(first) == error_of(second) == (503, "gateway_forbidden")
    assert "ips.allow" in first.json["hint"]
    assert "conf.yaml" in first.json["hint"]
    assert (status.json["reason"], "ips.allow" in status.json["hint"]) == ("gateway_forbidden", True)


@pytest.mark.parametrize(("headers", "wait"), [({"Retry-After": "7"}, "7"), ({"Retry-After": "soon"}, "5"), ({}, "5")])
async def test_too_many_requests_have_a_retry_after(
    harness: Harness, sim: MarketStage, headers: dict[str, str], wait: str
) -> None:
    """IBKR rarely sends one; then callers get the period of the limit."""
    sim.faults.add("429", path="/portfolio/accounts", times=1, headers=headers)

    reply = await harness.get("/portfolio/accounts")

    assert error_of(reply) == (429, "rate_limited")
    assert reply.headers["Retry-After"] == wait


async def test_without_a_login_nothing_is_sent_to_the_gateway(harness: Harness, sim: MarketStage) -> None:
    """The hint says where to sign in."""
    sim.log_out()
    await harness.wait_until_checked(SessionState.SIGNED_OUT)
    before = len(sim.gateway_calls("/portfolio"))

    reply = await harness.get("/portfolio/accounts")

    assert error_of(reply) == (503, "session_unavailable")
    assert "sign in" in reply.json["hint"]
    assert len(sim.gateway_calls("/portfolio")) == before


async def test_a_caller_may_wait_for_the_session(harness: Harness, sim: MarketStage) -> None:
    """Nothing is sent while it waits, so waiting is safe for orders too."""
    sim.log_out()
    await harness.wait_until_checked(SessionState.SIGNED_OUT)
    order = asyncio.create_task(harness.post(ORDER.target, ORDER.body, headers={"X-Bridge-Wait": "20"}))

    sim.log_in()
    reply = await order

    assert reply.status == 200
    assert len(sim.calls(ORDER.target)) == 1


async def test_the_portfolio_needs_only_the_login(open_harness: OpenHarness, sim: MarketStage) -> None:
    """While another session competes, positions can still be read; quotes cannot."""
    harness = await open_harness(IBKR_COMPETE="yield")
    sim.start_competing()
    await harness.wait_until_checked(SessionState.COMPETING)

    portfolio = await harness.get("/portfolio/accounts")
    quotes = await harness.get("/iserver/marketdata/snapshot?conids=265598&fields=31")

    assert portfolio.status == 200
    assert error_of(quotes) == (503, "session_unavailable")
    assert "IBeam" in quotes.json["hint"]


async def test_an_outage_in_a_known_window_is_maintenance(sim: MarketStage, tmp_path: Path) -> None:
    """Saturday evening in New York: the response says until when, and the log has no warning."""
    saturday = ManualClock(datetime(2026, 6, 20, 23, 0, tzinfo=UTC))
    sim.faults.add("maintenance")
    async with Harness(settings_for(sim.url, tmp_path, IBKR_BRIDGE_MAINTENANCE="sat 18:00-24:00"), saturday) as harness:
        await harness.wait_until(SessionState.SILENT)

        reply = await harness.get("/portfolio/accounts")

    assert error_of(reply) == (503, "maintenance")
    assert reply.headers["Retry-After"] == str(5 * 3600)
    assert [event.level for event in harness.events_seen if isinstance(event, events.SessionChanged)] == ["notice"]


async def test_a_window_does_not_hide_that_a_login_is_needed(sim: MarketStage, tmp_path: Path) -> None:
    """A login does not come back by itself when the window ends."""
    saturday = ManualClock(datetime(2026, 6, 20, 23, 0, tzinfo=UTC))
    sim.log_out()
    async with Harness(settings_for(sim.url, tmp_path, IBKR_BRIDGE_MAINTENANCE="sat 18:00-24:00"), saturday) as harness:
        await harness.wait_until(SessionState.SIGNED_OUT)

        reply = await harness.get("/portfolio/accounts")

    assert error_of(reply) == (503, "session_unavailable")
    assert "sign in" in reply.json["hint"]


async def test_a_bug_is_reported_to_the_caller_by_its_id_alone(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The caller gets the request id only; the log gets the place of the error, but not its message."""

    def raise_error(*_: object, **__: object) -> None:
        raise ZeroDivisionError("secret words")

    monkeypatch.setattr(harness.bridge.profile.admission, "acquire", raise_error)

    reply = await harness.get("/portfolio/accounts", headers={"X-Request-ID": "find-me"})

    assert error_of(reply) == (500, "internal")
    assert reply.json["request_id"] == "find-me"
    assert "secret words" not in reply.body.decode() + harness.written.getvalue()
    failed = [event for event in harness.events_seen if isinstance(event, events.RequestFailed)]
    assert (failed[0].error, "admission_gate.py" in failed[0].places) == ("ZeroDivisionError", True)


async def test_an_order_whose_caller_hangs_up_in_the_queue_is_not_sent(sim: MarketStage, tmp_path: Path) -> None:
    """Its outcome would reach nobody."""
    assert FAST_OPTIONS.limits is not None
    one_slot = dataclasses.replace(FAST_OPTIONS.limits, slots=1, slots_for_orders=0)
    options = dataclasses.replace(FAST_OPTIONS, limits=one_slot)
    settings = settings_for(sim.url, tmp_path, IBKR_GATEWAY_TIMEOUT="1.5", IBKR_BRIDGE_MAX_WAIT="2")
    async with Harness(settings, options=options) as harness:
        await harness.wait_until(SessionState.READY)
        sim.faults.add("silence", path="/portfolio/DU1234567/meta")
        silent_call = asyncio.create_task(harness.get("/portfolio/DU1234567/meta"))
        await with_timeout(sim.wait_for_calls("/portfolio/DU1234567/meta"))
        queued = asyncio.create_task(harness.post("/iserver/account/DU7654321/orders", Placement("DU7654321").body))
        async with asyncio.timeout(TEST_TIMEOUT_S):
            while not harness.bridge.profile.admission.waiting().total():
                await asyncio.sleep(0)

        queued.cancel()
        await asyncio.gather(queued, return_exceptions=True)
        await silent_call
        await harness.wait_for_events(events.RequestServed, 2)

        assert not sim.calls("DU7654321/orders")


@pytest.mark.parametrize("directory", ["/proc/self/nowhere", "file"])
async def test_a_state_directory_that_cannot_be_created_is_reported(
    sim: MarketStage, tmp_path: Path, directory: str
) -> None:
    """Reads continue, orders are refused; an event names the directory, and the pause says that it is not kept."""
    (tmp_path / "file").write_text("not a directory")
    async with Harness(settings_for(sim.url, tmp_path / directory)) as harness:
        await harness.wait_until(SessionState.READY)

        read = await harness.get("/portfolio/accounts")
        pause = await harness.post("/gateway/pause")
        order = await harness.post(ORDER.target, ORDER.body)

    assert read.status == 200
    assert (pause.json["paused"], pause.json["kept"]) == (True, False)
    assert order.code == "journal_unavailable"
    unsaved = [event for event in harness.events_seen if isinstance(event, events.StateUnavailable)]
    assert "the state directory" in {event.what for event in unsaved}


class DelayingProxy:
    """A proxy in front of the Gateway that holds new connections until a test lets them pass."""

    def __init__(self, sim: MarketStage) -> None:
        self._port = sim.port
        self._writers: list[asyncio.StreamWriter] = []
        self.may_connect = asyncio.Event()
        self.has_connection = asyncio.Event()
        self.may_connect.set()

    async def forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Forward one connection in both directions."""
        self.has_connection.set()
        await self.may_connect.wait()
        gateway_reader, gateway_writer = await asyncio.open_connection("127.0.0.1", self._port)
        self._writers += [writer, gateway_writer]
        await asyncio.gather(self._copy(reader, gateway_writer), self._copy(gateway_reader, writer))

    async def _copy(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while chunk := await source.read(65536):
                target.write(chunk)
        target.close()

    def close(self) -> None:
        """Cut all connections."""
        for writer in self._writers:
            writer.close()


@pytest.mark.parametrize("change", ["the caller hangs up", "trading is paused"])
async def test_an_order_is_checked_again_when_its_connection_is_open(
    sim: MarketStage, tmp_path: Path, change: str
) -> None:
    """Connecting may take seconds. If the caller has left or trading was paused by then, the order is not sent."""
    proxy = DelayingProxy(sim)
    server = await asyncio.start_server(proxy.forward, "127.0.0.1", 0)
    url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with Harness(settings_for(url, tmp_path)) as harness:
        await harness.wait_until(SessionState.READY)
        await harness.wait_for_events(events.FeedUp)  # the feed has a connection of its own
        proxy.may_connect.clear()
        proxy.has_connection.clear()
        order = asyncio.create_task(harness.post(ORDER.target, ORDER.body))
        await proxy.has_connection.wait()

        if change == "trading is paused":
            assert (await harness.post("/gateway/pause")).status == 200
        else:
            order.cancel()
            await asyncio.gather(order, return_exceptions=True)
            while (
                harness.bridge.drain.in_flight
                and harness.bridge.profile.admission.slots_taken
                and not proxy.may_connect.is_set()
            ):
                proxy.may_connect.set()
        proxy.may_connect.set()
        outcome = (await asyncio.gather(order, return_exceptions=True))[0]
        await harness.wait_for_events(events.RequestServed)
        slots_taken = harness.bridge.profile.admission.slots_taken
    server.close()
    proxy.close()

    assert not sim.gateway_calls(ORDER.target)
    assert slots_taken == 0
    if isinstance(outcome, Reply):
        assert error_of(outcome) == (403, "trading_paused")


async def test_an_order_whose_caller_left_before_the_response_is_logged(harness: Harness, sim: MarketStage) -> None:
    """It was placed, and its caller does not know."""
    sim.faults.add("delay", path=ORDER.target, seconds=0.3, times=1)
    order = asyncio.create_task(harness.post(ORDER.target, ORDER.body))
    await sim.wait_for_calls(ORDER.target, 1)

    order.cancel()
    (event,) = await harness.wait_for_events(events.OrderResponseUndelivered)

    assert isinstance(event, events.OrderResponseUndelivered)
    assert (event.state, event.order_id) == ("placed", "1000000001")


async def test_a_caller_that_waits_for_the_session_is_refused_when_the_bridge_ends(
    harness: Harness, sim: MarketStage
) -> None:
    """Nothing was sent; the caller can send the order to the next process."""
    sim.log_out()
    await harness.wait_until_checked(SessionState.SIGNED_OUT)
    queued = asyncio.create_task(harness.post(ORDER.target, ORDER.body, headers={"X-Bridge-Wait": "60"}))
    while not harness.bridge.drain.orders_in_flight:
        await asyncio.sleep(0)

    await harness.finish()

    assert error_of(await queued) == (503, "shutting_down")


@pytest.mark.parametrize("windows", ["none", "daily 00:00-24:00"])
async def test_the_first_refusals_of_a_maintenance_are_no_pages(
    open_harness: OpenHarness, sim: MarketStage, windows: str
) -> None:
    """IBKR answers all with a page before any check has noticed it; a program cannot read that."""
    harness = await open_harness(IBKR_BRIDGE_MAINTENANCE=windows)
    sim.faults.add("maintenance")

    replies = [await harness.get("/portfolio/accounts", headers={"X-Bridge-Max-Age": "0"}) for _ in range(2)]

    code = "session_unavailable" if windows == "none" else "maintenance"
    assert [error_of(reply) for reply in replies] == [(503, code)] * 2


async def test_a_change_that_meets_the_beginning_of_a_maintenance_may_have_happened(
    harness: Harness, sim: MarketStage
) -> None:
    """The first caller gets neither IBKR's page nor an invitation to send the change again."""
    sim.faults.add("maintenance")

    reply = await harness.post("/iserver/account", {"acctId": "DU1234567"})
    (event,) = await harness.wait_for_events(events.ChangeUnknown)

    assert error_of(reply) == (502, "order_unknown")
    assert reply.headers["Content-Type"].startswith("application/problem+json")
    assert "may have happened" in reply.json["detail"]
    assert isinstance(event, events.ChangeUnknown)
    assert event.route == "/iserver/account"


async def test_a_page_of_one_endpoint_is_passed_on(harness: Harness, sim: MarketStage) -> None:
    """The session is fine: the page is IBKR's answer to this call."""
    sim.faults.add("html-500", path="/portfolio/DU1234567/meta", times=1)

    reply = await harness.get("/portfolio/DU1234567/meta")

    assert (reply.status, reply.body[:6]) == (500, b"<html>")


async def test_a_rate_limited_check_is_not_taken_for_an_open_session(harness: Harness, sim: MarketStage) -> None:
    """IBKR answers 429 to every check. After five seconds the state is unknown, and the status says so."""
    sim.faults.add("429", path="/auth/status")
    sim.lose_brokerage()
    keeper = harness.bridge.profile.keeper
    keeper.request_check()
    await keeper.check_now()
    keeper.checked_at -= 10

    status = await harness.get("/gateway/auth-status", key=None)

    assert (status.json["authenticated"], status.json["reason"]) == (False, "rate_limited")
