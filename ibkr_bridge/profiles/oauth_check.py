"""Checks the credential of a profile. The administration loads this module when somebody asks for it."""

from __future__ import annotations

from ibkr_bridge.clock import Clock
from ibkr_bridge.config.settings import Settings
from ibkr_bridge.oauth.credential import OAuth1Credential
from ibkr_bridge.oauth.diagnosis import Diagnosis, diagnose
from ibkr_bridge.profiles.single_calls import open_api
from ibkr_bridge.upstream.oauth.check import CredentialCheck


async def check_credential(settings: Settings, credential: OAuth1Credential, clock: Clock) -> Diagnosis:
    """Make a handshake of its own, without a brokerage session, and say which part is wrong.

    Raises:
        OSError: the CA file cannot be read as certificates.
    """
    async with open_api(settings) as (http, base):
        return diagnose(await CredentialCheck(http, base, credential, clock).run())
