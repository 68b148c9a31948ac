"""The incidents of docs/troubleshooting.md: each is made, and doctor is red where it should be, and first there.

Here they need no root and no booted machine; tests/system/test_incidents.py makes them on one.

Most run a real bridge in front of the simulated Gateway, and the real command beside it. What cannot be made without a
machine of its own, such as a full disk, is given as facts.
"""

from __future__ import annotations

import asyncio
import json
import re
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ibkr_bridge.cli.doctor.checks import find_all
from ibkr_bridge.cli.doctor.finding import first_broken
from ibkr_bridge.cli.doctor.state_facts import StateFacts
from ibkr_bridge.conditions import rules
from ibkr_bridge.config.settings import Mode, Settings, SettingsError
from ibkr_bridge.config.value_types import Problem
from ibkr_bridge.events import ConditionBegan
from ibkr_bridge.session.state_machine import SessionState
from ibkr_bridge.sim.clock import FastClock
from ibkr_bridge.sim.gateway.rules import OWN_PAGES_ONLY
from ibkr_bridge.sim.simulator import Simulator
from tests.cli.command_runner import EXIT_FAILURE, EXIT_MISCONFIGURED, Place, free_port
from tests.cli.doctor.healthy import GIBIBYTE, healthy
from tests.harness import KEY, Harness, settings_for
from tests.unlimited import UNLIMITED

PAGE = Path(__file__).resolve().parents[3] / "docs" / "troubleshooting.md"
ROW = re.compile(r"^\| ([A-Za-z][^|]*) \| [^|]* \| [^|]* \| [^|]* \| `([a-z]+)`: `([A-Za-z_ ]+)`", re.MULTILINE)
IN_STATUS = re.compile(
    r"^\| ([A-Za-z][^|]*) \| [^|]* \| `(?:systemctl status|/readyz)` \| (\w+: [^|]*) \|", re.MULTILINE
)
INIT, ORDERS = "/iserver/auth/ssodh/init", "/iserver/account/DU1234567/orders"
META, SUMMARY = "/portfolio/DU1234567/meta", "/portfolio/DU1234567/summary"
FOUR_READS = (META, SUMMARY, "/portfolio/DU1234567/ledger", "/portfolio/DU1234567/allocation")  # as many as slots
FRESH = {"X-Bridge-Max-Age": "0"}
Make = Callable[[Harness, Simulator], Awaitable[None]]


@dataclass(frozen=True)
class Incident:
    """How an incident is made with a running bridge, and what doctor says of it."""

    title: str
    layer: str
    check: str
    make: Make
    env: dict[str, str] = field(default_factory=dict)
    sim: dict[str, Any] = field(default_factory=dict)
    check_of_files: str = ""
    """On a machine the settings are a file, and doctor is red about the file first."""


async def wait_for_condition(harness: Harness, name: str) -> None:
    """Wait until a condition has begun."""
    count, began = 1, set[str]()
    while name not in began:
        seen = await harness.wait_for_events(ConditionBegan, count)
        began, count = {each.condition for each in seen if isinstance(each, ConditionBegan)}, len(seen) + 1


async def close_the_gateway(harness: Harness, sim: Simulator) -> None:
    sim.faults.add("refuse")
    await harness.wait_until_checked(SessionState.UNREACHABLE)


async def fill_the_slots(harness: Harness, sim: Simulator) -> None:
    sim.faults.add("ibkr-down")
    await asyncio.gather(*(harness.get(each) for each in FOUR_READS))
    await harness.wait_until_checked(SessionState.SILENT)
    await wait_for_condition(harness, "gateway_stuck")


async def take_ibkr_down(harness: Harness, sim: Simulator) -> None:
    sim.faults.add("ibkr-down")
    await harness.wait_until_checked(SessionState.SILENT)


async def deny_access(harness: Harness, sim: Simulator) -> None:
    sim.faults.add("denied")
    await harness.wait_until_checked(SessionState.UNREACHABLE)


