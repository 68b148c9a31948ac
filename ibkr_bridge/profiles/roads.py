"""The roads to IBKR: for each kind, what a profile needs of it.

A road is an upstream, what the upstream keeps over a restart, and the session calls of its keeper. Everything else of a
profile is the same on every road. This is the only module above `upstream/` that names the classes of an upstream.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ibkr_bridge import events
from ibkr_bridge.calls.upstream_port import Upstream, UpstreamState
from ibkr_bridge.clock import Clock
from ibkr_bridge.config.settings import Settings
from ibkr_bridge.redaction import Redactor
from ibkr_bridge.session.session_api import GatewaySessionApi, SessionApi, SessionUpstream
from ibkr_bridge.upstream.gateway.client import GatewayClient
from ibkr_bridge.upstream.gateway.cookies import CookieStore
from ibkr_bridge.upstream.gateway.tls import tls_policy

StateFile = Callable[[str], Path | None]
"""The path of a file of this profile in the state directory, by its kind; None if there is no directory."""


@dataclass(frozen=True)
class Road:
    """What a profile needs of one kind of upstream."""

    upstream: Upstream
    state: UpstreamState
    session_api: Callable[[SessionUpstream], SessionApi]
    """Makes the keeper's calls, for an upstream that counts them in IBKR's limits."""


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
    return Road(upstream, cookies, GatewaySessionApi)
