"""How a server's certificate is checked, in the forms that aiohttp takes."""

from __future__ import annotations

import ssl

import aiohttp

Tls = ssl.SSLContext | aiohttp.Fingerprint | bool
"""A context that verifies, a pinned fingerprint, or False to accept any certificate."""


def ssl_context(tls: Tls) -> ssl.SSLContext:
    """The TLS context for connections; a pinned certificate is checked afterwards."""
    if isinstance(tls, ssl.SSLContext):
        return tls
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context
