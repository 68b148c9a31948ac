"""The credential of a request: a header may carry a key or a token, the query of a few paths a token.

If a credential header is present it decides; a token in the query is then ignored.
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass, field
from urllib.parse import parse_qsl

from aiohttp import hdrs
from multidict import CIMultiDictProxy

from ibkr_bridge.server.keyring import KeyRing, Principal, key_from_headers
from ibkr_bridge.server.request_target import Target
from ibkr_bridge.server.routing import OwnRoutes
from ibkr_bridge.server.tokens import TokenAudience, has_token_form

HEADERS = {"X-Bridge-Key": False, "Authorization": True}
"""The headers that may carry a credential, the first that is there; and whether it may be a token."""
PARAMETER = "token"  # in the query of a few paths
PAGE_COOKIE = "ibkr_bridge_page"


@dataclass(frozen=True)
class Credential:
    """The bytes that were sent, and what they may be: this depends on where they were found."""

    value: bytes = field(repr=False)
    may_be_key: bool
    may_be_token: bool
    audience: TokenAudience = TokenAudience.API

    @property
    def is_like_token(self) -> bool:
        """Whether it has the form of a token; only the key ring knows whether it is valid."""
        return self.may_be_token and has_token_form(self.value)

    def authenticate(self, ring: KeyRing) -> Principal | None:
        """The principal it belongs to; None if it is invalid."""
        principal = ring.find_key(self.value) if self.may_be_key else None
        if principal is None and self.may_be_token:
            principal = ring.find_token(self.value, self.audience)
        return principal


def extract(headers: CIMultiDictProxy[str], target: Target | None, own_routes: OwnRoutes) -> Credential | None:
    """The credential of a request; None if there is none, or several that differ."""
    for header, may_be_token in HEADERS.items():
        if header in headers:
            value = key_from_headers(headers)
            return Credential(value, True, may_be_token) if value is not None else None
    if target is None or not own_routes.may_carry_token(target.segments):
        return None
    tokens = {value for name, value in parse_qsl(target.query[1:], keep_blank_values=True) if name == PARAMETER}
    return Credential(tokens.pop().encode(), False, True) if len(tokens) == 1 else None


def extract_of_page(headers: CIMultiDictProxy[str]) -> Credential | None:
    """The token of the operator's page: from its cookie, or from the header with which it asks for the cookie."""
    if hdrs.AUTHORIZATION in headers:
        token = key_from_headers(headers)
        return None if token is None else Credential(token, False, True, TokenAudience.PAGE)
    pairs = (pair for each in headers.getall(hdrs.COOKIE, ()) for pair in _pairs(each))
    cookies = {value for name, value in pairs if name == PAGE_COOKIE}
    return Credential(cookies.pop().encode(), False, True, TokenAudience.PAGE_COOKIE) if len(cookies) == 1 else None


def _pairs(cookie_header: str) -> list[tuple[str, str]]:
    """The names and values of a Cookie header. Ours has no quotes and no escapes (RFC 6265, section 4.2)."""
    parts = (each.partition("=") for each in cookie_header.split(";"))
    return [(name.strip(), value.strip()) for name, _, value in parts]


def has_any(headers: CIMultiDictProxy[str], parameters: Container[str]) -> bool:
    """Whether a request carries something in the place of a credential, valid or not.

    Args:
        parameters: the names in its query.
    """
    return any(name in headers for name in HEADERS) or PARAMETER in parameters
