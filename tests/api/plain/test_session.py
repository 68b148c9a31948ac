"""`GET /session`."""

from __future__ import annotations

from tests.conftest import OpenHarness
from tests.harness import READONLY_KEY, Harness


async def test_a_ready_session_says_that_the_app_can_trade(harness: Harness) -> None:
    """Nothing is to be done."""
    session = (await harness.get("/session")).json

    assert (session["state"], session["ready"], session["can_trade"]) == ("ready", True, True)
    assert (session["mode"], session["retry_after"]) == ("paper", None)
    assert session["action"] == {"kind": "none", "url": None}
    assert session["next_reset"].endswith("Z")


async def test_a_read_only_key_cannot_trade(open_harness: OpenHarness) -> None:
    """The figure is about the key that asks."""
    harness = await open_harness(IBKR_BRIDGE_READONLY_KEY=READONLY_KEY)

    session = (await harness.get("/session", key=READONLY_KEY)).json

    assert (session["ready"], session["can_trade"]) == (True, False)


async def test_a_pause_shows_in_can_trade(harness: Harness) -> None:
    """The session is ready all the same."""
    await harness.post("/gateway/pause")

    session = (await harness.get("/session")).json

    assert (session["ready"], session["can_trade"]) == (True, False)


async def test_a_lost_login_tells_the_user_where_to_sign_in(harness: Harness) -> None:
    """At the Gateway's own page."""
    await harness.post("/gateway/logout")

    session = (await harness.get("/session")).json

    assert (session["state"], session["ready"], session["can_trade"]) == ("signed_out", False, False)
    assert session["action"]["kind"] == "sign_in"
    assert session["action"]["url"].startswith("https://127.0.0.1:")
    assert session["retry_after"] > 0
    assert "Sign in" in session["message"]
