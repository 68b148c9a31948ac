"""Session calls in IBKR's format, answered by the keeper however often clients send them."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from ibkr_bridge.events import SessionOpening
from ibkr_bridge.session import keeper, session_api, session_status
from ibkr_bridge.session.session_status import MAX_AGE_S
from ibkr_bridge.session.state_machine import SessionState
from ibkr_bridge.sim.simulator import Simulator
from tests.clocks import ManualClock
from tests.conftest import OpenHarness
from tests.harness import READONLY_KEY, Harness, settings_for, with_timeout

STATUS = "/iserver/auth/status"
INIT = "/iserver/auth/ssodh/init"
REAUTHENTICATE = "/iserver/reauthenticate"
PREFIXES = ("", "/v1/api")


def call_count(sim: Simulator, part: str) -> int:
    """How many calls of the bridge with this part in their target have reached the Gateway."""
    return len(sim.gateway_calls(part))


async def wait_for_state(harness: Harness, state: SessionState) -> None:
    """Make the keeper check the session at once, and wait until it is in this state."""
    harness.bridge.profile.keeper.request_check()
    await harness.wait_until(state)


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_the_status_has_ibkrs_format(harness: Harness, method: str) -> None:
    """Clients need not know that a bridge answers."""
    reply, with_prefix = [await harness.request(method, prefix + STATUS) for prefix in PREFIXES]

    assert (reply.status, reply.body) == (200, with_prefix.body)
    assert reply.headers["X-Bridge-Source"] == "bridge"
    assert set(reply.json) >= {"authenticated", "connected", "competing", "established", "MAC", "serverInfo"}
    assert (reply.json["authenticated"], reply.json["connected"], reply.json["competing"]) == (True, True, False)


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_the_tickle_has_ibkrs_format(harness: Harness, method: str) -> None:
    """With the session id for the client's websocket, and the remaining time of the login."""
    reply, with_prefix = [await harness.request(method, f"{prefix}/tickle") for prefix in PREFIXES]

    assert (reply.status, with_prefix.json["session"]) == (200, reply.json["session"])
    assert (len(reply.json["session"]), reply.json["userId"]) == (32, 123456789)
    assert reply.json["iserver"]["authStatus"]["authenticated"] is True
    assert 0 < reply.json["ssoExpires"] <= 600_000


async def test_the_remaining_time_decreases(sim: Simulator, tmp_path: Path) -> None:
    """It is computed at the time of the request, not at that of the tickle."""
    clock = ManualClock()
    async with Harness(settings_for(sim.url, tmp_path), clock) as harness:
        await harness.wait_until(SessionState.READY)
        await with_timeout(sim.wait_for_calls("/iserver/account/orders"))  # the last call of the keeper's round
        first = await harness.get("/tickle")
        clock._now += MAX_AGE_S - 1.0  # the time passes without a check

        second = await harness.get("/tickle")

    assert first.json["ssoExpires"] - second.json["ssoExpires"] == (MAX_AGE_S - 1.0) * 1000


@pytest.mark.parametrize("path", ["/tickle", STATUS])
async def test_a_hundred_calls_send_nothing_to_ibkr(sim: Simulator, tmp_path: Path, path: str) -> None:
    """Clients may poll as often as they like. The clock stands still, so the keeper sends nothing either."""
    clock = ManualClock()
    async with Harness(settings_for(sim.url, tmp_path), clock) as harness:
        await harness.wait_until(SessionState.READY)
        await with_timeout(sim.wait_for_calls("/iserver/account/orders"))  # the last call of the keeper's round
        before = len(sim.gateway_calls())

        replies = [
            await harness.request(method, prefix + path)
            for method in ("GET", "POST")
            for prefix in PREFIXES
            for _ in range(25)
        ]

        assert {reply.status for reply in replies} == {200}
        assert len(sim.gateway_calls()) == before


