"""`bridge.py sim`: the simulated Gateway alone, on a port of its own."""

from __future__ import annotations

import json
import signal
import socket
import ssl
from pathlib import Path

import pytest

from ibkr_bridge.sim.market_stage import browser_tls
from tests.cli.typed import BAD, GOOD, PATIENCE, Place, Running

LISTENS = r"A simulated Gateway listens at https://127\.0\.0\.1:(\d+)\. Ctrl-C ends it\."


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """An empty directory."""
    return Place(tmp_path)


def port_of(sim: Running) -> int:
    """Where it listens, as it says itself."""
    return int(sim.until(LISTENS)[1])


def asked(port: int, path: str) -> tuple[int, bytes]:
    """Status and body of one answer, as a client on the same machine gets it."""
    context: ssl.SSLContext = browser_tls()
    with socket.create_connection(("127.0.0.1", port), PATIENCE) as plain, context.wrap_socket(plain) as wire:
        wire.sendall(f"GET /v1/api{path} HTTP/1.0\r\nHost: localhost\r\n\r\n".encode())
        whole = b"".join(iter(lambda: wire.recv(65536), b""))
    head, _, body = whole.partition(b"\r\n\r\n")
    return int(head.split()[1]), body


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_in_order(place: Place, signum: signal.Signals) -> None:
    """And leaves no socket behind."""
    with place.running("sim", "--gateway-port", "0") as sim:
        port_of(sim)

        status = sim.told(signum)

    assert status == GOOD
    assert not [path for path in (place.home / "run").rglob("*") if path.is_socket()]
    assert "Traceback" not in sim.said


def test_it_may_begin_with_nobody_signed_in(place: Place) -> None:
    """As every morning."""
    with place.running("sim", "--gateway-port", "0", "--signed-out") as sim:
        assert asked(port_of(sim), "/iserver/auth/status")[0] == 401


def test_it_may_have_live_accounts(place: Place) -> None:
    """For those who test what they refuse."""
    with place.running("sim", "--gateway-port", "0", "--live") as sim:
        body = asked(port_of(sim), "/iserver/accounts")[1]

    assert json.loads(body)["accounts"][0].startswith("U")


def test_it_takes_a_free_port_and_triggers_by_that(place: Place) -> None:
    """Somebody is signed in at once; there is no bridge whose port could be named."""
    with place.running("sim", "--gateway-port", "0") as sim:
        port = port_of(sim)
        before = asked(port, "/iserver/auth/status")
        told = place.run("trigger", "sso-lost", "--port", str(port))
        status = asked(port, "/iserver/auth/status")[0]

    assert (before[0], json.loads(before[1])["authenticated"]) == (200, True)
    assert (told.returncode, status) == (GOOD, 401)


def test_a_taken_port_is_said(place: Place) -> None:
    """One line, no traceback."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]

        told = place.run("sim", "--gateway-port", str(port))

    assert told.returncode == BAD
    assert f"127.0.0.1:{port}" in told.stderr
    assert "Traceback" not in told.stderr


def test_its_socket_is_for_its_owner_alone(place: Place) -> None:
    """Another user of the machine must not pull its strings."""
    with place.running("sim", "--gateway-port", "0") as sim:
        port = port_of(sim)
        (control,) = [path for path in (place.home / "run").rglob("*") if path.is_socket()]
        modes = (control.stat().st_mode & 0o777, control.parent.stat().st_mode & 0o777)

    assert control.name == f"{port}.sock"
    assert modes == (0o600, 0o700)
