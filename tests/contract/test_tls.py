"""Transport security: what is spoken, and what certificate is shown."""

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


async def greeted(gate: MarketStage, context: ssl.SSLContext) -> ssl.SSLObject:
    """What the handshake agreed on."""
    _, writer = await asyncio.open_connection("127.0.0.1", gate.port, ssl=context)
    tls: ssl.SSLObject = writer.get_extra_info("ssl_object")
    writer.transport.abort()
    return tls


def insisting_on(version: ssl.TLSVersion) -> ssl.SSLContext:
    """A client that speaks one version alone."""
    context = browser_tls()
    context.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # old versions are the point
        context.minimum_version = context.maximum_version = version
    return context


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1, ssl.TLSVersion.TLSv1_3])
async def test_other_versions_are_refused(gate: MarketStage, version: ssl.TLSVersion) -> None:
    """Older ones as well as newer ones."""
    with pytest.raises((ssl.SSLError, ConnectionError)):
        await greeted(gate, insisting_on(version))


async def test_tls_1_2_is_spoken(gate: MarketStage) -> None:
    """With the cipher a modern client gets."""
    agreed = await greeted(gate, browser_tls())

    assert agreed.version() == "TLSv1.2"
    assert (agreed.cipher() or ("",))[0] == "ECDHE-RSA-AES256-GCM-SHA384"


async def test_nothing_is_agreed_on_about_http(gate: MarketStage) -> None:
    """No ALPN, so no HTTP/2."""
    context = browser_tls()
    context.set_alpn_protocols(["h2", "http/1.1"])

    assert (await greeted(gate, context)).selected_alpn_protocol() is None


async def test_plain_http_is_closed_without_a_byte(gate: MarketStage) -> None:
    """No alert, no 400, nothing."""
    reader, writer = await asyncio.open_connection("127.0.0.1", gate.port)
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")

    try:
        heard = await reader.read()
    except ConnectionError:
        heard = b""

    assert heard == b""
    writer.transport.abort()


async def test_a_connection_that_never_greets_is_left_open(gate: MarketStage, silence_s: float) -> None:
    """And harms nobody."""
    mute = socket.create_connection(("127.0.0.1", gate.port))

    await greeted(gate, browser_tls())

    mute.settimeout(silence_s)
    with pytest.raises(TimeoutError):
        await asyncio.to_thread(mute.recv, 1)
    mute.close()


@pytest.fixture
async def shown(gate: MarketStage, tmp_path: Path) -> dict[str, Any]:
    """The certificate, decoded; Python does that openly only for certificates it trusts."""
    der = (await greeted(gate, browser_tls())).getpeercert(binary_form=True) or b""
    path = tmp_path / "shown.pem"
    path.write_text(ssl.DER_cert_to_PEM_cert(der))
    decoded: dict[str, Any] = ssl._ssl._test_decode_cert(str(path))  # type: ignore[attr-defined]
    return decoded


async def test_the_certificate_vouches_for_itself(shown: dict[str, Any]) -> None:
    """Issued by its own subject, so nobody else's word helps."""
    assert shown["issuer"] == shown["subject"]
    assert shown["version"] == 3


async def test_the_certificate_names_no_host(shown: dict[str, Any]) -> None:
    """It cannot be verified by name, not even as localhost."""
    assert "subjectAltName" not in shown
    assert "localhost" not in str(shown["subject"])


async def test_the_certificate_has_expired(shown: dict[str, Any]) -> None:
    """Long ago."""
    ended = datetime.fromtimestamp(ssl.cert_time_to_seconds(shown["notAfter"]), UTC)

    assert ended.date() == date(2019, 5, 11)


async def test_a_client_that_verifies_is_lost(gate: MarketStage) -> None:
    """The default of every HTTP library."""
    with pytest.raises(ssl.SSLCertVerificationError):
        await greeted(gate, ssl.create_default_context())
