"""The roads to IBKR: for each kind, what a profile needs of it.

Everything else of a profile is the same on every road. Besides `oauth_road.py` this is the only module above
`upstream/` that names the classes of an upstream.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ibkr_bridge import events
from ibkr_bridge.clock import Clock
from ibkr_bridge.config.settings import RoadKind, Settings
from ibkr_bridge.oauth.handshake_ration import HandshakeRation
from ibkr_bridge.profiles.credentials import LoadCredential
from ibkr_bridge.profiles.road import Road
from ibkr_bridge.redaction import Redactor
from ibkr_bridge.session.gateway_session_api import GatewaySessionApi
from ibkr_bridge.upstream.gateway.client import GatewayClient
from ibkr_bridge.upstream.gateway.cookies import CookieStore
from ibkr_bridge.upstream.gateway.tls import tls_policy

StateFile = Callable[[str], Path | None]
"""The path of a file of this profile in the state directory, by its kind; None if there is no directory."""


def gateway_road(
    settings: Settings,
    clock: Clock,
    bus: events.Bus,
    redactor: Redactor,
    state_file: StateFile,
    session_id: Callable[[], str],
) -> Road:
    """Through the Client Portal Gateway.

    Args:
        session_id: returns IBKR's session id from the last tickle; empty if there is none.

    Raises:
        OSError: the CA file cannot be read as certificates.
    """
    cookies = CookieStore(state_file("cookies"), bus, redactor, clock)
    upstream = GatewayClient(
        str(settings.gateway_url),
        cookies,
        settings.gateway_timeout_s,
        tls_policy(settings.gateway_fingerprint, settings.gateway_ca_file),
        unix_socket=settings.gateway_socket,
        session_id=session_id,
    )
    return Road(upstream, cookies, GatewaySessionApi, str(settings.gateway_url), settings.gateway_watch_s)


def oauth_road(
    settings: Settings,
    load_credential: LoadCredential,
    clock: Clock,
    bus: events.Bus,
    redactor: Redactor,
    state_file: StateFile,
    session_id: Callable[[], str],
    ration: HandshakeRation,
) -> Road:
    """To IBKR's Web API without a Gateway.

    The modules of this road are loaded here: they need `cryptography`, which a bridge behind a Gateway never uses.

    Args:
        load_credential: returns the credential that signs in the username.
        state_file: not used: nothing of this road is kept over a restart.
        session_id: returns IBKR's session id from the last tickle; empty if there is none.
        ration: says when IBKR may be asked for access.

    Raises:
        OSError: the CA file cannot be read as certificates.
    """
    from ibkr_bridge.profiles.oauth_road import build  # loads cryptography

    return build(settings, load_credential, clock, bus, redactor, session_id, ration)


def road_of(
    settings: Settings,
    load_credential: LoadCredential,
    clock: Clock,
    bus: events.Bus,
    redactor: Redactor,
    state_file: StateFile,
    session_id: Callable[[], str],
    ration: HandshakeRation,
) -> Road:
    """The road that the settings name.

    Raises:
        OSError: the CA file cannot be read as certificates.
    """
    if settings.road is RoadKind.GATEWAY:
        return gateway_road(settings, clock, bus, redactor, state_file, session_id)
    return oauth_road(settings, load_credential, clock, bus, redactor, state_file, session_id, ration)
