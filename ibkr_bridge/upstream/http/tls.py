"""How a server's certificate is checked, in the forms that aiohttp takes."""

from __future__ import annotations

import functools
import ssl
from pathlib import Path

import aiohttp

Tls = ssl.SSLContext | aiohttp.Fingerprint | bool
"""A context that verifies, a pinned fingerprint, or False to accept any certificate."""


def verifying_context(ca_file: Path | None) -> ssl.SSLContext:
    """A context that trusts the system's roots, or the certificates of a file.

    All profiles share it as long as the file is the same: the roots of a system take 0.8 MB in memory.

    Raises:
        OSError: the file cannot be read as certificates.
    """
    return _context_of(ca_file, ca_file.stat().st_mtime_ns if ca_file is not None else 0)


@functools.lru_cache(maxsize=8)
def _context_of(ca_file: Path | None, _changed_ns: int) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=ca_file)


def ssl_context(tls: Tls) -> ssl.SSLContext:
    """The TLS context for connections; a pinned certificate is checked afterwards."""
    if isinstance(tls, ssl.SSLContext):
        return tls
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context
