"""Looks at the Gateway's port without a call to IBKR."""

from __future__ import annotations

import asyncio
import socket
import ssl
import subprocess
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ibkr_bridge.cli.doctor.gateway_probe import GatewayAnswer, probe_gateway, reachable_addresses, read_root
from ibkr_bridge.config.settings import Settings
from ibkr_bridge.sim.gateway.rules import OWN_PAGES_ONLY
from ibkr_bridge.sim.gateway.rules import Settings as GatewaySettings
from ibkr_bridge.sim.simulator import Simulator
from tests.cli.command_runner import free_port
from tests.cli.doctor.healthy import settings


def settings_of(url: str, **env: str) -> Settings:
    """Settings with a Gateway."""
    return settings(IBKR_GATEWAY_URL=url, **env)


async def probe(sim: Simulator, **env: str) -> GatewayAnswer:
    """Probe a simulated Gateway from a thread, as the command does."""
    return await asyncio.to_thread(probe_gateway, settings_of(sim.url, **env))


async def test_the_root_page_is_all_that_is_requested(sim: Simulator) -> None:
    """IBKR gets no call: five that are not answered stop the Gateway."""
    before = len(sim.calls())
    answer = await probe(sim)

    assert (answer.error, answer.status, answer.is_denied) == ("", 302, False)
    assert answer.tls == "TLSv1.2"
    assert len(answer.fingerprint) == 64
    assert [call.path for call in sim.gateway_calls() if call.path == "/"] == ["/"]
    assert [call.path for call in sim.calls()[before:] if "doctor" in call.path] == []


async def test_a_gateway_that_answers_pages_of_other_origins_is_seen(sim: Simulator) -> None:
    """So it is shipped."""
    assert (await probe(sim)).allowed_origin == "*"


async def test_a_gateway_with_the_advised_rule_answers_no_other_page() -> None:
    """The request is refused by the Gateway itself."""
    async with Simulator(settings=OWN_PAGES_ONLY) as sim:
        answer = await probe(sim)

    assert (answer.allowed_origin, answer.error) == ("", "")
    assert answer.status == 403


async def test_denied_access_is_seen() -> None:
    """404 with these words is no missing page."""
    async with Simulator(settings=GatewaySettings(allow=("10.0.0.1",))) as sim:
        answer = await probe(sim)

    assert answer.is_denied


async def test_a_pinned_certificate_is_compared(sim: Simulator) -> None:
    """Another one may be another program."""
    right = (await probe(sim)).fingerprint

    assert (await probe(sim, IBKR_GATEWAY_FINGERPRINT=right)).certificate_problem == ""
    assert "FINGERPRINT" in (await probe(sim, IBKR_GATEWAY_FINGERPRINT="00" * 32)).certificate_problem


@pytest.fixture
def ca_file(tmp_path: Path) -> Path:
    """The certificate of an authority that has signed nothing."""
    ca_file, key_file = str(tmp_path / "ca.pem"), str(tmp_path / "ca.key")
    options = ("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=ca", "-days", "2")
    command = ["openssl", *options, "-keyout", key_file, "-out", ca_file]
    subprocess.run(command, check=True, capture_output=True)
    return Path(ca_file)


async def test_a_certificate_that_no_authority_signed_is_seen(sim: Simulator, ca_file: Path) -> None:
    """The settings name a file of authorities."""
    answer = await probe(sim, IBKR_GATEWAY_CA_FILE=str(ca_file))

    assert "IBKR_GATEWAY_CA_FILE" in answer.certificate_problem


def test_a_closed_port_is_refused() -> None:
    """Nothing listens."""
    assert "refused" in probe_gateway(settings_of(f"https://127.0.0.1:{free_port()}")).error


def test_a_port_that_accepts_and_is_silent_ends_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """The handshake never ends."""
    monkeypatch.setattr("ibkr_bridge.cli.doctor.gateway_probe.CONNECT_TIMEOUT_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        answer = probe_gateway(settings_of(f"https://127.0.0.1:{silent.getsockname()[1]}"))

    assert answer.is_timeout


def test_a_port_without_tls_is_seen(tmp_path: Path) -> None:
    """Another program has the port."""
    with socket.create_server(("127.0.0.1", 0)) as plain:
        plain.settimeout(10)
        url = f"https://127.0.0.1:{plain.getsockname()[1]}"

        def answer_in_plain_text() -> None:
            connection, _ = plain.accept()
            with connection:
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                connection.recv(1000)

        thread = threading.Thread(target=answer_in_plain_text)
        thread.start()
        answer = probe_gateway(settings_of(url))
        thread.join()

    assert answer.is_wrong_tls
    assert issubclass(ssl.SSLError, OSError)  # so the order of the handlers matters


def test_only_open_addresses_are_reachable() -> None:
    """Nothing is sent to them."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        assert reachable_addresses(["127.0.0.1", "127.0.0.2"], port) == ["127.0.0.1"]


@given(st.text())
def test_no_answer_confuses_the_reader(text: str) -> None:
    """Whatever listens there may send anything."""
    known_tls = GatewayAnswer(tls="TLSv1.2")

    assert read_root(text, known_tls).tls == "TLSv1.2"


def test_an_answer_without_status_is_no_http() -> None:
    """The connection alone was seen."""
    assert read_root("SSH-2.0-OpenSSH\r\n", GatewayAnswer(tls="x")) == GatewayAnswer(tls="x")
