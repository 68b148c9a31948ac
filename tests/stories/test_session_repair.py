"""Sessions that are broken although a flag of `auth/status` says otherwise: what callers see, and the repair."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ibkr_bridge.events import AccountNotSelected, SessionOpening
from ibkr_bridge.session.state_machine import SessionState
from ibkr_bridge.sim.simulator import Simulator
from tests.harness import Harness, settings_for

INIT, STATUS, ACCOUNTS = "/iserver/auth/ssodh/init", "/iserver/auth/status", "/iserver/accounts"
READ, SELECT = "/iserver/account/DU1234567/summary", "/iserver/account"
LOGGED_OUT_BODY = '{"authenticated":%s,"connected":false,"competing":false}'


def openings(sim: Simulator) -> int:
    """How often the bridge requested the brokerage session."""
    return len([call for call in sim.gateway_calls(INIT) if call.method == "POST"])


def states(harness: Harness) -> list[str]:
    """The states of the session so far."""
    return [state for state, _ in harness.session_changes]


# -- auth/status shows a session, brokerage calls are refused


async def test_two_refused_calls_make_the_session_unusable_until_one_works(harness: Harness, sim: Simulator) -> None:
    """The session is requested again, and a brokerage call proves that it works."""
    sim.faults.add("no-bridge")

    replies = [await harness.get(READ, headers={"X-Bridge-Max-Age": "0"}) for _ in range(2)]
    await harness.wait_until(SessionState.UNUSABLE)
    said = harness.bridge.profile.keeper.ibkr_message
    await harness.wait_until(SessionState.READY)

    assert [reply.status for reply in replies] == [400, 400]
    assert (openings(sim), harness.session_changes[-2]) == (1, ("unusable", "brokerage_unusable"))
    assert (said, harness.bridge.profile.keeper.ibkr_message) == ("no bridge", "")
    assert (await harness.get(READ)).status == 200


async def test_an_unusable_session_is_reported_and_no_order_is_sent(harness: Harness, sim: Simulator) -> None:
    """Callers get a 503 with a hint instead of IBKR's 400, and everything that needs only the login goes on."""
    sim.faults.add("no-bridge")
    sim.faults.add("status", path=INIT, status=500, body='{"error":"DU7654321: try later"}')
    for _ in range(2):
        await harness.get(READ, headers={"X-Bridge-Max-Age": "0"})
    await harness.wait_until(SessionState.UNUSABLE)
    await harness.wait_for_events(SessionOpening)

    refused = await harness.post("/iserver/account/DU1234567/orders", {"orders": [{"conid": 1}]})
    status = (await harness.get("/gateway/auth-status")).json
    verbose = (await harness.get("/gateway/auth-status?verbose=1", key=None)).json
    ready = await harness.get("/readyz")

    assert (refused.status, refused.code) == (503, "session_unavailable")
    assert "IBKR says: no bridge; DU*****21: try later" in refused.json["detail"]
    assert (status["authenticated"], status["reason"], "ibkr_message" in status) == (False, "brokerage_unusable", False)
    assert verbose["ibkr_message"] == "no bridge; DU*****21: try later"
    assert (ready.status, ready.body[:19]) == (503, b"brokerage_unusable:")
    assert (await harness.get("/portfolio/accounts")).status == 200
    assert not sim.calls("/orders")[1:]  # only the keeper's own list
    assert "DU7654321" not in harness.written.getvalue()


async def test_a_session_that_never_worked_is_requested_at_the_start(sim: Simulator, tmp_path: Path) -> None:
    """The preflight is a brokerage call too, so the refusal is noticed before a caller gets it."""
    sim.faults.add("no-bridge")

    async with Harness(settings_for(sim.url, tmp_path)) as harness:
        await harness.wait_until(SessionState.READY)

    assert openings(sim) == 1
    assert states(harness)[:2] == ["unusable", "ready"]


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, "No bridge"),
        (500, "<!doctype html><html><body><p>no bridge</p></body></html>"),
        (400, '{"message":"not authenticated"}'),
        (400, '{"path":"' + "p" * 900 + '","error":"no bridge"}'),
    ],
)
async def test_refusals_of_any_form_make_the_session_unusable(
    harness: Harness, sim: Simulator, status: int, body: str
) -> None:
    """IBKR's layers do not agree on the form of an error."""
    sim.faults.add("status", path="/iserver/account/", status=status, body=body)

    for _ in range(2):
        await harness.get(READ, headers={"X-Bridge-Max-Age": "0"})

    await harness.wait_until(SessionState.UNUSABLE)


