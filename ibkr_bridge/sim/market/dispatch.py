"""The requests and responses of the market, without sockets.

A function turns a `MarketRequest` into a `MarketResponse`. Each module of calls has a table of `Route`s: which function
answers which call, and which session the call needs. Only `server.py` knows HTTP.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote

if TYPE_CHECKING:
    from ibkr_bridge.sim.market.world import World

JSON = "application/json;charset=utf-8"


class RequiredSession(IntEnum):
    """What a call needs before it is served; each level includes those before it."""

    NOTHING = 0
    LOGIN = 1
    BROKERAGE = 2
    ACCOUNTS = 3  # and one call of /iserver/accounts in this brokerage session


@dataclass(frozen=True)
class MarketRequest:
    """One call: `path` is the part behind /v1/api, percent-escapes resolved."""

    method: str
    path: str
    query: Mapping[str, str]
    body: bytes
    login: str | None
    now: float
    parts: Mapping[str, str] = field(default_factory=dict)
    fault: str = ""
    """The kind of the fault that applies to this call, for faults that IBKR's own code carries out."""

    @property
    def form(self) -> dict[str, Any]:
        """The body as a JSON object; an empty one if the body is anything else."""
        body = self.json()
        return body if isinstance(body, dict) else {}

    def json(self) -> Any:
        """The body as JSON; None if it is not JSON."""
        try:
            return json.loads(self.body)
        except ValueError:
            return None


@dataclass(frozen=True)
class MarketResponse:
    """One response; `headers` without the content type."""

    status: int
    body: bytes
    content_type: str = JSON
    headers: tuple[tuple[str, str], ...] = ()


def ok_response(body: object, status: int = 200) -> MarketResponse:
    """A response in JSON; Decimals become plain numbers, as IBKR writes them."""
    return MarketResponse(status, json.dumps(body, default=float, separators=(",", ":")).encode())


def error_response(status: int, message: str) -> MarketResponse:
    """IBKR's usual form of a refusal."""
    return ok_response({"error": message}, status)


LATE_ACCOUNT_CHECK = re.compile(r"/portfolio/[^/]+/(ledger|meta|summary)|/iserver/account/[^/]+/(orders|alerts)")
"""Calls without a documented 400: IBKR notices a wrong account later and answers 500 (OAS, InternalServerError)."""


def unknown_account_response(account: str, path: str = "") -> MarketResponse:
    """IBKR's refusal of an account that the user does not have.

    Args:
        path: of the call, if the account stands in it.
    """
    text = f"Bad Request: accountId is not valid: {account}"  # of a 400 (OAS, invalid-account-id); of a 500 invented
    if LATE_ACCOUNT_CHECK.fullmatch(path):
        return error_response(500, text)
    return ok_response({"error": text, "statusCode": 400}, 400)


Handler = Callable[["World", MarketRequest], MarketResponse]


@dataclass(frozen=True)
class Route:
    """One row of a table of calls.

    `cold` is the empty body that IBKR returns while the session is authenticated but not yet established. For a
    /portfolio call it is returned until /portfolio/accounts was requested. None means that the call needs neither.
    """

    methods: str
    pattern: str
    handler: Handler
    needs: RequiredSession = RequiredSession.LOGIN
    cold: object = None

    def match(self, method: str, path: str) -> Mapping[str, str] | None:
        """The named parts of a path that matches this row, else None."""
        match = _compile_pattern(self.pattern).fullmatch(path) if method in self.methods.split() else None
        return None if match is None else match.groupdict()


def read_query(raw: str) -> dict[str, str]:
    """Query parameters by name; the first value of a repeated one."""
    query: dict[str, str] = {}
    for name, value in parse_qsl(raw, keep_blank_values=True):
        query.setdefault(name, value)
    return query


def read_path(raw: str) -> str:
    """The path for a look-up in a table: escapes are resolved and one trailing slash is removed."""
    path = unquote(raw)
    return path[:-1] if len(path) > 1 and path.endswith("/") else path


_PATTERNS: dict[str, re.Pattern[str]] = {}


def _compile_pattern(pattern: str) -> re.Pattern[str]:
    if pattern not in _PATTERNS:
        _PATTERNS[pattern] = re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", pattern))
    return _PATTERNS[pattern]
