"""The context for each way to check a certificate."""

from __future__ import annotations

import os
import ssl
from pathlib import Path

import aiohttp
import pytest

from ibkr_bridge.sim.gateway.server import CERTIFICATE
from ibkr_bridge.upstream.http.tls import ssl_context, verifying_context


def test_a_context_that_verifies_is_used_as_it_is() -> None:
    """It has the roots that the settings name."""
    context = ssl.create_default_context()

    assert ssl_context(context) is context


def test_profiles_share_the_roots_as_long_as_the_file_is_the_same(tmp_path: Path) -> None:
    """A profile that is made after the file was replaced trusts the new one."""
    file = tmp_path / "roots.pem"
    file.write_bytes(CERTIFICATE.read_bytes())
    before = verifying_context(file)
    assert verifying_context(file) is before
    assert verifying_context(None) is verifying_context(None) is not before

    os.utime(file, ns=(1, 1))

    assert verifying_context(file) is not before


def test_a_file_without_certificates_is_an_error(tmp_path: Path) -> None:
    """The start says so."""
    (tmp_path / "empty").touch()

    for name in ("empty", "missing"):
        with pytest.raises(OSError):
            verifying_context(tmp_path / name)


def test_a_pinned_certificate_is_checked_after_the_handshake() -> None:
    """It may be signed by nobody."""
    assert ssl_context(aiohttp.Fingerprint(b"x" * 32)).verify_mode is ssl.CERT_NONE
