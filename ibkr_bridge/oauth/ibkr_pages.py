"""The pages of IBKR on which a user gives access. Pure.

An API on loopback is a simulator, which has both pages itself.
"""

from __future__ import annotations

from urllib.parse import urlencode

from ibkr_bridge.config.settings import Address
from ibkr_bridge.config.value_types import is_loopback

UPLOAD_PAGE = "https://ndcdyn.interactivebrokers.com/sso/Login?action=OAUTH&RL=1&ip2loc=US"
"""The self-service. The US address works wherever the account lives (seen)."""
AUTHORIZE_PAGE = "https://interactivebrokers.com/authorize"


def upload_page(api: Address) -> str:
    """Where a user uploads public keys and gets an access token."""
    return f"{api}/self-service" if is_loopback(api.host) else UPLOAD_PAGE


def authorize_page(api: Address, request_token: str) -> str:
    """Where a user of a company signs in and agrees."""
    page = f"{api}/authorize" if is_loopback(api.host) else AUTHORIZE_PAGE
    return f"{page}?{urlencode({'oauth_token': request_token})}"
