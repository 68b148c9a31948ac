"""The lines of the log, and that they never have a secret."""

from __future__ import annotations

import dataclasses
import io
import json
import logging
import os
import re
from pathlib import Path

import pytest

from ibkr_bridge import events
from ibkr_bridge.config.settings import AccessLog, LogFormat, LogLevel
from ibkr_bridge.events import BridgeStopped, KeeperFailed
from ibkr_bridge.observe.logs import LEVELS, Log, leads_to_journal, resolve_format
from ibkr_bridge.redaction import Redactor
from ibkr_bridge.session.state_machine import SessionState
from ibkr_bridge.sim.simulator import Simulator
from tests.conftest import OpenHarness
from tests.harness import KEY, PREVIOUS_KEY, READONLY_KEY, Harness, Placement

CANARY = "canary7391"


def lines(harness: Harness) -> list[dict[str, object]]:
    """Everything written so far, parsed."""
    return [json.loads(line) for line in harness.written.getvalue().splitlines()]


async def test_each_request_is_one_line(harness: Harness) -> None:
    """With the caller, the route, the status, the time taken and who answered."""
    await harness.wait_for_events(events.FeedUp)
    before = len(lines(harness))

    reply = await harness.get("/portfolio/DU1234567/summary?x=1", headers={"X-Request-ID": "abc"})

    (line,) = lines(harness)[before:]
    assert reply.status == 200
    assert {key: line[key] for key in ("event", "request_id", "key", "method", "route", "status", "source")} == {
        "event": "request",
        "request_id": "abc",
        "key": "full",
        "method": "GET",
        "route": "/portfolio/{accountId}/summary",
        "status": 200,
        "source": "gateway",
    }
    assert isinstance(line["ms"], float)


async def test_each_change_of_the_session_is_one_line(harness: Harness, sim: Simulator) -> None:
    """With the reason, a hint, and what the keeper does next."""
    sim.log_out()
    await harness.wait_until_checked(SessionState.SIGNED_OUT)

    changes = [line for line in lines(harness) if str(line["event"]).startswith("session.") and "state" in line]

    assert [(line["was"], line["state"], line["reason"], line["level"]) for line in changes] == [
        ("starting", "ready", "ready", "notice"),
        ("ready", "signed_out", "signed_out", "warning"),
    ]
    assert all(line["hint"] and "next check" in str(line["next_act"]) for line in changes)


async def test_no_secret_is_written_wherever_it_comes_from(open_harness: OpenHarness, sim: Simulator) -> None:
    """Keys, cookies, session ids, account numbers and query values, in every part of a request or response."""
    harness = await open_harness(IBKR_BRIDGE_KEY_PREVIOUS=PREVIOUS_KEY, IBKR_BRIDGE_READONLY_KEY=READONLY_KEY)
    cookie = {"Set-Cookie": f"x-sess-uuid={CANARY}-cookie; Path=/", "X-Secret": f"{CANARY}-header"}
    sim.faults.add("status", path="/portfolio", times=2, status=500, body=f"{CANARY}-body", headers=cookie)
    sim.faults.add("garble", path="/garble")
    secret_headers = {
        "Cookie": f"a={CANARY}-up",
        "User-Agent": f"{CANARY}-agent",
        "X-Request-ID": KEY,
        "Referer": f"http://{CANARY}",
        "X-Bridge-Wait": f"{CANARY}",
    }
    targets = (
        *("/portfolio/accounts", f"/portfolio/U7654321/summary?token={CANARY}", f"/iserver/{CANARY}/U7654321"),
        *(
            f"/{CANARY}",
            f"/{KEY}",
            f"/{CANARY}/%zz",
            f"/x?param1={CANARY}",
            f"/iserver/x?y={CANARY}%zz",
            "/iserver/garble",
        ),
        f"/portfolio/accounts?{'a' * 4000}{CANARY}",
    )
    replies = []
    for key in (KEY, PREVIOUS_KEY, READONLY_KEY, f"{CANARY}-wrong-key-0123456789-0123456789", None):
        for target in targets:
            replies.append(await harness.get(target, key=key, headers=secret_headers))
            replies.append(await harness.get(target, key=key))
        replies.append(await harness.post(Placement("U7654321").target, Placement("U7654321").body, key=key))
        replies.append(await harness.post("/iserver/secdef/search", f'{{"symbol":"{CANARY}'.encode(), key=key))
    replies.append(await harness.get("/gateway/status"))
    replies.append(await harness.get("/health", key=None, headers={"Host": CANARY}))
    replies.append(await harness.get("/health", key=None, headers={"Origin": CANARY}))
    await harness.send_raw(f"GET /{KEY}\r\n{CANARY} {KEY}\r\n\r\n".encode())
    session = str(harness.bridge.profile.keeper.tickle["session"])
    written = harness.written.getvalue()
    own_bodies = b"".join(reply.body for reply in replies if reply.headers["X-Bridge-Source"] == "bridge").decode()
    header_lines = "".join(f"{name}: {value}\n" for reply in replies for name, value in reply.headers.items())

    for secret in (CANARY, KEY, PREVIOUS_KEY, READONLY_KEY, session, "U7654321", "DU1234567", "param1="):
        assert secret not in written
        assert secret not in own_bodies
        assert secret not in header_lines


async def test_records_of_libraries_are_written_without_their_text(harness: Harness) -> None:
    """The text of an exception may have the text that was parsed."""
    try:
        raise ValueError(f"bad header {CANARY}")
    except ValueError:
        logging.getLogger("aiohttp.server").exception("Error handling %s", CANARY)
    logging.getLogger("asyncio").error("Task exception was never retrieved %s", CANARY)

    records = [line for line in lines(harness) if line["event"] == "library.said"]

    assert CANARY not in harness.written.getvalue()
    assert (records[0]["error"], "test_logs.py" in str(records[0]["places"])) == ("ValueError", True)
    assert (records[1]["logger"], records[1]["level"]) == ("asyncio", "error")


