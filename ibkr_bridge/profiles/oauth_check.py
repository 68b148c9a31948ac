"""Checks the credential of a profile. `Credentials` loads this module when somebody asks for it."""

from __future__ import annotations

from yarl import URL

from ibkr_bridge.clock import Clock
from ibkr_bridge.config.settings import Settings
from ibkr_bridge.oauth.credential import OAuth1Credential
from ibkr_bridge.oauth.diagnosis import Diagnosis, diagnose
from ibkr_bridge.upstream.http.client import HttpClient
from ibkr_bridge.upstream.http.tls import verifying_context
from ibkr_bridge.upstream.oauth.check import CredentialCheck
from ibkr_bridge.upstream.oauth.wording import api_wording
from ibkr_bridge.upstream.oauth.writers import signed_base


async def check_credential(settings: Settings, credential: OAuth1Credential, clock: Clock) -> Diagnosis:
    """Make a handshake of its own, without a brokerage session, and say which part is wrong.

    Raises:
        OSError: the CA file cannot be read as certificates.
    """
    address = settings.api_url
    base = signed_base(address.scheme, address.host, address.port)
    http = HttpClient(
        *(
            URL(base),
            api_wording(address.host),
            settings.gateway_timeout_s,
            verifying_context(settings.api_ca_file),
            1.0,
        ),
        local_address=settings.local_address,
    )
    try:
        return diagnose(await CredentialCheck(http, base, credential, clock).run())
    finally:
        await http.close()
