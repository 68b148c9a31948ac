"""How errors name IBKR's Web API, and what a person should do about them."""

from __future__ import annotations

from ibkr_bridge.errors import GatewayForbidden, GatewayProtocolError, GatewayTimeout, GatewayUnreachable
from ibkr_bridge.upstream.http.far_side import Wording


def api_wording(host: str) -> Wording:
    """The words for the API at a host.

    Args:
        host: such as `api.ibkr.com`.
    """
    return Wording(
        host,
        hints={
            GatewayUnreachable: "check this machine's connection to the Internet, its DNS, and IBKR_BRIDGE_API_URL",
            GatewayTimeout: "IBKR does not answer: wait, and look at IBKR's system status page",
            GatewayProtocolError: "wait; if it lasts, look for a proxy between this machine and IBKR",
            GatewayForbidden: "stop other programs at this address that call IBKR, and wait some minutes",
        },
        certificate_hint="somebody may be between this machine and IBKR; if it is a proxy of yours, name its "
        "certificates in IBKR_BRIDGE_API_CA_FILE",
        no_tls_hint="the port does not use TLS; correct IBKR_BRIDGE_API_URL",
    )
