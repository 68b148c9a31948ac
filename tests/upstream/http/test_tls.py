"""The context for each way to check a certificate."""

from __future__ import annotations

import ssl

import aiohttp

from ibkr_bridge.upstream.http.tls import ssl_context


def test_a_context_that_verifies_is_used_as_it_is() -> None:
    """It has the roots that the settings name."""
    context = ssl.create_default_context()

    assert ssl_context(context) is context


def test_a_pinned_certificate_is_checked_after_the_handshake() -> None:
    """It may be signed by nobody."""
    assert ssl_context(aiohttp.Fingerprint(b"x" * 32)).verify_mode is ssl.CERT_NONE
