"""What a person can do on the page."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from ibkr_bridge.api.page.actions import MAX_SHOWN_BYTES, shown_text
from ibkr_bridge.events import Bus
from ibkr_bridge.redaction import Redactor
from ibkr_bridge.server.app_keys import RECENT_REQUESTS
from ibkr_bridge.session.state_machine import SessionState
from ibkr_bridge.sim.control import Control, ControlError, send
from ibkr_bridge.sim.simulator import Simulator
from tests.api.page.page_reader import open_page
from tests.api.plain.order_helpers import FAR_LIMIT, place, placements
from tests.harness import Harness, settings_for

BUSY_TARGET = "/portfolio/DU1234567/ledger"


async def repeat(harness: Harness, cookie: dict[str, str], number: int | str) -> Any:
    """Repeat a request of the page."""
    return await harness.request("POST", f"/page/requests/{number}/repeat", key=None, headers=cookie)


async def test_a_read_is_repeated_and_its_response_is_shown(harness: Harness, sim: Simulator) -> None:
    """The same target reaches IBKR again, if the cache does not answer."""
    await harness.wait_until_checked(SessionState.READY)
    first = await harness.get(BUSY_TARGET)
    cookie = await open_page(harness)

    reply = await repeat(harness, cookie, 1)

    assert (reply.status, reply.json["status"]) == (200, 200)
    assert json.loads(reply.json["body"]).keys() == first.json.keys()


async def test_a_response_that_is_shown_has_no_account_and_no_session(harness: Harness, sim: Simulator) -> None:
    """Whoever reads the page could open IBKR's websocket with the session id, and nothing else of the API."""
    await harness.wait_until_checked(SessionState.READY)
    session = (await harness.get("/tickle")).json["session"]
    await harness.get("/portfolio/accounts")
    cookie = await open_page(harness)

    shown = [(await repeat(harness, cookie, number)).json["body"] for number in (1, 2)]

    assert session not in shown[0]
    assert '"session": "[hidden]"' in shown[0]
    assert "DU1234567" not in shown[1]
    assert json.loads(shown[1])[0]["id"] == "DU*****67"


def test_a_secret_at_the_end_of_what_is_shown_is_hidden_too() -> None:
    """Half of it would not be recognised."""
    redactor = Redactor()
    redactor.add_secret("s" * 40)
    body = b"-" * (MAX_SHOWN_BYTES - 20) + b"s" * 40

    assert "s" not in shown_text(body, redactor)
    assert len(shown_text(body * 2, redactor)) == MAX_SHOWN_BYTES


async def test_a_failed_read_is_shown_as_it_failed(harness: Harness, sim: Simulator) -> None:
    """The page gets the error of the bridge."""
    await harness.wait_until_checked(SessionState.READY)
    await harness.get(BUSY_TARGET)
    cookie = await open_page(harness)
    sim.log_out()
    await harness.wait_until_checked(SessionState.SIGNED_OUT)

    assert (await repeat(harness, cookie, 1)).code == "session_unavailable"


async def test_a_read_of_the_plain_api_is_repeated_too(harness: Harness) -> None:
    """With the id of its path; the response is shown without accounts, as any other."""
    await harness.wait_until_checked(SessionState.READY)
    await harness.get("/accounts/DU1234567")
    cookie = await open_page(harness)

    body = json.loads((await repeat(harness, cookie, 1)).json["body"])

    assert body["id"] == "DU*****67"


@pytest.mark.parametrize("number", ["2", "3", "4", "5", "0", "99", "x", "%C2%B2", "1" * 30])
async def test_only_reads_are_repeated(harness: Harness, number: str) -> None:
    """An order is never sent twice, and streams, files and changes of the bridge are not repeated either."""
    await harness.wait_until_checked(SessionState.READY)
    await harness.get(BUSY_TARGET)
    await harness.post("/iserver/account/DU1234567/orders", {"orders": []})
    await harness.post("/gateway/pause")
    await harness.get("/client.ts")
    await harness.get("/orders", key=None)
    cookie = await open_page(harness)

    assert (await repeat(harness, cookie, number)).code == "not_bridged"


async def test_a_refused_request_is_not_repeated_with_more_rights(harness: Harness) -> None:
    """A request without a key was not answered, and the page does not answer it either."""
    await harness.get(BUSY_TARGET, key=None)

    assert (await repeat(harness, await open_page(harness), 1)).code == "not_bridged"


