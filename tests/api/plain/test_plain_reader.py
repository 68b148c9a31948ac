"""How the plain API fetches: through all stages, with the age of what it fetched."""

from __future__ import annotations

import pytest

from ibkr_bridge.profiles.options import ProfileOptions
from ibkr_bridge.session.state_machine import SessionState
from ibkr_bridge.sim.simulator import Simulator
from tests.harness import Harness, settings_for


async def test_an_answer_that_cannot_be_read_is_an_error_of_ibkrs(harness: Harness, sim: Simulator) -> None:
    """A page for people never reaches an app."""
    sim.faults.add("garble", path="/portfolio/accounts")

    reply = await harness.get("/accounts")

    assert (reply.status, reply.code) == (502, "gateway_protocol_error")
    assert b"<html" not in reply.body


@pytest.mark.parametrize("status", [400, 404, 500, 503])
async def test_an_error_of_ibkrs_keeps_none_of_its_form(harness: Harness, sim: Simulator, status: int) -> None:
    """It becomes a problem with a code."""
    sim.faults.add("status", path="/portfolio/accounts", status=status)

    reply = await harness.get("/accounts")

    assert (reply.status, reply.code) == (502, "upstream_error")
    assert str(status) in reply.json["detail"]


async def test_a_response_of_several_calls_is_as_old_as_the_oldest(
    sim: Simulator, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Within its TTL a read is not sent again, and its age is shown."""
    settings = settings_for(sim.url, tmp_path_factory.mktemp("state"))
    async with Harness(settings, options=ProfileOptions()) as harness:
        await harness.wait_until(SessionState.READY)
        first = await harness.get("/accounts/DU1234567")
        before = len(sim.calls())
        second = await harness.get("/accounts/DU1234567")

        assert second.json["as_of"] <= first.json["as_of"]
        assert second.headers["X-Bridge-Source"] == "cache"
        assert len(sim.calls()) == before


async def test_a_wrong_wait_time_is_refused(harness: Harness) -> None:
    """As on IBKR's own paths."""
    reply = await harness.request("GET", "/accounts", headers={"X-Bridge-Wait": "soon"})

    assert (reply.status, reply.code) == (400, "bad_request")


async def test_while_the_session_is_lost_the_error_says_what_a_user_can_do(harness: Harness) -> None:
    """The app shows the sentence and the page at which to sign in."""
    await harness.post("/gateway/logout")

    reply = await harness.get("/quotes?symbols=AAPL")

    assert (reply.status, reply.code, reply.json["action"]["kind"]) == (503, "session_unavailable", "sign_in")
