"""`bridge.py status`: the state of the session, for a person at a terminal and for scripts."""

from __future__ import annotations

import dataclasses
import http.server
import json
import re
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import pytest

from ibkr_bridge.cache.cached_reads import CacheStatus
from ibkr_bridge.cli.status import format_status
from ibkr_bridge.conditions.condition import Condition
from ibkr_bridge.limits.admission import BudgetStatus, SlotsStatus, WaitingStatus
from ibkr_bridge.limits.penalty_box import PenaltyStatus
from ibkr_bridge.orders.rules.trading_pause import PauseStatus
from ibkr_bridge.orders.service import JournalStatus
from ibkr_bridge.profiles.status import AccountStatus, FlagsStatus, ProfileStatus
from ibkr_bridge.session.session_status import KeeperStatus
from ibkr_bridge.streaming.service import StreamStatus
from tests.cli.command_runner import EXIT_FAILURE, EXIT_MISCONFIGURED, EXIT_OK, KEY, Demo, Place, free_port

AT = datetime(2026, 6, 17, 16, 0, 0, tzinfo=UTC)
STATUS_WITH_PROBLEMS = ProfileStatus(
    KeeperStatus(
        "opening", False, True, False, "lost", "wait", AT, AT, None, "approve it", "next check in 1.0 s", AT, AT
    ),
    (
        Condition("trading_paused", "main", "warning", AT, "full key paused trading", "resume it", None),
        Condition("signed_out", "main", "critical", AT, "nobody is signed in", "sign in", "https://127.0.0.1:5000"),
    ),
    FlagsStatus(
        "paper", True, PauseStatus("full key", "2026-06-17T16:00:00+00:00"), AT, True, "https://127.0.0.1:5000"
    ),
    (AccountStatus("DU*****67", "paper"),),
    SlotsStatus(4, 3, 2, 1),
    WaitingStatus(0, 1, 1),
    BudgetStatus(7, 8, 1.0),
    PenaltyStatus(0, {"/iserver/account/trades": 8}),
    CacheStatus(10, 4, 1, 0.5, 3, 4096),
    JournalStatus("the disk is full", {"placed": 2, "not_placed": 1}, None),
    StreamStatus(False, "lost", "2026-06-17T15:59:00.000Z", 1, 5, 1, 4, 0, 3, None),
)


@contextmanager
def impostor(status: int, body: bytes) -> Iterator[str]:
    """Another program that listens where the bridge should; yields its address."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # http.server requires this name
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            return

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_ready_session_is_printed_as_text(place: Place, running: Demo) -> None:
    """The first line is the state; the others say since when, what comes next, and which accounts."""
    result, data = place.both("status", **running.env)

    lines = result.stdout.splitlines()
    assert (result.returncode, result.stderr, data.returncode) == (EXIT_OK, "", EXIT_OK)
    assert set(json.loads(data.stdout)) == set(running.get("/gateway/status").json())
    assert lines[0] == "READY: signed in, brokerage calls work"
    rows = [line for line in lines[1:] if line.startswith("  ") and line[2] != " "]  # other tests may leave conditions
    assert [row.split()[0] for row in rows] == [
        "since",
        "reason",
        "next",
        "mode",
        "accounts",
        "login",
        "Gateway",
        "traffic",
        "orders",
        "stream",
    ]
    assert "paper" in result.stdout
    assert "DU*****67 (paper)" in result.stdout
    assert "DU1234567" not in result.stdout
    assert running.key not in result.stdout


def test_what_needs_a_restart_is_printed() -> None:
    """Only if there is something."""
    changed = dataclasses.replace(STATUS_WITH_PROBLEMS.flags, restart_needed=("IBKR_READ_ONLY", "IBKR_COMPETE"))
    status = dataclasses.replace(STATUS_WITH_PROBLEMS, flags=changed).as_json()

    assert "\n  restart     needed for IBKR_READ_ONLY, IBKR_COMPETE, which changed" in format_status(status, AT)


def test_no_control_character_reaches_the_terminal() -> None:
    """IBKR's words and a problem's text come from outside, and a line end in them would look like another row."""
    words = "sign in\x1b]0;x\x07\n  mode        live"
    session = dataclasses.replace(STATUS_WITH_PROBLEMS.session, ibkr_message=words)
    conditions = (Condition("journal_unavailable", "main", "critical", AT, words, words, None),)
    changed = dataclasses.replace(STATUS_WITH_PROBLEMS, session=session, conditions=conditions)
    text = format_status(changed.as_json(), AT)

    assert all(line.isprintable() for line in text.splitlines())
    assert "sign in\\x1b]0;x\\x07\\n  mode" in text


def test_every_part_of_the_status_is_printed() -> None:
    """The bridge's own status is formatted here, so a member renamed on one side alone makes this fail."""
    lines = format_status(STATUS_WITH_PROBLEMS.as_json(), AT).splitlines()

    assert lines == [
        "OPENING: signed in, the brokerage session is being opened",
        "warning trading_paused: full key paused trading",
        "   to do: resume it",
        "critical signed_out: nobody is signed in",
        "   to do: sign in (https://127.0.0.1:5000)",
        "  since       2026-06-17 16:00:00 UTC, 0 seconds",
        "  reason      lost",
        "  IBKR says   approve it",
        "  next        next check in 1.0 s",
        "  mode        paper, read-only, paused by full key, maintenance until 2026-06-17T16:00:00Z, draining",
        "  accounts    DU*****67 (paper)",
        "  login       lasts until 2026-06-17T16:00:00Z unless kept alive; IBKR ends it at 2026-06-17T16:00:00Z",
        "  Gateway     https://127.0.0.1:5000, 3 of 4 slots taken, 2 waiting, 1 abandoned",
        "  traffic     7 of 8 calls a second used; waiting: 1 orders, 1 reads; 50% of reads answered from the cache",
        "  penalty     /iserver/account/trades for 8 s",
        "  orders      refused: the journal cannot be written (the disk is full); 2 placed, 1 not placed",
        "  stream      down for 1 minute: lost; 5 readers, 1 behind, 3 contracts of 100",
    ]