async def test_one_endpoint_that_is_refused_does_not_end_the_session(harness: Harness, sim: Simulator) -> None:
    """Another brokerage call works in between."""
    sim.faults.add("status", path="/iserver/scanner/params", status=400, body='{"error":"no bridge"}')

    for _ in range(4):
        await harness.get("/iserver/scanner/params", headers={"X-Bridge-Max-Age": "0"})
        await harness.get(READ, headers={"X-Bridge-Max-Age": "0"})
        await harness.bridge.profile.keeper.check_now()

    assert harness.bridge.profile.keeper.session.state is SessionState.READY
    assert openings(sim) == 0


# -- not connected, and the login is still valid


@pytest.mark.parametrize("authenticated", ["true", "false"])
async def test_a_disconnected_session_is_reopened_while_the_login_is_valid(
    harness: Harness, sim: Simulator, authenticated: str
) -> None:
    """The login layer stays up meanwhile."""
    sim.faults.add("status", path=STATUS, status=200, body=LOGGED_OUT_BODY % authenticated)
    harness.bridge.profile.keeper.request_check()
    await harness.wait_until(SessionState.OPENING)

    portfolio = await harness.get("/portfolio/accounts")
    reason = (await harness.get("/gateway/auth-status")).json["reason"]
    await sim.wait_for_calls(INIT)
    sim.faults.clear()
    harness.bridge.profile.keeper.request_check()
    await harness.wait_until(SessionState.READY)

    assert (portfolio.status, reason) == (200, "brokerage_disconnected")
    assert "signed_out" not in states(harness)


async def test_a_disconnected_session_whose_login_ended_is_signed_out(harness: Harness, sim: Simulator) -> None:
    """No session is requested for it."""
    sim.faults.add("status", path=STATUS, status=200, body=LOGGED_OUT_BODY % "false")
    sim.log_out()
    harness.bridge.profile.keeper.request_check()

    await harness.wait_until(SessionState.SIGNED_OUT)

    assert openings(sim) == 0


async def test_the_simulated_disconnection_is_repaired_by_one_request(harness: Harness, sim: Simulator) -> None:
    """One request for the session also repaired the observed disconnections."""
    sim.faults.add("disconnected")
    harness.bridge.profile.keeper.request_check()

    await harness.wait_until(SessionState.OPENING)
    await harness.wait_until(SessionState.READY)

    assert openings(sim) == 1


# -- requests of callers


async def test_a_caller_can_have_the_session_requested_after_one_refused_call(harness: Harness, sim: Simulator) -> None:
    """The caller's request counts as the second sign of a lost session."""
    sim.faults.add("no-bridge")
    await harness.get(READ, headers={"X-Bridge-Max-Age": "0"})

    reply = await harness.post(INIT, {"publish": True, "compete": True})

    assert (reply.status, reply.json["authenticated"]) == (200, True)
    assert reply.json["reopening"] == {"requested": True, "reason": "IBKR answered 200"}
    assert openings(sim) == 1


@pytest.mark.parametrize("target", [INIT, "/gateway/reconnect"])
async def test_a_request_that_is_not_sent_says_why(harness: Harness, sim: Simulator, target: str) -> None:
    """An open session is not requested again."""
    reply = await harness.post(target, {})

    assert reply.status == 200
    assert reply.json["reopening"]["requested"] is False
    assert "is open, and no brokerage call was refused" in reply.json["reopening"]["reason"]
    assert openings(sim) == 0