async def sign_out(harness: Harness, sim: Simulator) -> None:
    sim.log_out()
    await harness.wait_until_checked(SessionState.SIGNED_OUT)


async def lose_the_brokerage_session(harness: Harness, sim: Simulator) -> None:
    sim.faults.add("status", path=INIT, status=500)
    sim.lose_brokerage()
    await harness.wait_until_checked(SessionState.OPENING)


async def lose_it_three_times(harness: Harness, sim: Simulator) -> None:
    for _ in range(rules.FLAPPING_LOSSES):
        sim.log_out()
        await harness.wait_until_checked(SessionState.SIGNED_OUT)
        sim.log_in()
        await harness.wait_until_checked(SessionState.READY)


async def sign_in_elsewhere(harness: Harness, sim: Simulator) -> None:
    sim.faults.add("competing-stays")
    await harness.wait_until_checked(SessionState.COMPETING)


async def refuse_brokerage_calls(harness: Harness, sim: Simulator) -> None:
    sim.faults.add("no-bridge")
    sim.faults.add("status", path=INIT, status=500)
    for _ in range(2):
        await harness.get("/iserver/account/trades", headers=FRESH)
    await harness.wait_until(SessionState.UNUSABLE)


async def call_too_often(harness: Harness, sim: Simulator) -> None:
    for path in (META, SUMMARY):
        sim.faults.add("429", path=path, times=1)
        await harness.get(path)


async def begin_maintenance(harness: Harness, sim: Simulator) -> None:
    sim.faults.add("maintenance")
    await harness.wait_until_checked(SessionState.SILENT)


async def pause_trading(harness: Harness, _: Simulator) -> None:
    assert (await harness.post("/gateway/pause")).status == 200


async def lose_an_answer_to_an_order(harness: Harness, sim: Simulator) -> None:
    sim.faults.add("empty-503", path=ORDERS, times=1)
    order = {"conid": 265598, "orderType": "LMT", "price": 10, "side": "BUY", "tif": "DAY", "quantity": 1}
    reply = await harness.post(ORDERS, {"orders": [{"acctId": "DU1234567", **order}]})
    assert reply.code == "order_unknown"


async def cut_the_stream(harness: Harness, sim: Simulator) -> None:
    sim.faults.add("stream-silent")
    sim.faults.add("stream-cut")
    await wait_for_condition(harness, "stream_down")


async def wait_for_three_heartbeats(harness: Harness, _: Simulator) -> None:
    await wait_for_condition(harness, "clock_skewed")


async def reload_wrong_settings(harness: Harness, _: Simulator) -> None:
    def refuse() -> Settings:
        raise SettingsError([Problem("IBKR_BRIDGE_KEY", "found 5 characters", "32 to 512 are needed")])

    harness.bridge.reload(refuse)


async def reload_another_mode(harness: Harness, _: Simulator) -> None:
    harness.bridge.reload(lambda: replace(harness.bridge.settings, trading_mode=Mode.LIVE))