async def test_a_page_that_trades_answers_a_question(harness: Harness, sim: Simulator) -> None:
    """And one that only reads does not."""
    order = (await place(harness, FAR_LIMIT)).json
    question = order["question"]["id"]
    target, answer = f"/page/orders/{order['id']}/answer", {"confirm": True, "question_id": question}

    refused = await harness.post(target, answer, key=None, headers=await open_page(harness))
    done = await harness.post(target, answer, key=None, headers=await open_page(harness, scope="trade"))
    again = await harness.post(target, answer, key=None, headers=await open_page(harness, scope="trade"))

    assert (refused.status, refused.code) == (403, "insufficient_scope")
    assert done.status == 200
    assert again.status in (200, 404)
    assert (await harness.get(f"/orders/{order['id']}")).json["state"] == "placed"
    assert len(placements(sim)) == 1


async def test_the_journal_of_an_order_is_shown_without_its_account(harness: Harness) -> None:
    """With all its events."""
    order = (await place(harness, FAR_LIMIT)).json

    reply = await harness.get(f"/page/orders/{order['id']}", key=None, headers=await open_page(harness))

    assert [each["what"] for each in reply.json["events"]] == ["sent", "asked", "told"]
    assert reply.json["account"] == "DU*****67"
    assert b"DU1234567" not in reply.body


@pytest.mark.parametrize(
    ("method", "target"), [("POST", "/page/faults"), ("DELETE", "/page/faults"), ("POST", "/page/sign-in")]
)
async def test_a_real_bridge_has_no_simulator(harness: Harness, method: str, target: str) -> None:
    """The panel of faults belongs to a demo."""
    cookie = await open_page(harness)

    reply = await harness.request(method, target, key=None, headers=cookie, body={"kind": "sso-lost"})

    assert (reply.status, reply.code) == (404, "not_bridged")


class DemoHarness(Harness):
    """A bridge whose page can send commands to the simulator."""

    def __init__(self, sim: Simulator, folder: Path) -> None:
        super().__init__(settings_for(sim.url, folder / "state"), demo=self._command)
        self.control = Control(sim, folder / "control.sock")
        self._socket = folder / "control.sock"

    async def _command(self, method: str, target: str, body: Any) -> dict[str, Any]:
        try:
            return await send(self._socket, method, target, body)
        except ControlError as exc:
            raise ValueError(str(exc)) from exc


@pytest.fixture
async def demo(sim: Simulator, tmp_path: Path, bus: Bus) -> AsyncIterator[DemoHarness]:
    """A running demo."""
    async with DemoHarness(sim, tmp_path) as harness:
        await harness.control.start()
        yield harness
        await harness.control.stop()


async def test_the_page_of_a_demo_makes_something_go_wrong_and_mends_it(demo: DemoHarness) -> None:
    """As `bridge.py trigger` does."""
    await demo.wait_until_checked(SessionState.READY)
    cookie = await open_page(demo)

    begun = await demo.post("/page/faults", {"kind": "sso-lost"}, key=None, headers=cookie)
    await demo.wait_until_checked(SessionState.SIGNED_OUT)
    mended = await demo.post("/page/sign-in", key=None, headers=cookie)
    await demo.wait_until_checked(SessionState.READY)

    assert (begun.status, mended.status) == (200, 200)
    assert "sso-lost" in begun.json["kinds"]


@pytest.mark.parametrize("body", [{"kind": "no such fault"}, {"kind": 1}, {}, [], {"kind": "429", "path": 7}, "x"])
async def test_a_fault_that_is_not_there_is_refused(demo: DemoHarness, body: Any) -> None:
    """In words."""
    reply = await demo.post("/page/faults", body, key=None, headers=await open_page(demo))

    assert (reply.status, reply.code) == (422, "validation_failed")


async def test_bodies_are_shown_in_a_demo_alone(demo: DemoHarness) -> None:
    """Nothing in them is real."""
    await demo.wait_until_checked(SessionState.READY)
    await place(demo, FAR_LIMIT)

    recent = demo.application[RECENT_REQUESTS].after(0, "main")[-1]

    assert recent.bodies is not None
    assert b'"limit_price"' in recent.bodies[0]
    assert b'"question"' in recent.bodies[1]