def test_the_settings_may_stand_in_the_env_file(place: Place, running: Demo) -> None:
    """As they do for the daemon."""
    place.write_dotenv("".join(f"{name}={value}\n" for name, value in running.env.items()))

    result = place.run("status")

    place.write_dotenv("")
    assert result.returncode == EXIT_OK


def test_a_lost_session_ends_with_1_and_says_what_to_do(place: Place, running: Demo) -> None:
    """Scripts read the exit status, people the text."""
    running.control("POST", "/faults", kind="sso-lost")

    words, data = place.both("status", **running.env)

    assert (words.returncode, data.returncode) == (EXIT_FAILURE, EXIT_FAILURE)
    assert words.stdout.startswith("SIGNED OUT: nobody is signed in")
    assert "sign in" in words.stdout
    assert json.loads(data.stdout)["state"] == "signed_out"


def test_a_trading_pause_is_printed(place: Place, running: Demo) -> None:
    """A person who wonders why orders are refused sees it here."""
    running.post("/gateway/pause")
    result = place.run("status", **running.env)
    running.post("/gateway/resume")

    assert "paused by full key" in result.stdout
    assert result.returncode == EXIT_OK  # the exit status is about the session alone


def test_colours_add_nothing_but_colours() -> None:
    """The words say everything; red is what fails now."""
    plain = format_status(STATUS_WITH_PROBLEMS.as_json(), AT)
    coloured = format_status(STATUS_WITH_PROBLEMS.as_json(), AT, in_color=True)

    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == plain
    assert "\x1b[1;31mcritical\x1b[0m signed_out" in coloured
    assert "\x1b[33mwarning\x1b[0m trading_paused" in coloured
    assert coloured.startswith("\x1b[33mOPENING")


@pytest.mark.parametrize(
    ("words", "env", "has_colors"),
    [((), {}, False), (("--color", "always"), {"NO_COLOR": "1"}, True), (("--color", "always", "--json"), {}, False)],
)
def test_a_file_gets_colours_only_if_asked_for(
    place: Place, running: Demo, words: tuple[str, ...], env: dict[str, str], has_colors: bool
) -> None:
    """And JSON never does."""
    result = place.run("status", *words, **running.env, **env)

    assert ("\x1b[" in result.stdout) is has_colors


def test_watching_ends_with_ctrl_c_and_without_a_traceback(place: Place, running: Demo) -> None:
    """It runs until a person stops it."""
    with place.running("status", "--watch", **running.env) as watching:
        watching.wait_for("READY")

        status = watching.send_signal(signal.SIGINT)

    assert status in (EXIT_OK, EXIT_FAILURE)
    assert "Traceback" not in watching.output


def test_a_missing_bridge_is_reported(place: Place) -> None:
    """With the address that was tried, and what to do."""
    url = f"http://127.0.0.1:{free_port()}"

    words, data = place.both("status", IBKR_BRIDGE_URL=url, IBKR_BRIDGE_KEY=KEY)

    assert (words.returncode, data.returncode) == (EXIT_FAILURE, EXIT_FAILURE)
    assert f"nothing answers at {url}: start the bridge" in words.stdout
    assert json.loads(data.stdout)["state"] is None


def test_a_wrong_key_is_reported(place: Place, running: Demo) -> None:
    """The hint names the setting to correct."""
    result = place.run("status", **{**running.env, "IBKR_BRIDGE_KEY": KEY})

    assert result.returncode == EXIT_FAILURE
    assert "IBKR_BRIDGE_KEY" in result.stdout
    assert KEY not in result.stdout + result.stderr


@pytest.mark.parametrize(
    ("command", "status", "body"),
    [
        ("status", 200, b"{}"),
        ("status", 200, b"null"),
        ("doctor", 200, b'{"state":"x","authenticated":true}'),
    ],
)
def test_another_program_on_the_port_is_reported_without_a_traceback(
    place: Place, command: str, status: int, body: bytes
) -> None:
    """Many programs use port 8000."""
    with impostor(status, body) as url:
        result = place.run(command, IBKR_BRIDGE_URL=url, IBKR_BRIDGE_KEY=KEY)

    assert result.returncode == EXIT_FAILURE
    assert "Traceback" not in result.stderr
    assert "is not this bridge" in result.stdout


def test_settings_that_cannot_be_used_end_with_78(place: Place) -> None:
    """The messages are those of the daemon."""
    result = place.run("status", IBKR_BRIDGE_KEY="short", IBKR_TRADING_MODE="real")

    assert result.returncode == EXIT_MISCONFIGURED
    assert "IBKR_BRIDGE_KEY" in result.stderr
    assert "IBKR_TRADING_MODE" in result.stderr