LIVE = (
    Incident("The Gateway is down", "gateway", "gateway", close_the_gateway),
    Incident("The Gateway is stuck", "gateway", "gateway_stuck", fill_the_slots, {"IBKR_GATEWAY_TIMEOUT": "1"}),
    Incident("IBKR is down", "ibkr", "gateway_timeout", take_ibkr_down),
    Incident("Access Denied", "gateway", "access", deny_access),
    Incident("Nobody is signed in", "login", "signed_out", sign_out),
    Incident("The brokerage session is lost", "brokerage", "brokerage_lost", lose_the_brokerage_session),
    Incident("The session flaps", "brokerage", "session_flapping", lose_it_three_times, sim={"auth_delay_s": 0.05}),
    Incident("Another login competes", "brokerage", "competing", sign_in_elsewhere, {"IBKR_COMPETE": "yield"}),
    Incident("The session is unusable", "brokerage", "brokerage_unusable", refuse_brokerage_calls),
    Incident("Penalty box", "ibkr", "penalty_box", call_too_often),
    Incident("Maintenance of IBKR", "ibkr", "ibkr_unavailable", begin_maintenance),
    Incident("Trading is paused", "orders", "trading_paused", pause_trading),
    Incident("An order without an answer", "orders", "orders_unknown", lose_an_answer_to_an_order),
    Incident("The stream is down", "stream", "stream_down", cut_the_stream),
    Incident("The clock is wrong", "clock", "clock_skewed", wait_for_three_heartbeats),
    Incident(
        "A reload was refused", "settings", "reload_refused", reload_wrong_settings, check_of_files="IBKR_BRIDGE_KEY"
    ),
    Incident(
        "Changed settings without a restart", "settings", "restart_needed", reload_another_mode, check_of_files="mode"
    ),
)


def doctor(place: Place, *words: str, **env: str) -> tuple[int, list[dict[str, str]]]:
    """Run the command. Returns its exit status and what is broken, in the order of the layers."""
    result = place.run("doctor", "--json", *words, **env)
    return result.returncode, [each for each in json.loads(result.stdout) if each["fix"]]


def env_of(harness: Harness, sim: Simulator, state: Path) -> dict[str, str]:
    """The environment with which the command reaches the bridge of a test."""
    return {
        "IBKR_BRIDGE_URL": harness.bridge.url,
        "IBKR_BRIDGE_KEY": KEY,
        "IBKR_GATEWAY_URL": sim.url,
        "IBKR_BRIDGE_STATE_DIR": str(state),
    }