@pytest.mark.parametrize("path", ["/tickle", STATUS, INIT, REAUTHENTICATE])
async def test_without_a_login_each_call_is_refused(harness: Harness, sim: Simulator, path: str) -> None:
    """With the same error as every other call."""
    sim.log_out()
    await wait_for_state(harness, SessionState.SIGNED_OUT)

    for prefix in PREFIXES:
        reply = await harness.post(prefix + path, {})

        assert (reply.status, reply.code) == (503, "session_unavailable")
        assert "sign in" in reply.json["hint"]
        assert "Retry-After" in reply.headers
        assert reply.json["error"] == reply.json["detail"]  # clients of IBKR's API read this member


async def test_the_status_of_a_lost_brokerage_session(harness: Harness, sim: Simulator) -> None:
    """The login still exists; IBKR's format has a flag for each."""
    sim.faults.add("status", path=INIT, status=500)
    sim.lose_brokerage()
    await wait_for_state(harness, SessionState.OPENING)

    reply = await harness.get(STATUS)

    assert (reply.status, reply.json["authenticated"], reply.json["connected"]) == (200, False, True)


async def test_the_status_of_a_competing_session(open_harness: OpenHarness, sim: Simulator) -> None:
    """IBKR's format has a flag for it."""
    harness = await open_harness(IBKR_COMPETE="yield")
    sim.start_competing()
    await wait_for_state(harness, SessionState.COMPETING)

    assert (await harness.get(STATUS)).json["competing"] is True


