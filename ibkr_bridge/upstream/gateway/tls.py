"""How the Gateway's certificate is checked.

The certificate that the Gateway ships with is expired, self-signed, without a name, and the same everywhere, key
included: no client can verify it. On loopback it is accepted unchecked; elsewhere the settings require a pinned
fingerprint or a CA file. TLS 1.2 stays allowed: the Gateway supports nothing newer.
"""

from __future__ import annotations

from pathlib import Path

import aiohttp

from ibkr_bridge.upstream.http.tls import Tls, verifying_context


def tls_policy(fingerprint: bytes | None, ca_file: Path | None) -> Tls:
    """The value for aiohttp: a pinned fingerprint, a context that verifies, or False to accept any certificate.

    Raises:
        OSError: the CA file cannot be read as certificates.
    """
    if fingerprint is not None:
        return aiohttp.Fingerprint(fingerprint)
    if ca_file is not None:
        return verifying_context(ca_file)
    return False
