"""How the Gateway's certificate is checked: not at all, by its fingerprint, or with a CA file."""

from __future__ import annotations

import hashlib
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ibkr_bridge.calls.messages import Call
from ibkr_bridge.clock import SystemClock
from ibkr_bridge.errors import GatewayUnreachable
from ibkr_bridge.events import Bus
from ibkr_bridge.redaction import Redactor
from ibkr_bridge.session.state_machine import SessionState
from ibkr_bridge.sim.gateway.server import CERTIFICATE
from ibkr_bridge.sim.simulator import Simulator
from ibkr_bridge.upstream.gateway.client import GatewayClient
from ibkr_bridge.upstream.gateway.cookies import CookieStore
from ibkr_bridge.upstream.gateway.tls import tls_policy
from ibkr_bridge.upstream.http.tls import Tls
from tests.conftest import OpenHarness
from tests.upstream.gateway.scripted_gateway import TEST_TIMEOUT_S, ScriptedGateway

STATUS = Call("GET", "/v1/api/iserver/auth/status")
ORDER = Call("POST", "/v1/api/iserver/account/DU1234567/orders", body=b"{}", is_change=True)


def fingerprint_of(pem: Path) -> bytes:
    """The SHA-256 of the certificate in a file."""
    text = pem.read_text()
    begin, end = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(begin + text.split(begin)[1].split(end)[0] + end)).digest()


@pytest.fixture(scope="module")
def own_certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with a valid certificate for 127.0.0.1 and its key, as an owner may install in the Gateway."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is not installed, so no certificate can be made")
    pem = tmp_path_factory.mktemp("tls") / "own.pem"
    key = pem.with_suffix(".key")
    subject = ["-subj", "/CN=A Gateway of my own", "-addext", "subjectAltName=IP:127.0.0.1"]
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    command = [openssl, "req", "-x509", "-days", "2", *curve, *subject, "-keyout", str(key), "-out", str(pem)]
    subprocess.run(command, check=True, capture_output=True)
    pem.write_text(pem.read_text() + key.read_text())
    return pem


def tls_1_2_context(pem: Path) -> ssl.SSLContext:
    """A server's context for TLS 1.2 only, as in the Gateway's Java."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(pem)
    return context


@pytest.fixture
async def gateway_with_own_certificate(own_certificate: Path) -> AsyncIterator[ScriptedGateway]:
    """A scripted Gateway with a valid certificate."""
    async with ScriptedGateway(tls=tls_1_2_context(own_certificate)) as gateway:
        yield gateway


async def fetch_status(url: str, tls: Tls, call: Call = STATUS) -> int:
    """Send one call with this TLS policy. Returns the status of the response."""
    client = GatewayClient(url, CookieStore(None, Bus(), Redactor(), SystemClock()), TEST_TIMEOUT_S, tls)
    try:
        return (await client.send(call)).status
    finally:
        await client.close()


async def test_on_loopback_the_shipped_certificate_is_not_checked(sim: Simulator) -> None:
    """It is expired, self-signed and without a name, so it cannot be verified."""
    assert await fetch_status(sim.url, tls_policy(None, None)) == 200


async def test_the_right_fingerprint_is_accepted(sim: Simulator) -> None:
    """The fingerprint is the only meaningful check of the shipped certificate."""
    assert await fetch_status(sim.url, tls_policy(fingerprint_of(CERTIFICATE), None)) == 200


@pytest.mark.parametrize("call", [STATUS, ORDER])
async def test_a_wrong_fingerprint_is_refused_before_anything_is_sent(sim: Simulator, call: Call) -> None:
    """Another program listens on the port: it gets neither cookies nor orders."""
    with pytest.raises(GatewayUnreachable) as caught:
        await fetch_status(sim.url, tls_policy(bytes(32), None), call)

    assert "certificate" in caught.value.detail
    assert "IBKR_GATEWAY_FINGERPRINT" in caught.value.hint
    assert not sim.gateway_calls()


async def test_a_ca_file_with_the_right_certificate_is_accepted(
    gateway_with_own_certificate: ScriptedGateway, own_certificate: Path
) -> None:
    """For owners who gave their Gateway a certificate of their own."""
    assert await fetch_status(gateway_with_own_certificate.url, tls_policy(None, own_certificate)) == 200


async def test_a_ca_file_with_another_certificate_refuses_before_anything_is_sent(
    sim: Simulator, own_certificate: Path
) -> None:
    """The hint names the setting."""
    with pytest.raises(GatewayUnreachable) as caught:
        await fetch_status(sim.url, tls_policy(None, own_certificate))

    assert "IBKR_GATEWAY_CA_FILE" in caught.value.hint
    assert not sim.gateway_calls()


async def test_a_ca_file_cannot_make_an_expired_certificate_valid(sim: Simulator) -> None:
    """The shipped one has no name and expired in 2019: only a fingerprint can pin it."""
    with pytest.raises(GatewayUnreachable):
        await fetch_status(sim.url, tls_policy(None, CERTIFICATE))


async def test_a_fingerprint_overrides_a_ca_file(sim: Simulator, own_certificate: Path) -> None:
    """It is the stricter of the two."""
    assert await fetch_status(sim.url, tls_policy(fingerprint_of(CERTIFICATE), own_certificate)) == 200


def test_a_ca_file_without_certificates_is_refused_at_the_start(tmp_path: Path) -> None:
    """The error comes at the start, not at the first call."""
    ca_file = tmp_path / "ca.pem"
    ca_file.write_text("no certificate")

    with pytest.raises(OSError, match=r".+"):
        tls_policy(None, ca_file)


async def test_plain_http_is_used_for_an_http_address() -> None:
    """For a Gateway behind a proxy on the same machine that ends TLS."""
    async with ScriptedGateway() as gateway:
        assert await fetch_status(gateway.url, tls_policy(None, None)) == 200
        assert gateway.url.startswith("http://")


async def test_a_bridge_with_a_wrong_fingerprint_reports_it(open_harness: OpenHarness) -> None:
    """The hint names the setting to correct, and the caller learns that there is no session."""
    harness = await open_harness(ready=False, IBKR_GATEWAY_FINGERPRINT="ab" * 32)
    await harness.wait_until(SessionState.UNREACHABLE)

    reply = await harness.get("/portfolio/accounts")

    assert (reply.status, reply.code) == (503, "gateway_unreachable")
    assert "IBKR_GATEWAY_FINGERPRINT" in reply.json["hint"]


async def test_a_bridge_with_the_right_fingerprint_serves(open_harness: OpenHarness) -> None:
    """The fingerprint may have colons, as openssl prints it."""
    pinned = ":".join(f"{byte:02X}" for byte in fingerprint_of(CERTIFICATE))

    harness = await open_harness(IBKR_GATEWAY_FINGERPRINT=pinned)

    assert (await harness.get("/portfolio/accounts")).status == 200
