"""How the market is asked and how it answers, without a word about sockets.

A call arrives as an `Ask`, a function of one of the market's rooms turns it into an `Answer`. Which function, and what
must be true before it is reached, stands in that room's table of `Route`s. `server.py` alone knows HTTP.
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
    """What must stand before a call is served; each includes those before it."""

    NOTHING = 0
    LOGIN = 1
    BROKERAGE = 2
    ACCOUNTS = 3  # and /iserver/accounts asked once in this brokerage session


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
    """The kind of the fault at work on this call, for those that IBKR itself commits."""

    @property
    def form(self) -> dict[str, Any]:
        """The body as a JSON object; whatever else it is counts as an empty one."""
        body = self.json()
        return body if isinstance(body, dict) else {}

    def json(self) -> Any:
        """The body as JSON, None when it is none."""
        try:
            return json.loads(self.body)
        except ValueError:
            return None


@dataclass(frozen=True)
class MarketResponse:
    """What goes back; `headers` beside the content type."""

    status: int
    body: bytes
    content_type: str = JSON
    headers: tuple[tuple[str, str], ...] = ()


def ok_response(body: object, status: int = 200) -> MarketResponse:
    """An answer in JSON; Decimals become plain numbers, as IBKR writes them."""
    return MarketResponse(status, json.dumps(body, default=float, separators=(",", ":")).encode())


def error_response(status: int, message: str) -> MarketResponse:
    """The usual way IBKR says no."""
    return ok_response({"error": message}, status)


Handler = Callable[["World", MarketRequest], MarketResponse]


@dataclass(frozen=True)
class Route:
    """One row of a room's table.

    `cold` is the empty body given while the session is authenticated but not yet established (for a /portfolio call:
    while /portfolio/accounts has not been asked); None means the call does not mind.
    """

    methods: str
    pattern: str
    handler: Handler
    needs: RequiredSession = RequiredSession.LOGIN
    cold: object = None

    def match(self, method: str, path: str) -> Mapping[str, str] | None:
        """The named parts of a path that fits this row, else None."""
        match = _compile_pattern(self.pattern).fullmatch(path) if method in self.methods.split() else None
        return None if match is None else match.groupdict()


def read_query(raw: str) -> dict[str, str]:
    """Query parameters by name; of repeated ones the first."""
    query: dict[str, str] = {}
    for name, value in parse_qsl(raw, keep_blank_values=True):
        query.setdefault(name, value)
    return query


def read_path(raw: str) -> str:
    """The path a table is asked with: escapes resolved, one trailing slash forgiven."""
    path = unquote(raw)
    return path[:-1] if len(path) > 1 and path.endswith("/") else path


_PATTERNS: dict[str, re.Pattern[str]] = {}


def _compile_pattern(pattern: str) -> re.Pattern[str]:
    if pattern not in _PATTERNS:
        _PATTERNS[pattern] = re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", pattern))
    return _PATTERNS[pattern]
