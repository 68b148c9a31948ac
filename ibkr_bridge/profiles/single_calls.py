"""A client for single calls to IBKR's Web API, beside the one of a running profile. It needs `cryptography`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from yarl import URL

from ibkr_bridge.config.settings import Settings
from ibkr_bridge.upstream.http.client import HttpClient
from ibkr_bridge.upstream.http.tls import verifying_context
from ibkr_bridge.upstream.oauth.wording import api_wording
from ibkr_bridge.upstream.oauth.writers import signed_base


@asynccontextmanager
async def open_api(settings: Settings) -> AsyncIterator[tuple[HttpClient, str]]:
    """A client for the API of a profile, and scheme, host and port as they are signed.

    Raises:
        OSError: the CA file cannot be read as certificates.
    """
    address, tls = settings.api_url, verifying_context(settings.api_ca_file)
    base = signed_base(address.scheme, address.host, address.port)
    http = HttpClient(
        *(URL(base), api_wording(address.host), settings.gateway_timeout_s, tls, 1.0),
        local_address=settings.local_address,
    )
    try:
        yield http, base
    finally:
        await http.close()
