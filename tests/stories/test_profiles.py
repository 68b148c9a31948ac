"""Several profiles in one bridge: each key reaches its own, and nothing of another."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from ibkr_bridge.profiles.profile import Profile
from ibkr_bridge.server.listener import CONTROL_SOCKET
from ibkr_bridge.session.state_machine import SessionState
from ibkr_bridge.sim import Simulator
from tests.harness import KEY, Harness, Placement, Reply, settings_for, with_timeout

ANNA, BEN = "DU1111111", "DU2222222"
HEADER = "X-Bridge-Profile"


@dataclass
class Setup:
    """A bridge with `main` and two further profiles, each with a Gateway of its own."""

    harness: Harness
    gateways: dict[str, Simulator]
    state: Path
    keys: dict[str, str]

    async def control(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """A request over the control socket."""
        connector = aiohttp.UnixConnector(str(self.state / CONTROL_SOCKET))
        url = f"http://localhost{path}"
        async with (
            aiohttp.ClientSession(connector=connector) as client,
            client.request(method, url, json=body) as response,
        ):
            return response.status, json.loads(await response.read())

    async def make(self, name: str, account: str) -> None:
        """Make a profile with a Gateway at which its user is signed in."""
        gateway = await Simulator(accounts=(account,)).__aenter__()
        self.gateways[name] = gateway
        body = {"name": name, "settings": {"gateway_url": gateway.url, "maintenance": "none"}}
        status, made = await self.control("POST", "/profiles", body)
        assert status == 200, made
        self.keys[name] = made["key"]
        await self.wait_until_ready(name)

    def profile(self, name: str) -> Profile:
        """A running profile."""
        return self.harness.bridge.profiles.registry.get(name)

    async def wait_until_ready(self, name: str) -> None:
        """Wait until the brokerage session of a profile is open."""
        keeper, changed = self.profile(name).keeper, asyncio.Event()
        keeper.on_change.subscribe(lambda _: changed.set())
        while keeper.session.state is not SessionState.READY:
            await with_timeout(changed.wait())
            changed.clear()

    async def get(self, name: str, path: str, **headers: str) -> Reply:
        """A GET with the key of a profile."""
        return await self.harness.get(path, key=self.keys[name], headers=headers)


@pytest.fixture
async def setup(tmp_path: Path) -> AsyncIterator[Setup]:
    """A bridge with three profiles, all of them ready."""
    async with AsyncExitStack() as stack:
        main = await stack.enter_async_context(Simulator())
        harness = await stack.enter_async_context(Harness(settings_for(main.url, tmp_path / "s")))
        made = Setup(harness, {"main": main}, tmp_path / "s", {"main": KEY})
        stack.push_async_callback(_stop, made.gateways)
        await made.make("anna", ANNA)
        await made.make("ben", BEN)
        yield made


async def _stop(gateways: dict[str, Simulator]) -> None:
    for name in ("anna", "ben", "carl"):
        if name in gateways:
            await gateways[name].stop()


def accounts(reply: Reply) -> list[str]:
    """The accounts of an answer."""
    return [each["id"] for each in reply.json]


async def test_each_key_reaches_its_own_accounts(setup: Setup) -> None:
    """Nothing else in a request can change that."""
    assert accounts(await setup.get("anna", "/portfolio/accounts")) == [ANNA]
    assert accounts(await setup.get("ben", "/portfolio/accounts")) == [BEN]
    assert ANNA not in accounts(await setup.get("main", "/portfolio/accounts"))
    assert setup.gateways["anna"].calls("/portfolio/accounts")


async def test_a_header_does_not_open_another_profile(setup: Setup) -> None:
    """A wrong name is the same 404 as one that nobody has; the own name is harmless."""
    other = await setup.get("anna", "/portfolio/accounts", **{HEADER: "ben"})
    nobody = await setup.get("anna", "/portfolio/accounts", **{HEADER: "nobody"})
    own = await setup.get("anna", "/portfolio/accounts", **{HEADER: "anna"})

    assert (other.status, other.code) == (nobody.status, nobody.code) == (404, "profile_not_found")
    assert other.json["detail"] == nobody.json["detail"]
    assert accounts(own) == [ANNA]


async def test_a_method_that_a_route_does_not_have_is_405_whatever_the_header_says(setup: Setup) -> None:
    """It concerns no profile."""
    reply = await setup.harness.request(
        "TRACE", "/session", key=setup.keys["anna"], headers={"X-Bridge-Profile": "nobody"}
    )

    assert (reply.status, reply.code) == (405, "method_not_allowed")


async def test_an_order_goes_to_the_gateway_of_its_key(setup: Setup) -> None:
    """And its record stands in the journal of its profile alone."""
    placement = Placement(account=ANNA)
    placed = await setup.harness.post(placement.target, placement.body, key=setup.keys["anna"])

    assert placed.status == 200, placed.json
    assert len(setup.gateways["anna"].calls("/orders")) > 0
    assert [each.target for each in setup.gateways["ben"].calls("/orders") if each.method == "POST"] == []
    assert len((await setup.get("anna", "/orders")).json["orders"]) == 1
    assert (await setup.get("ben", "/orders")).json["orders"] == []
    assert {path.name for path in setup.state.glob("*.orders.db")} == {f"{each}.orders.db" for each in setup.keys}


async def test_the_list_shows_the_profiles_of_the_key(setup: Setup) -> None:
    """Only somebody who may manage sees all."""
    _, everything = await setup.control("GET", "/profiles")
    own = (await setup.get("anna", "/profiles")).json

    assert [each["name"] for each in everything["profiles"]] == ["main", "anna", "ben"]
    assert everything["refused"] == []
    assert [(each["name"], each["ready"], each["road"]) for each in own["profiles"]] == [("anna", True, "gateway")]
    assert own["refused"] is None


async def test_a_pause_of_one_stops_no_other(setup: Setup) -> None:
    """So do a loss of the session, a penalty, and everything else that is kept by profile."""
    await setup.control("POST", "/profiles/anna/pause")
    paused = await setup.harness.post(Placement(ANNA).target, Placement(ANNA).body, key=setup.keys["anna"])
    free = await setup.harness.post(Placement(BEN).target, Placement(BEN).body, key=setup.keys["ben"])

    assert (paused.code, free.status) == ("trading_paused", 200)
    assert (await setup.control("POST", "/profiles/anna/resume"))[1]["paused"] is False


async def test_metrics_show_the_profiles_of_the_key(setup: Setup) -> None:
    """The figures of one user say how much that user trades."""
    await setup.get("ben", "/portfolio/accounts")
    text = (await setup.get("anna", "/metrics")).body.decode()

    assert 'profile="anna"' in text
    assert 'profile="ben"' not in text
    assert 'profile="main"' not in text


async def test_a_token_carries_its_profile(setup: Setup) -> None:
    """A browser cannot send a header with a websocket."""
    token = (await setup.harness.post("/auth/token", {}, key=setup.keys["ben"])).json["token"]
    bearer = {"Authorization": f"Bearer {token}"}

    assert accounts(await setup.harness.get("/portfolio/accounts", key=None, headers=bearer)) == [BEN]


async def test_a_forgotten_profile_is_refused_at_once(setup: Setup) -> None:
    """Its keys are gone, its file too; the journal of its orders stays, and no other profile notices."""
    status, answer = await setup.control("DELETE", "/profiles/anna")

    assert (status, answer) == (200, {"name": "anna"})
    assert (await setup.get("anna", "/portfolio/accounts")).code == "invalid_key"
    assert not (setup.state / "profiles" / "anna.toml").exists()
    assert (setup.state / "anna.orders.db").exists()
    assert accounts(await setup.get("ben", "/portfolio/accounts")) == [BEN]
    assert [each["name"] for each in (await setup.control("GET", "/profiles"))[1]["profiles"]] == ["main", "ben"]


async def test_wrong_settings_make_no_profile(setup: Setup) -> None:
    """The answer names each of them; nothing is left behind."""
    status, problem = await setup.control("POST", "/profiles", {"name": "carl", "settings": {"mode": "wild"}})
    taken = await setup.control("POST", "/profiles", {"name": "anna"})
    gateway = {"gateway_url": setup.gateways["ben"].url}
    shared = await setup.control("POST", "/profiles", {"name": "carl", "settings": gateway})

    assert (status, problem["code"]) == (400, "bad_request")
    assert "mode: found 'wild'" in problem["detail"]
    assert (taken[0], taken[1]["code"]) == (409, "profile_exists")
    assert "the Gateway of the profile ben" in shared[1]["detail"]
    assert not (setup.state / "profiles" / "carl.toml").exists()


async def test_a_key_of_a_profile_manages_nothing(setup: Setup) -> None:
    """Neither does the full key of `main`."""
    for name in setup.keys:
        refused = await setup.harness.post("/profiles", {"name": "carl"}, key=setup.keys[name])
        assert (refused.status, refused.code) == (403, "insufficient_scope")


async def test_the_control_socket_reaches_no_account(setup: Setup) -> None:
    """It manages profiles and nothing else."""
    status, problem = await setup.control("GET", "/portfolio/accounts")

    assert (status, problem["code"]) == (403, "insufficient_scope")
    assert (setup.state / CONTROL_SOCKET).stat().st_mode & 0o777 == 0o600


async def test_the_status_of_a_profile_is_its_own_and_needs_the_right_to_manage(setup: Setup) -> None:
    """It is the same as with the key of the profile, and shows no account number."""
    _, status = await setup.control("GET", "/profiles/anna/status")
    own = (await setup.get("anna", "/gateway/status")).json
    _, history = await setup.control("GET", "/profiles/anna/history?days=1")
    refused = await setup.get("anna", "/profiles/ben/status")
    missing, problem = await setup.control("GET", "/profiles/nobody/status")

    assert status["gateway"] == own["gateway"] != (await setup.get("ben", "/gateway/status")).json["gateway"]
    assert ANNA not in json.dumps(status)
    assert history["profile"] == "anna"
    assert (refused.status, refused.code) == (403, "insufficient_scope")
    assert (missing, problem["code"]) == (404, "profile_not_found")


async def test_a_second_key_works_beside_the_first_and_a_third_is_refused(setup: Setup) -> None:
    """So a key can be changed without a failed call."""
    _, made = await setup.control("POST", "/profiles/anna/keys", {"scope": "trade"})
    setup.keys["second"] = made["key"]
    third, problem = await setup.control("POST", "/profiles/anna/keys", {"scope": "trade"})

    assert accounts(await setup.get("second", "/portfolio/accounts")) == [ANNA]
    assert accounts(await setup.get("anna", "/portfolio/accounts")) == [ANNA]
    assert (third, "2 keys already" in problem["detail"]) == (400, True)


async def test_no_key_is_on_the_disk_or_in_the_log(setup: Setup) -> None:
    """The bridge has digests; a key is shown once, to whoever made it."""
    text = b"".join(each.read_bytes() for each in setup.state.rglob("*") if each.is_file())

    for name in ("anna", "ben"):
        assert setup.keys[name].encode() not in text
        assert setup.keys[name] not in setup.harness.written.getvalue()


async def test_a_stream_of_a_forgotten_profile_ends_as_streams_do(setup: Setup) -> None:
    """Also while it reads accounts for its page. Nothing of another response may be in it."""
    gateway, url = setup.gateways["anna"], f"{setup.harness.bridge.url}/events?topics=session,account"
    gateway.faults.add("delay", path="/portfolio/accounts", seconds=0.5, times=1)
    async with (
        aiohttp.ClientSession(headers={"X-Bridge-Key": setup.keys["anna"]}) as client,
        client.get(url) as stream,
    ):
        await gateway.wait_for_calls("/portfolio/accounts")
        await setup.control("DELETE", "/profiles/anna")
        text = (await with_timeout(stream.text())).partition("event: end")

    assert (stream.status, "HTTP/1.1" in text[0] + text[2]) == (200, False)
    assert "shutting_down" in text[2]


async def test_a_profile_is_forgotten_after_the_order_that_is_on_its_way(setup: Setup) -> None:
    """The response belongs into the journal; else nobody would know what became of the order."""
    placement, gateway = Placement(ANNA), setup.gateways["anna"]
    gateway.faults.add("delay", path=placement.target, seconds=0.5, times=1)
    placing = asyncio.create_task(setup.harness.post(placement.target, placement.body, key=setup.keys["anna"]))
    await gateway.wait_for_calls(placement.target)

    status, _ = await setup.control("DELETE", "/profiles/anna")
    placed = await placing

    assert (status, placed.status, placed.headers["X-Bridge-Order-State"]) == (200, 200, "placed")
    assert [event.event for event in setup.harness.events_seen if event.event == "order.placed"] == ["order.placed"]