async def test_the_limits_of_requests_hold_for_callers_too(
    harness: Harness, sim: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The response names the seconds until the next request."""
    monkeypatch.setattr("ibkr_bridge.session.keeper.CHECK_TIMEOUT_S", 0.2)
    sim.faults.add("status", path=INIT, status=500)
    sim.lose_brokerage()
    harness.bridge.profile.keeper.request_check()
    while openings(sim) < 3:
        await harness.post("/gateway/reconnect")

    reply = await harness.post("/gateway/reconnect")

    assert reply.json["reopening"]["requested"] is False
    assert "requested too often; the next time is in" in reply.json["reopening"]["reason"]
    assert "usual causes" in reply.json["hint"]


# -- IBKR's own words


async def test_the_words_of_a_refused_login_reach_a_person(harness: Harness, sim: Simulator) -> None:
    """IBKR's words are in the status, in the log and in the detail of errors, without account numbers."""
    body = '{"authenticated":false,"connected":true,"message":"approve login of U7654321","prompts":["open the app"]}'
    sim.faults.add("status", path=STATUS, status=200, body=body)
    sim.faults.add("status", path=INIT, status=500)
    harness.bridge.profile.keeper.request_check()
    await harness.wait_until(SessionState.OPENING)

    refused = await harness.get(READ)
    status = (await harness.get("/gateway/status")).json
    logged = [json.loads(line) for line in harness.written.getvalue().splitlines()]

    assert status["ibkr_message"] == "approve login of U*****21; open the app"
    assert status["ibkr_message"] in refused.json["detail"]
    assert any(line.get("ibkr_message") == status["ibkr_message"] for line in logged)


async def test_the_words_of_a_401_are_in_the_detail(harness: Harness, sim: Simulator) -> None:
    """The key is valid. IBKR refuses this call to this user and says why."""
    sim.faults.add("status", path=READ, status=401, body='{"error":"subscription missing for U7654321"}')

    reply = await harness.get(READ)

    assert (reply.status, reply.code) == (403, "upstream_refused")
    assert reply.json["detail"].endswith("IBKR says: subscription missing for U*****21")


# -- the selected account


async def reopen_and_look(harness: Harness, sim: Simulator) -> str:
    """Lose the brokerage session. Returns the account that IBKR has selected when it is ready again."""
    sim.lose_brokerage()
    harness.bridge.profile.keeper.request_check()
    await harness.wait_until(SessionState.OPENING)
    await harness.wait_until(SessionState.READY)
    listed = await harness.get(ACCOUNTS, headers={"X-Bridge-Max-Age": "0"})
    return str(listed.json["selectedAccount"])


async def test_the_selected_account_is_selected_again_before_ready(harness: Harness, sim: Simulator) -> None:
    """IBKR forgets it with the brokerage session; an order that names no account would go to another one."""
    sim.faults.add("selection-lost")
    await harness.post(SELECT, {"acctId": "DU7654321"})

    assert await reopen_and_look(harness, sim) == "DU7654321"
    assert len([call for call in sim.gateway_calls(SELECT) if call.method == "POST"]) == 2


async def test_the_session_is_not_ready_while_ibkr_does_not_decide_on_the_account(
    harness: Harness, sim: Simulator
) -> None:
    """Trading must not begin with an account that nobody selected."""
    sim.faults.add("selection-lost")
    await harness.post(SELECT, {"acctId": "DU7654321"})
    sim.faults.add("empty-503", path="/iserver/account$")
    sim.lose_brokerage()
    harness.bridge.profile.keeper.request_check()
    await harness.wait_until(SessionState.OPENING)
    await sim.wait_for_calls("/v1/api/iserver/account", 12)
    not_ready, said = harness.bridge.profile.keeper.session.state, harness.bridge.profile.keeper.ibkr_message

    sim.faults.clear("empty-503")
    await harness.wait_until(SessionState.READY)

    assert not_ready is SessionState.OPENING
    assert said == "the account cannot be selected again yet: 503"
    assert harness.bridge.profile.keeper.ibkr_message == ""


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "status", "path": "/iserver/account$", "status": 400, "body": '{"error":"no bridge"}'},
        {"kind": "html-500", "path": "/iserver/account$", "status": 503},
        {"kind": "status", "path": "/iserver/accounts$", "status": 500, "body": '{"error":"later"}'},
    ],
    ids=["no bridge", "page", "list of accounts"],
)
async def test_one_failed_call_does_not_lose_the_selected_account(
    harness: Harness, sim: Simulator, fault: dict[str, object]
) -> None:
    """An order that names no account would go to another one."""
    sim.faults.add("selection-lost")
    await harness.post(SELECT, {"acctId": "DU7654321"})
    sim.faults.add(times=1, **fault)  # type: ignore[arg-type]  # the options of a fault

    assert await reopen_and_look(harness, sim) == "DU7654321"


async def test_an_account_that_ibkr_refuses_is_reported_and_forgotten(harness: Harness, sim: Simulator) -> None:
    """The login does not have it any more: the session becomes ready, and the log says so once."""
    sim.faults.add("selection-lost")
    await harness.post(SELECT, {"acctId": "DU7654321"})
    sim.faults.add("status", path="/iserver/account$", status=500, body='{"error":"Account not found"}')
    sim.lose_brokerage()
    harness.bridge.profile.keeper.request_check()

    (event,) = await harness.wait_for_events(AccountNotSelected)
    await harness.wait_until(SessionState.READY)

    assert isinstance(event, AccountNotSelected)
    assert (event.status, event.ibkr_message) == (500, "Account not found")
