"""How the Gateway's certificate is judged: taken as it is, pinned, or vouched for by a file."""

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
from ibkr_bridge.upstream.gateway.tls import Tls, tls_policy
from tests.conftest import Open
from tests.upstream.gateway.scripted_gateway import PATIENCE, Stage

STATUS = Call("GET", "/v1/api/iserver/auth/status")
ORDER = Call("POST", "/v1/api/iserver/account/DU1234567/orders", body=b"{}", is_change=True)


def fingerprint(pem: Path) -> bytes:
    """The SHA-256 of the certificate in a file."""
    text = pem.read_text()
    begin, end = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(begin + text.split(begin)[1].split(end)[0] + end)).digest()


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A valid certificate for 127.0.0.1 with its key, as careful people put one into their Gateway."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is not installed, so no certificate can be made")
    pem = tmp_path_factory.mktemp("tls") / "own.pem"
    key = pem.with_suffix(".key")
    subject = ["-subj", "/CN=A Gateway of my own", "-addext", "subjectAltName=IP:127.0.0.1"]
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    made = [openssl, "req", "-x509", "-days", "2", *curve, *subject, "-keyout", str(key), "-out", str(pem)]
    subprocess.run(made, check=True, capture_output=True)
    pem.write_text(pem.read_text() + key.read_text())
    return pem


def speaking(pem: Path) -> ssl.SSLContext:
    """TLS 1.2 and nothing newer, as the Gateway's Java speaks it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(pem)
    return context


@pytest.fixture
async def vouched(own: Path) -> AsyncIterator[Stage]:
    """A Gateway with a valid certificate."""
    async with Stage(tls=speaking(own)) as stage:
        yield stage


async def status(url: str, tls: Tls, call: Call = STATUS) -> int:
    """What one call brings."""
    client = GatewayClient(url, CookieStore(None, Bus(), Redactor(), SystemClock()), PATIENCE, tls)
    try:
        return (await client.send(call)).status
    finally:
        await client.close()


async def test_on_loopback_the_shipped_certificate_is_taken_as_it_is(sim: Simulator) -> None:
    """Expired, self-signed, without a name, TLS 1.2: nobody could verify it."""
    assert await status(sim.url, tls_policy(None, None)) == 200


async def test_the_right_fingerprint_opens(sim: Simulator) -> None:
    """The one meaningful check of the shipped certificate."""
    assert await status(sim.url, tls_policy(fingerprint(CERTIFICATE), None)) == 200


@pytest.mark.parametrize("call", [STATUS, ORDER])
async def test_a_wrong_fingerprint_refuses_before_anything_is_sent(sim: Simulator, call: Call) -> None:
    """Somebody else sits on the port: neither cookies nor orders reach them."""
    with pytest.raises(GatewayUnreachable) as caught:
        await status(sim.url, tls_policy(bytes(32), None), call)

    assert "certificate" in caught.value.detail
    assert "IBKR_GATEWAY_FINGERPRINT" in caught.value.hint
    assert not sim.gateway_calls()


async def test_a_file_that_vouches_for_the_certificate_opens(vouched: Stage, own: Path) -> None:
    """For those who gave their Gateway a certificate of their own."""
    assert await status(vouched.url, tls_policy(None, own)) == 200


async def test_a_file_that_vouches_for_another_refuses_before_anything_is_sent(sim: Simulator, own: Path) -> None:
    """And the hint names the setting."""
    with pytest.raises(GatewayUnreachable) as caught:
        await status(sim.url, tls_policy(None, own))

    assert "IBKR_GATEWAY_CA_FILE" in caught.value.hint
    assert not sim.gateway_calls()


async def test_an_expired_certificate_cannot_be_vouched_for(sim: Simulator) -> None:
    """The shipped one has no name and ended in 2019: only a fingerprint can pin it."""
    with pytest.raises(GatewayUnreachable):
        await status(sim.url, tls_policy(None, CERTIFICATE))


async def test_a_fingerprint_counts_where_both_are_given(sim: Simulator, own: Path) -> None:
    """It is the stricter of the two."""
    assert await status(sim.url, tls_policy(fingerprint(CERTIFICATE), own)) == 200


def test_a_file_without_certificates_is_said_at_the_start(tmp_path: Path) -> None:
    """Rather than at the first call."""
    nonsense = tmp_path / "ca.pem"
    nonsense.write_text("no certificate")

    with pytest.raises(OSError, match=r".+"):
        tls_policy(None, nonsense)


async def test_http_in_the_clear_is_spoken_where_it_is_asked_for() -> None:
    """A Gateway behind something that ends TLS on the same machine."""
    async with Stage() as stage:
        assert await status(stage.url, tls_policy(None, None)) == 200
        assert stage.url.startswith("http://")


async def test_a_bridge_with_a_wrong_pin_says_so(open_harness: Open) -> None:
    """The person at the keyboard learns what to correct, and the open route that there is no session."""
    harness = await open_harness(ready=False, IBKR_GATEWAY_FINGERPRINT="ab" * 32)
    await harness.wait_until(SessionState.UNREACHABLE)

    reply = await harness.get("/portfolio/accounts")

    assert (reply.status, reply.code) == (503, "gateway_unreachable")
    assert "IBKR_GATEWAY_FINGERPRINT" in reply.json["hint"]


async def test_a_bridge_with_the_right_pin_serves(open_harness: Open) -> None:
    """With colons, as openssl prints it."""
    pin = ":".join(f"{byte:02X}" for byte in fingerprint(CERTIFICATE))

    harness = await open_harness(IBKR_GATEWAY_FINGERPRINT=pin)

    assert (await harness.get("/portfolio/accounts")).status == 200