@pytest.mark.parametrize("incident", LIVE, ids=lambda incident: incident.title)
async def test_doctor_is_red_where_the_incident_is(
    incident: Incident, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And it is the first thing that it names."""
    monkeypatch.setattr(rules, "STREAM_DOWN_AFTER", timedelta(0))  # it is a minute, as it reconnects within seconds
    ahead = datetime.now(UTC) + timedelta(hours=1)
    clock = {"clock": FastClock(rate=20.0, start=ahead)} if incident.check == "clock_skewed" else {}
    options = {"settings": OWN_PAGES_ONLY, **clock, **incident.sim}
    state = tmp_path / "state"
    async with (
        Simulator(**options) as sim,
        Harness(settings_for(sim.url, state, **incident.env), options=UNLIMITED) as harness,
    ):
        await harness.wait_until(SessionState.READY)
        await incident.make(harness, sim)
        before = len(sim.calls())
        summary = harness.bridge.conditions.summary("main")  # what systemd and /readyz show
        status, broken = await asyncio.to_thread(doctor, Place(tmp_path), **env_of(harness, sim, state))
        requested = [call.path for call in sim.calls()[before:]]

    assert status == EXIT_FAILURE
    assert (broken[0]["layer"], broken[0]["check"]) == (incident.layer, incident.check)
    assert broken[0]["found"]
    words = dict(IN_STATUS.findall(PAGE.read_text())).get(incident.title, "")
    assert [part for part in words.split("…") if part not in summary] == []
    if incident.layer in ("gateway", "ibkr", "login", "brokerage") and incident.check != "session_flapping":
        assert not [path for path in requested if "marketdata" in path]  # it does not make it worse


def test_settings_that_cannot_be_used(tmp_path: Path) -> None:
    """The service ends with 78, and so does doctor."""
    status, broken = doctor(Place(tmp_path), IBKR_BRIDGE_KEY="short")

    assert (status, broken[0]["layer"], broken[0]["check"]) == (EXIT_MISCONFIGURED, "settings", "IBKR_BRIDGE_KEY")


def test_a_misspelt_limit(tmp_path: Path) -> None:
    """It would limit nothing."""
    status, broken = doctor(Place(tmp_path), IBKR_BRIDGE_KEY=KEY, IBKR_MAX_ORDER_VALEU="500")

    assert (status, broken[0]["check"]) == (EXIT_MISCONFIGURED, "IBKR_MAX_ORDER_VALEU")
    assert "did you mean IBKR_MAX_ORDER_VALUE?" in broken[0]["fix"]


async def test_another_program_has_the_port(tmp_path: Path) -> None:
    """It answers, and it is not the bridge."""

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n[]")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server, Simulator(settings=OWN_PAGES_ONLY) as sim:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        env = {"IBKR_BRIDGE_URL": url, "IBKR_BRIDGE_KEY": KEY, "IBKR_GATEWAY_URL": sim.url}
        status, broken = await asyncio.to_thread(doctor, Place(tmp_path), **env)

    assert (status, broken[0]["layer"], broken[0]["check"]) == (EXIT_FAILURE, "service", "port")


async def test_an_app_has_a_wrong_key(harness: Harness, tmp_path: Path) -> None:
    """The bridge is well, and the app is not."""
    app = tmp_path / ".env.production"
    app.write_text(f"IBKR_BRIDGE_URL={harness.bridge.url}\nIBKR_BRIDGE_KEY={KEY[::-1]}\n")
    app.chmod(0o600)
    async with Simulator(settings=OWN_PAGES_ONLY) as sim:
        env = env_of(harness, sim, tmp_path / "state")
        status, broken = await asyncio.to_thread(doctor, Place(tmp_path), "--env-file", str(app), **env)

    assert (status, broken[0]["layer"], broken[0]["check"]) == (EXIT_FAILURE, "app", "app key")


def test_a_damaged_journal(tmp_path: Path) -> None:
    """It is seen while the bridge is down."""
    (tmp_path / "state").mkdir(mode=0o700)
    (tmp_path / "state" / "main.orders.db").write_bytes(b"half of a database")
    with socket.create_server(("127.0.0.1", 0)):
        url = f"http://127.0.0.1:{free_port()}"
        status, broken = doctor(Place(tmp_path), IBKR_BRIDGE_KEY=KEY, IBKR_BRIDGE_URL=url)

    assert (status, broken[0]["layer"], broken[0]["check"]) == (EXIT_FAILURE, "state", "orders")


STATE = StateFacts("/var/lib/ibkr-bridge", True, free_bytes=GIBIBYTE)
AS_FACTS = {
    "disk": replace(STATE, free_bytes=0),
    "state": replace(STATE, private_problem="it belongs to another user; chown it to this user, and chmod 700"),
    "files": replace(STATE, file_problem="main.orders.db belongs to another user or cannot be written"),
}


@pytest.mark.parametrize("check", AS_FACTS)
def test_a_disk_and_files_that_only_a_machine_of_its_own_can_have(check: str) -> None:
    """A full disk, a directory of root, a journal that root has restored."""
    first = first_broken(find_all(healthy(state=AS_FACTS[check])))

    assert first is not None
    assert (first.layer.value, first.check) == ("state", check)


OTHERS = {
    "The settings cannot be used": ("settings", "IBKR_BRIDGE_KEY"),
    "A misspelt setting": ("settings", "IBKR_MAX_ORDER_VALEU"),
    "The port is taken": ("service", "port"),
    "An app has a wrong key": ("app", "app key"),
    "The disk is full": ("state", "disk"),
    "State or journal of another user": ("state", "files"),
    "The journal is damaged": ("state", "orders"),
}
"""The incidents of the tests below the table."""


def test_the_page_has_each_incident_with_what_doctor_says() -> None:
    """A person who reads doctor's words finds the incident, and the other way round."""
    section = PAGE.read_text().partition("## Incidents")[2].partition("\n## ")[0]
    documented = {title: (layer, check) for title, layer, check in ROW.findall(section)}

    assert documented == {each.title: (each.layer, each.check_of_files or each.check) for each in LIVE} | OTHERS
    assert len(documented) == 24
