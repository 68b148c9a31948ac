"""Connections that break on the way from IBKR."""

from __future__ import annotations

import aiohttp
import pytest

from ibkr_bridge.sim.api_host import ApiHost
from tests.sim.api_host.direct_client import DirectClient


@pytest.mark.parametrize("kind", ["cut-before", "done-cut-before", "cut-in", "garble"])
async def test_a_break_ends_one_call_and_the_next_is_answered(anna: DirectClient, host: ApiHost, kind: str) -> None:
    await anna.sign_in()
    host.faults.add(kind, path="/tickle", times=1)
    with pytest.raises(aiohttp.ClientError):
        await anna.call("POST", "/tickle")  # a GET would be sent again by the client
    assert (await anna.call("POST", "/tickle")).status == 200


@pytest.mark.parametrize(("kind", "is_done"), [("cut-before", False), ("garble", False), ("cut-in", True)])
async def test_only_some_are_carried_out(anna: DirectClient, kind: str, *, is_done: bool) -> None:
    await anna.sign_in()
    market = anna.registration.market
    market.faults.add(kind, path="/iserver/reauthenticate", times=1)
    with pytest.raises(aiohttp.ClientError):
        await anna.call("POST", "/iserver/reauthenticate")
    assert bool(market.calls("/iserver/reauthenticate")) is is_done


async def test_a_fault_of_a_gateways_queue_does_nothing(anna: DirectClient, host: ApiHost) -> None:
    await anna.sign_in()
    host.faults.add("late", seconds=60)
    assert (await anna.call("GET", "/portfolio/accounts")).status == 200
