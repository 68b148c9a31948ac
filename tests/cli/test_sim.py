"""`bridge.py sim`: the simulated Gateway alone, on a port of its own."""

from __future__ import annotations

import json
import signal
import socket
import ssl
import urllib.request
from pathlib import Path

import pytest

from ibkr_bridge.sim.market_stage import browser_tls
from tests.cli.command_runner import EXIT_FAILURE, EXIT_OK, TIMEOUT_S, Place, Running

LISTENS = r"A simulated Gateway listens at https://127\.0\.0\.1:(\d+)\. Ctrl-C ends it\."


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """An empty directory."""
    return Place(tmp_path)


def port_of(sim: Running) -> int:
    """The port that its output names."""
    return int(sim.wait_for(LISTENS)[1])


def get(port: int, path: str) -> tuple[int, bytes]:
    """Status and body of the response that a client on the same machine gets."""
    context: ssl.SSLContext = browser_tls()
    with socket.create_connection(("127.0.0.1", port), TIMEOUT_S) as plain, context.wrap_socket(plain) as wire:
        wire.sendall(f"GET /v1/api{path} HTTP/1.0\r\nHost: localhost\r\n\r\n".encode())
        received = b"".join(iter(lambda: wire.recv(65536), b""))
    head, _, body = received.partition(b"\r\n\r\n")
    return int(head.split()[1]), body


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_in_order(place: Place, signum: signal.Signals) -> None:
    """No socket stays behind."""
    with place.running("sim", "--gateway-port", "0") as sim:
        port_of(sim)

        status = sim.send_signal(signum)

    assert status == EXIT_OK
    assert not [path for path in (place.home / "run").rglob("*") if path.is_socket()]
    assert "Traceback" not in sim.output


def test_the_first_account_may_have_more_positions(place: Place) -> None:
    """A client of the API must read several pages."""
    with place.running("sim", "--gateway-port", "0", "--positions", "101") as sim:
        port = port_of(sim)
        get(port, "/portfolio/accounts")
        sizes = [len(json.loads(get(port, f"/portfolio/DU1234567/positions/{page}")[1])) for page in range(3)]

    assert sizes == [100, 1, 0]


def test_it_may_begin_with_nobody_signed_in(place: Place) -> None:
    """As on every morning after IBKR ended the login."""
    with place.running("sim", "--gateway-port", "0", "--signed-out") as sim:
        assert get(port_of(sim), "/iserver/auth/status")[0] == 401


def test_it_may_have_live_accounts(place: Place) -> None:
    """For tests of refusals that concern live accounts."""
    with place.running("sim", "--gateway-port", "0", "--live") as sim:
        body = get(port_of(sim), "/iserver/accounts")[1]

    assert json.loads(body)["accounts"][0].startswith("U")


def test_it_takes_a_free_port_and_triggers_by_that(place: Place) -> None:
    """It begins signed in. `trigger` uses its port, since there is no bridge."""
    with place.running("sim", "--gateway-port", "0") as sim:
        port = port_of(sim)
        before = get(port, "/iserver/auth/status")
        result = place.run("trigger", "sso-lost", "--port", str(port))
        status = get(port, "/iserver/auth/status")[0]

    assert (before[0], json.loads(before[1])["authenticated"]) == (200, True)
    assert (result.returncode, status) == (EXIT_OK, 401)


def test_a_port_in_use_is_reported(place: Place) -> None:
    """One line, no traceback."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]

        result = place.run("sim", "--gateway-port", str(port))

    assert result.returncode == EXIT_FAILURE
    assert f"127.0.0.1:{port}" in result.stderr
    assert "Traceback" not in result.stderr


def test_its_socket_is_for_its_owner_alone(place: Place) -> None:
    """Another user of the machine must not control it."""
    with place.running("sim", "--gateway-port", "0") as sim:
        port = port_of(sim)
        (control,) = [path for path in (place.home / "run").rglob("*") if path.is_socket()]
        modes = (control.stat().st_mode & 0o777, control.parent.stat().st_mode & 0o777)

    assert control.name == f"{port}.sock"
    assert modes == (0o600, 0o700)


def test_it_may_be_api_ibkr_com_as_well(place: Place) -> None:
    """A program without a Gateway can register and check the certificate; the file is gone afterwards."""
    with place.running("sim", "--gateway-port", "0", "--api-port", "0") as sim:
        port = int(sim.wait_for(r"A simulated api\.ibkr\.com listens at https://127\.0\.0\.1:(\d+)\.")[1])
        ca_file = Path(sim.wait_for(r"The certificate to trust: (\S+)")[1])
        trust = ssl.create_default_context(cafile=ca_file)
        request = urllib.request.Request(f"https://127.0.0.1:{port}/self-service", headers={"User-Agent": "test"})
        with urllib.request.urlopen(request, context=trust, timeout=TIMEOUT_S) as answer:  # noqa: S310 - https alone
            page = answer.read()
        status = sim.send_signal(signal.SIGTERM)

    assert b"public_signature.pem" in page
    assert status == EXIT_OK
    assert not ca_file.exists()