@pytest.mark.parametrize("path", ["/tickle", STATUS])
async def test_an_old_check_is_not_reported_as_the_present_state(
    sim: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    """The Gateway does not answer, so `authenticated: true` of ten seconds ago may be wrong."""
    monkeypatch.setattr(session_status, "CHECK_TIMEOUT_S", 0.15)
    clock = ManualClock()
    async with Harness(settings_for(sim.url, tmp_path), clock) as harness:
        await harness.wait_until(SessionState.READY)
        await clock.wait_for_sleepers(2)  # the keeper, and the cookies that were saved
        sim.faults.add("silence", path=STATUS)
        clock.advance(2 * MAX_AGE_S)

        reply = await harness.get(path)

    assert (reply.status, reply.code) == (503, "session_unavailable")


async def test_a_failed_tickle_is_repeated(
    open_harness: OpenHarness, sim: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the `session` of a tickle a client could not open its websocket for a minute."""
    monkeypatch.setattr(keeper, "TICKLE_RETRY_S", 0.2)
    sim.faults.add("status", path="/tickle", times=1, status=500)
    harness = await open_harness()

    reply = await harness.get("/tickle")

    assert reply.status == 200
    assert len(reply.json["session"]) == 32


async def test_failing_tickles_do_not_cause_a_check_for_each_caller(
    open_harness: OpenHarness, sim: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Callers may send them as often as they like, even while IBKR fails."""
    monkeypatch.setattr(session_status, "CHECK_TIMEOUT_S", 0.15)
    sim.faults.add("status", path="/tickle", status=500)
    harness = await open_harness()
    checks = call_count(sim, STATUS)

    for _ in range(6):
        await harness.get("/tickle")

    assert call_count(sim, STATUS) <= checks + 2


async def test_a_request_for_the_session_reopens_it(harness: Harness, sim: Simulator) -> None:
    """The keeper checks the session, opens it with its own call, and answers when it is open."""
    sim.lose_brokerage()

    reply = await harness.post(INIT, {"publish": False, "compete": False, "x": "y"})

    assert (reply.status, reply.json["authenticated"]) == (200, True)
    (call,) = [call for call in sim.gateway_calls(INIT) if call.method == "POST"]
    assert call.json() == {"publish": True, "compete": True}


async def test_a_request_for_an_open_session_sends_nothing_to_ibkr(harness: Harness, sim: Simulator) -> None:
    """Some clients send one every minute."""
    replies = [await harness.post(INIT, {"publish": True, "compete": True}) for _ in range(3)]

    assert {reply.status for reply in replies} == {200}
    assert call_count(sim, INIT) == 0


async def test_many_requests_for_the_session_are_limited(
    open_harness: OpenHarness, sim: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While IBKR refuses, twenty requests cause a few attempts, not twenty."""
    monkeypatch.setattr(keeper, "CHECK_TIMEOUT_S", 0.2)
    harness = await open_harness()
    sim.faults.add("status", path=INIT, status=500)
    sim.lose_brokerage()
    harness.bridge.profile.keeper.request_check()
    await harness.wait_for_events(SessionOpening)

    replies = await asyncio.gather(*(harness.post(INIT, {}) for _ in range(20)))

    assert {reply.json["authenticated"] for reply in replies} == {False}
    assert call_count(sim, INIT) <= 3


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("prefix", PREFIXES)
async def test_reauthenticate_makes_the_keeper_check_and_is_not_sent_on(
    harness: Harness, sim: Simulator, method: str, prefix: str
) -> None:
    """The Gateway would repeat its whole login, and its response would not say whether that worked."""
    checks = call_count(sim, STATUS)

    reply = await harness.request(method, prefix + REAUTHENTICATE)
    await sim.wait_for_gateway_calls(STATUS, checks + 1)

    assert (reply.status, reply.json) == (200, {"message": "triggered"})
    assert call_count(sim, REAUTHENTICATE) == 0


@pytest.mark.parametrize(
    ("path", "allowed"),
    [("/tickle", "GET, POST"), (STATUS, "GET, POST"), (INIT, "POST"), (REAUTHENTICATE, "GET, POST")],
)
async def test_other_methods_are_refused(harness: Harness, sim: Simulator, path: str, allowed: str) -> None:
    """The error has the allowed methods, and nothing is sent to the Gateway."""
    others = [method for method in ("GET", "PUT", "DELETE") if method not in allowed]
    before = len(sim.gateway_calls(path)) if path != STATUS else 0

    replies = [await harness.request(method, prefix + path) for prefix in PREFIXES for method in others]

    assert {(reply.status, reply.code, reply.headers["Allow"]) for reply in replies} == {
        (405, "method_not_allowed", allowed)
    }
    assert not [call for call in sim.gateway_calls(path)[before:] if call.method in others and path != STATUS]


async def test_the_read_only_key_may_send_them(open_harness: OpenHarness) -> None:
    """They change nothing."""
    harness = await open_harness(IBKR_BRIDGE_READONLY_KEY=READONLY_KEY)

    for path in ("/tickle", STATUS):
        for method in ("GET", "POST"):
            assert (await harness.request(method, path, key=READONLY_KEY)).status == 200


async def test_the_session_id_is_not_in_the_log(harness: Harness) -> None:
    """Only callers with a key get it."""
    session = (await harness.get("/tickle")).json["session"]

    assert session not in harness.written.getvalue()


async def test_the_path_may_end_with_a_slash(harness: Harness, sim: Simulator) -> None:
    """Some clients send it; the keeper answers them too."""
    await sim.wait_for_gateway_calls("/tickle")
    before = call_count(sim, "/tickle")

    assert (await harness.get("/tickle/")).json["session"]
    assert (await harness.post(STATUS + "/")).json["authenticated"] is True
    assert call_count(sim, "/tickle") == before


async def test_an_unreachable_gateway_has_its_own_error(harness: Harness, sim: Simulator) -> None:
    """The hint differs from that of a missing login."""
    sim.faults.add("refuse")
    await wait_for_state(harness, SessionState.UNREACHABLE)

    assert (await harness.get(STATUS)).code == "gateway_unreachable"


async def test_a_check_is_shorter_than_the_wait_of_a_caller() -> None:
    """A check that hangs must not block every caller."""
    assert session_api.CHECK_TIMEOUT_S <= MAX_AGE_S
    assert session_status.CHECK_TIMEOUT_S < session_api.CHECK_TIMEOUT_S