def log_to(stream: io.StringIO, form: LogFormat, *, journal: bool = False, level: LogLevel = LogLevel.INFO) -> Log:
    """A log that writes to the stream."""
    return Log(stream, form, level, Redactor(), leads_to_journal=journal)


def test_under_systemd_a_console_line_has_the_priority_too() -> None:
    """It goes to standard error if the journal's own socket is not there."""
    stream = io.StringIO()

    Log(stream, LogFormat.CONSOLE, LogLevel.INFO, Redactor(), leads_to_journal=True).log("warning", "session.lost")

    assert stream.getvalue().startswith("<4>")


def test_under_systemd_a_line_has_a_priority_and_no_time() -> None:
    """The journal adds the time; `journalctl -p err` uses the priority."""
    stream = io.StringIO()
    log = log_to(stream, LogFormat.JSON, journal=True)

    log.on_event(BridgeStopped(0))
    log.on_event(KeeperFailed("ValueError", "x.py:1 y"))

    first, second = stream.getvalue().splitlines()
    assert (first[:3], second[:3]) == ("<6>", "<3>")
    assert "timestamp" not in json.loads(first[3:])
    assert json.loads(second[3:])["event"] == "session.keeper_failed"


def test_elsewhere_each_line_is_an_object_with_its_time() -> None:
    """For programs that collect the lines."""
    stream = io.StringIO()

    log_to(stream, LogFormat.JSON).on_event(BridgeStopped(0))

    assert re.fullmatch(r"20\d\d-\d\d-\d\dT.*Z", json.loads(stream.getvalue())["timestamp"])


def test_on_a_terminal_a_line_is_text() -> None:
    """It is not JSON."""
    stream = io.StringIO()

    log_to(stream, LogFormat.CONSOLE).on_event(BridgeStopped(3))

    assert "bridge.stopped" in stream.getvalue()
    assert "unfinished=3" in stream.getvalue()
    assert "{" not in stream.getvalue()


def test_less_important_lines_are_left_out() -> None:
    """The level decides."""
    stream = io.StringIO()

    log_to(stream, LogFormat.JSON, level=LogLevel.WARNING).on_event(BridgeStopped(0))

    assert stream.getvalue() == ""


def test_a_closed_stream_is_no_error() -> None:
    """A person may close the terminal; the bridge keeps running."""
    stream = io.StringIO()
    log = log_to(stream, LogFormat.JSON)
    stream.close()

    log.on_event(BridgeStopped(0))


def test_the_journal_is_recognised_by_its_device_and_inode(tmp_path: Path) -> None:
    """The variable alone is no proof, since the stream may have been redirected."""
    with (tmp_path / "stream").open("w") as stream:
        status = os.fstat(stream.fileno())

        assert leads_to_journal(stream, {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"})
        assert not leads_to_journal(stream, {"JOURNAL_STREAM": "1:1"})
        assert not leads_to_journal(stream, {})
        assert resolve_format(LogFormat.AUTO, stream) is LogFormat.JSON
        assert resolve_format(LogFormat.CONSOLE, stream) is LogFormat.CONSOLE


def test_every_event_can_be_logged() -> None:
    """No field has the name of one of the log's own keys."""
    kinds = [kind for kind in vars(events).values() if isinstance(kind, type) and issubclass(kind, events.Event)]
    fields = {field.name for kind in kinds for field in dataclasses.fields(kind)}

    assert not fields & {"level", "timestamp", "event"}
    assert {kind.level for kind in kinds} <= set(LEVELS)


HOSTILE = "no\x1b[2J\x9b1m\nforged \u202eline"


def test_the_console_gets_no_control_character_of_ibkr() -> None:
    """Its words stand in errors; on a terminal they could hide lines or type into it."""
    stream = io.StringIO()
    log = Log(stream, LogFormat.CONSOLE, LogLevel.INFO, Redactor())

    log.log("warning", "order.rejected", error=HOSTILE, places=Path(HOSTILE), codes=[HOSTILE])

    (line,) = stream.getvalue().splitlines()
    assert line.isprintable()
    assert "forged" in line


def test_json_escapes_by_itself_and_loses_nothing() -> None:
    """Programs read it."""
    stream = io.StringIO()

    Log(stream, LogFormat.JSON, LogLevel.INFO, Redactor()).log("warning", "order.rejected", error=HOSTILE)

    (line,) = stream.getvalue().splitlines()
    assert line.isprintable()
    assert json.loads(line)["error"] == HOSTILE


@pytest.mark.parametrize(
    ("access_log", "statuses"),
    [(AccessLog.ALL, [200, 401, 499]), (AccessLog.ERRORS, [401, 499]), (AccessLog.NONE, [])],
)
def test_the_lines_of_requests_can_be_left_out(access_log: AccessLog, statuses: list[int]) -> None:
    """All of them or those without an error. Everything else is written whatever the setting is."""
    written = io.StringIO()
    log = Log(written, LogFormat.JSON, LogLevel.INFO, Redactor())
    log.access_log = access_log
    for status in (200, 401, 499):
        log.on_event(events.RequestServed("id", "full", "GET", "/accounts", status, 1.0, "gateway"))
    log.on_event(events.RequestFailed("id", "KeyError", "api/routes.py:1"))

    seen = [json.loads(line) for line in written.getvalue().splitlines()]
    assert [line["status"] for line in seen if line["event"] == "request"] == statuses
    assert seen[-1]["event"] == "request.failed"
