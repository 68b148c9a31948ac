"""Transport security: the protocol and the certificate."""

from __future__ import annotations

import asyncio
import socket
import ssl
import warnings
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from ibkr_bridge.sim.market_stage import MarketStage, browser_tls


async def connect_tls(gate: MarketStage, context: ssl.SSLContext) -> ssl.SSLObject:
    """The TLS object after the handshake."""
    _, writer = await asyncio.open_connection("127.0.0.1", gate.port, ssl=context)
    tls: ssl.SSLObject = writer.get_extra_info("ssl_object")
    writer.transport.abort()
    return tls


def context_for_version(version: ssl.TLSVersion) -> ssl.SSLContext:
    """The context of a client that offers one version only."""
    context = browser_tls()
    context.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # old versions are the point
        context.minimum_version = context.maximum_version = version
    return context


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1, ssl.TLSVersion.TLSv1_3])
async def test_other_versions_are_refused(gate: MarketStage, version: ssl.TLSVersion) -> None:
    """Older and newer ones are refused."""
    with pytest.raises((ssl.SSLError, ConnectionError)):
        await connect_tls(gate, context_for_version(version))


async def test_tls_1_2_is_accepted(gate: MarketStage) -> None:
    """The cipher is one that a modern client offers."""
    agreed = await connect_tls(gate, browser_tls())

    assert agreed.version() == "TLSv1.2"
    assert (agreed.cipher() or ("",))[0] == "ECDHE-RSA-AES256-GCM-SHA384"


async def test_no_http_version_is_negotiated(gate: MarketStage) -> None:
    """There is no ALPN, so there is no HTTP/2."""
    context = browser_tls()
    context.set_alpn_protocols(["h2", "http/1.1"])

    assert (await connect_tls(gate, context)).selected_alpn_protocol() is None


async def test_plain_http_is_closed_without_a_byte(gate: MarketStage) -> None:
    """The client gets neither an alert nor a 400."""
    reader, writer = await asyncio.open_connection("127.0.0.1", gate.port)
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")

    try:
        heard = await reader.read()
    except ConnectionError:
        heard = b""

    assert heard == b""
    writer.transport.abort()


async def test_a_connection_without_a_handshake_is_left_open(gate: MarketStage, silence_s: float) -> None:
    """Other clients are served meanwhile."""
    mute = socket.create_connection(("127.0.0.1", gate.port))

    await connect_tls(gate, browser_tls())

    mute.settimeout(silence_s)
    with pytest.raises(TimeoutError):
        await asyncio.to_thread(mute.recv, 1)
    mute.close()


@pytest.fixture
async def read_certificate(gate: MarketStage, tmp_path: Path) -> dict[str, Any]:
    """The decoded certificate; the public interface of Python decodes only certificates that it trusts."""
    der = (await connect_tls(gate, browser_tls())).getpeercert(binary_form=True) or b""
    path = tmp_path / "shown.pem"
    path.write_text(ssl.DER_cert_to_PEM_cert(der))
    decoded: dict[str, Any] = ssl._ssl._test_decode_cert(str(path))  # type: ignore[attr-defined]
    return decoded


async def test_the_certificate_is_self_signed(read_certificate: dict[str, Any]) -> None:
    """No authority can confirm it."""
    assert read_certificate["issuer"] == read_certificate["subject"]
    assert read_certificate["version"] == 3


async def test_the_certificate_names_no_host(read_certificate: dict[str, Any]) -> None:
    """It cannot be verified by name, not even as localhost."""
    assert "subjectAltName" not in read_certificate
    assert "localhost" not in str(read_certificate["subject"])


async def test_the_certificate_has_expired(read_certificate: dict[str, Any]) -> None:
    """It expired long ago."""
    ended = datetime.fromtimestamp(ssl.cert_time_to_seconds(read_certificate["notAfter"]), UTC)

    assert ended.date() == date(2019, 5, 11)


async def test_a_client_that_verifies_cannot_connect(gate: MarketStage) -> None:
    """Verification is the default of every HTTP library."""
    with pytest.raises(ssl.SSLCertVerificationError):
        await connect_tls(gate, ssl.create_default_context())
