"""`bridge.py status`: the session in words, for a person at a terminal and for scripts."""

from __future__ import annotations

import http.server
import json
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.cli.typed import BAD, GOOD, KEY, MISCONFIGURED, Demo, Place, free_port


@contextmanager
def impostor(status: int, body: bytes) -> Iterator[str]:
    """Something else that listens where the bridge should; its address."""

    class Answering(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # its name is given
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            return

    server = http.server.HTTPServer(("127.0.0.1", 0), Answering)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_ready_session_is_told_in_words(place: Place, running: Demo) -> None:
    """The first line says it all; the others say since when, what next, and whose money."""
    told, data = place.both("status", **running.env)

    lines = told.stdout.splitlines()
    assert (told.returncode, told.stderr, data.returncode) == (GOOD, "", GOOD)
    assert set(json.loads(data.stdout)) == set(running.get("/gateway/status").json())
    assert lines[0] == "READY: signed in, brokerage calls work"
    assert [line.split()[0] for line in lines[1:]] == [
        "since",
        "why",
        "to",
        "next",
        "mode",
        "accounts",
        "login",
        "Gateway",
        "traffic",
        "orders",
        "stream",
    ]
    assert "paper" in told.stdout
    assert "DU*****67 (paper)" in told.stdout
    assert "DU1234567" not in told.stdout
    assert running.key not in told.stdout


def test_the_settings_may_stand_in_the_env_file(place: Place, running: Demo) -> None:
    """As they do for the daemon."""
    place.write_dotenv("".join(f"{name}={value}\n" for name, value in running.env.items()))

    told = place.run("status")

    place.write_dotenv("")
    assert told.returncode == GOOD


def test_a_lost_session_ends_with_1_and_says_what_to_do(place: Place, running: Demo) -> None:
    """Scripts look at the status, people at the words."""
    running.pull("POST", "/faults", kind="sso-lost")

    words, data = place.both("status", **running.env)

    assert (words.returncode, data.returncode) == (BAD, BAD)
    assert words.stdout.startswith("SIGNED OUT: nobody is signed in at the Gateway")
    assert "sign in" in words.stdout
    assert json.loads(data.stdout)["state"] == "signed_out"


def test_a_brake_is_told(place: Place, running: Demo) -> None:
    """Whoever wonders why no order passes reads it here."""
    running.post("/gateway/pause")
    told = place.run("status", **running.env)
    running.post("/gateway/resume")

    assert "paused by full key" in told.stdout
    assert told.returncode == GOOD  # the session is what is asked for


def test_watching_ends_with_ctrl_c_and_without_a_traceback(place: Place, running: Demo) -> None:
    """It goes on until a person has seen enough."""
    with place.running("status", "--watch", **running.env) as watching:
        watching.until("READY")

        status = watching.told(signal.SIGINT)

    assert status in (GOOD, BAD)
    assert "Traceback" not in watching.said


def test_nobody_there_is_said(place: Place) -> None:
    """With the address that was tried, and what to do."""
    url = f"http://127.0.0.1:{free_port()}"

    words, data = place.both("status", IBKR_BRIDGE_URL=url, IBKR_BRIDGE_KEY=KEY)

    assert (words.returncode, data.returncode) == (BAD, BAD)
    assert f"nothing answers at {url}: start the bridge" in words.stdout
    assert json.loads(data.stdout)["state"] is None


def test_a_wrong_key_is_said(place: Place, running: Demo) -> None:
    """It is the bridge that refuses, and the hint names the setting."""
    told = place.run("status", **{**running.env, "IBKR_BRIDGE_KEY": KEY})

    assert told.returncode == BAD
    assert "IBKR_BRIDGE_KEY" in told.stdout
    assert KEY not in told.stdout + told.stderr


@pytest.mark.parametrize(
    ("command", "status", "body"),
    [
        ("status", 200, b"{}"),
        ("status", 200, b"null"),
        ("doctor", 200, b'{"state":"x","authenticated":true}'),
    ],
)
def test_another_program_on_the_port_is_said_without_a_traceback(
    place: Place, command: str, status: int, body: bytes
) -> None:
    """Port 8000 is popular."""
    with impostor(status, body) as url:
        told = place.run(command, IBKR_BRIDGE_URL=url, IBKR_BRIDGE_KEY=KEY)

    assert told.returncode == BAD
    assert "Traceback" not in told.stderr
    assert "is not this bridge" in told.stdout


def test_settings_that_cannot_be_used_end_with_78(place: Place) -> None:
    """All of them, in the words of the daemon."""
    told = place.run("status", IBKR_BRIDGE_KEY="short", IBKR_TRADING_MODE="real")

    assert told.returncode == MISCONFIGURED
    assert "IBKR_BRIDGE_KEY" in told.stderr
    assert "IBKR_TRADING_MODE" in told.stderr
