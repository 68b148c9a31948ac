"""A week without a Gateway and without a person: midnights, a Saturday window, a penalty, and orders at any time."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ibkr_bridge.session.state_machine import SessionState
from ibkr_bridge.sim.api_host import ApiHost
from ibkr_bridge.sim.clock import FastClock
from tests.harness import Harness, Placement, settings_for
from tests.stories.conftest import import_credential, vault_of

RATE = 2_000.0  # the clock's seconds in one of the machine's: a week takes five minutes
SUNDAY = datetime(2026, 6, 14, 12, tzinfo=UTC)
WEEK_S, DAY_S = 7 * 86_400.0, 86_400.0
MAX_PAUSE_S = 4 * 3_600.0  # between two orders
PENALTY_AT_S, PENALTY_S = 2.3 * DAY_S, 900.0
TOKENS_END_AT_MIDNIGHT_FROM_S = 3.5 * DAY_S
MAX_HANDSHAKES_A_DAY = 96  # a busy machine makes timestamps late, and so handshakes more frequent; alone it takes 20
HANDSHAKE = "/oauth/live_session_token"
UNSETTLED = ("sending", "unknown", "pending")


class BridgeClock(FastClock):
    """The same time for the bridge."""

    async def wait(self, event: asyncio.Event, seconds: float) -> bool:
        """See `Clock.wait`."""
        try:
            async with asyncio.timeout(max(seconds, 0.0) / RATE):
                await event.wait()
        except TimeoutError:
            return False
        return True


async def place_at_random(harness: Harness, clock: BridgeClock, ends_at: float) -> dict[str, str | None]:
    """Place orders until a time; the code of each answer, by the order's cOID. None: the answer was 200."""
    rng, codes = random.Random(20260614), dict[str, str | None]()  # noqa: S311  # the moments are the same in each run
    while clock.now() < ends_at:
        await clock.sleep(rng.uniform(0, MAX_PAUSE_S))
        coid = f"week-{len(codes)}"
        order = Placement(extra={"cOID": coid, "orderType": "LMT", "price": 187.5})
        reply = await harness.post(order.target, order.body)
        codes[coid] = None if reply.status == 200 else reply.code or str(reply.status)
    return codes


async def disturb(host: ApiHost, clock: BridgeClock, began_at: float) -> None:
    """What happens at IBKR in this week besides midnights."""
    host.rules.has_saturday_window = True
    await clock.sleep(began_at + PENALTY_AT_S - clock.now())
    host.front.punish("127.0.0.1", clock.now() + PENALTY_S)
    await clock.sleep(began_at + TOKENS_END_AT_MIDNIGHT_FROM_S - clock.now())
    host.rules.midnight_ends_session_token = True


async def wait_until_settled(harness: Harness) -> dict[str, str]:
    """The state of each order in the journal, by its cOID, when none is unknown any more."""
    async with asyncio.timeout(120.0):
        while True:
            orders = (await harness.get("/orders?limit=1000")).json["orders"]
            if not any(each["state"] in UNSETTLED for each in orders):
                return {each["coid"]: each["state"] for each in orders if each["kind"] == "place"}
            await asyncio.sleep(0.1)


@pytest.mark.slow
async def test_a_week_needs_nobody(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nobody acts, no order is sent twice, and each answer agrees with what IBKR has."""
    clock = BridgeClock(RATE, SUNDAY)
    async with ApiHost(clock=clock) as host:
        user = host.register("anna")
        env = {**vault_of(tmp_path), "IBKR_BRIDGE_ROAD": "oauth", "IBKR_BRIDGE_API_URL": host.url}
        settings = settings_for("http://127.0.0.1:9", tmp_path / "state", **env)
        await import_credential(settings, user)
        async with Harness(settings, clock) as harness:
            await harness.wait_until(SessionState.READY)
            began_at = clock.now()
            troubles = asyncio.create_task(disturb(host, clock, began_at))
            codes = await place_at_random(harness, clock, began_at + WEEK_S)
            await troubles
            states = await wait_until_settled(harness)
            await harness.wait_until(SessionState.READY)
        placements = [each for each in host.calls("/orders") if each.method == "POST" and b"cOID" in each.body]
        sent = Counter(json.loads(each.body)["orders"][0]["cOID"] for each in placements)
        handshakes = Counter(int((each.at - began_at) // DAY_S) for each in host.calls(HANDSHAKE))

    placed = sum(code is None for code in codes.values())
    with capsys.disabled():
        print(
            f"\n{len(codes)} orders in {timedelta(seconds=WEEK_S).days} days: {placed} placed at once, "
            f"{dict(Counter(code for code in codes.values() if code))}; states {dict(Counter(states.values()))}; "
            f"at most {max(handshakes.values())} handshakes a day, {handshakes.total()} in all"
        )
    assert [coid for coid, count in sent.items() if count > 1] == []
    assert [coid for coid, code in codes.items() if code is None and states.get(coid) != "placed"] == []
    assert [coid for coid, state in states.items() if state == "placed" and sent[coid] != 1] == []
    assert placed > len(codes) / 2
    assert max(handshakes.values()) <= MAX_HANDSHAKES_A_DAY
