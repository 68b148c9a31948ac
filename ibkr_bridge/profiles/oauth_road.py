"""The road to IBKR's Web API without a Gateway. `roads.py` loads this module when a profile needs it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import NoReturn

from yarl import URL

from ibkr_bridge import events
from ibkr_bridge.clock import Clock
from ibkr_bridge.config.settings import Settings
from ibkr_bridge.oauth.credential import Credential, OAuth2Credential, secrets_of
from ibkr_bridge.oauth.handshake_ration import HandshakeRation
from ibkr_bridge.oauth.refusals import Refusal
from ibkr_bridge.oauth.signing_keys import OAuth1Keys
from ibkr_bridge.profiles.credentials import LoadCredential
from ibkr_bridge.profiles.road import Road
from ibkr_bridge.profiles.sealed_store import NoCredential
from ibkr_bridge.redaction import Redactor
from ibkr_bridge.session.oauth_session_api import OAuthSessionApi
from ibkr_bridge.upstream.http.client import HttpClient
from ibkr_bridge.upstream.http.tls import verifying_context
from ibkr_bridge.upstream.oauth.access import AccessKeeper, AccessMaker
from ibkr_bridge.upstream.oauth.bearer import BearerSession
from ibkr_bridge.upstream.oauth.client import MAX_IDLE_S, ApiClient
from ibkr_bridge.upstream.oauth.handshake import Handshake
from ibkr_bridge.upstream.oauth.stored_access import NotStored, StoredAccess
from ibkr_bridge.upstream.oauth.traits import oauth_traits
from ibkr_bridge.upstream.oauth.wording import api_wording
from ibkr_bridge.upstream.oauth.writers import signed_base

CHECK_INTERVAL_S = 15.0
"""Seconds between two checks. Nothing signs itself out within seconds here, and 50 profiles share one address: with
their tickles they make four calls a second at rest. A failing call and a message of the stream request a check at once.
"""
MAX_AGE_S = 20.0
OPENING_INTERVAL_S = 2.0
MAX_OVERDUE_S = 90.0  # a handshake and a check may each take fifteen seconds, and either may be made once more


class NoState:
    """What is kept over a restart on this road: nothing. An `UpstreamState`."""

    def load(self) -> None:
        """See `UpstreamState.load`."""

    def save(self) -> None:
        """See `UpstreamState.save`."""

    async def run_loop(self) -> NoReturn:
        """See `UpstreamState.run_loop`."""
        while True:
            await asyncio.Event().wait()


def build(
    settings: Settings,
    load: LoadCredential,
    clock: Clock,
    bus: events.Bus,
    redactor: Redactor,
    session_id: Callable[[], str],
    ration: HandshakeRation,
) -> Road:
    """See `roads.oauth_road`."""
    address = settings.api_url
    base, wording = signed_base(address.scheme, address.host, address.port), api_wording(address.host)
    traits = oauth_traits(settings.api_rate, is_portfolio_only=settings.portfolio_only)
    tls = verifying_context(settings.api_ca_file)
    http = HttpClient(
        *(URL(base), wording, settings.gateway_timeout_s, tls, traits.abandoned_for_s),
        local_address=settings.local_address,
        max_idle_s=MAX_IDLE_S,
    )

    async def load_and_hide() -> Credential:
        try:
            credential = await load()
        except NoCredential as exc:
            raise NotStored(Refusal(exc.reason), exc.detail) from None
        for secret in secrets_of(credential):
            redactor.add_secret(secret, permanent=True)
        return credential

    stored = StoredAccess(load_and_hide, lambda credential: access_maker(credential, http, base, clock))
    access = AccessKeeper(stored, clock, bus, redactor.add_secret, ration)
    upstream = ApiClient(*(base, http, access, traits, wording, tls, session_id, settings.local_address))
    return Road(
        upstream,
        NoState(),
        lambda session_upstream: OAuthSessionApi(
            session_upstream,
            access,
            clock,
            is_paper=lambda: stored.is_paper,
            is_portfolio_only=settings.portfolio_only,
        ),
        str(settings.api_url),
        CHECK_INTERVAL_S,
        MAX_AGE_S,
        OPENING_INTERVAL_S,
        MAX_OVERDUE_S,
        offers_brokerage=not settings.portfolio_only,
    )


def access_maker(credential: Credential, http: HttpClient, base: str, clock: Clock) -> AccessMaker:
    """What gets access with a credential, by its kind."""
    if isinstance(credential, OAuth2Credential):
        return BearerSession(http, base, credential, clock)
    return Handshake(http, base, lambda: OAuth1Keys.of(credential), clock)
