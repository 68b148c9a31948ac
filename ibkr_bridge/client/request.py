"""A call as it goes to the bridge: target, headers and body, and what it may do. Pure but for the id it makes up.

Nothing is tidied on the way: a path goes out byte for byte, or, where it cannot stand in a request line, not at all.
Whatever else the bridge would refuse it refuses, in its words. What is repeatable and what changes something is read
from the catalogue.
"""

from __future__ import annotations

import json
import math
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlencode

from ibkr_bridge.ibkr.catalogue import MALFORMED_ESCAPE, NOT_VISIBLE_ASCII, endpoint_of
from ibkr_bridge.ibkr.endpoint import Effect

METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE")
OWN_READ_ROUTES = ("/health", "/livez", "/readyz", "/gateway/auth-status", "/gateway/status", "/orders", "/orders/{id}")
PATH_PATTERN = re.compile(r"/(?!/)[^#]*", re.DOTALL)
MAX_TARGET_BYTES = 4000  # bytes of path and query: server/request_target.py
REQUEST_ID_PATTERN = re.compile(r"[!-~]{1,64}")
"""What a header can carry; the bridge takes some of these and makes one for others."""
MAX_WAIT_S = 60.0  # seconds; the bridge waits no longer, whatever X-Bridge-Wait asks for

Params = Mapping[str, object]


@dataclass(frozen=True)
class BridgeCall:
    """A call, written down."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes | None = field(repr=False)
    wait: float
    """Seconds the bridge was asked to wait."""
    request_id: str
    changes: bool
    """Whether it may change something, so that a lost answer leaves it unknown."""
    repeatable: bool


def build_call(
    method: str, path: str, body: object, params: Params | None, wait: float | None, request_id: str | None
) -> BridgeCall:
    """Write a call down. Arguments: see `BridgeClient.request`.

    Raises:
        ValueError: it cannot be written down.
    """
    method, name = method.upper(), request_id or uuid.uuid4().hex
    if method not in METHODS:
        raise ValueError(f"the method is none of {', '.join(METHODS)}")
    if not REQUEST_ID_PATTERN.fullmatch(name):
        raise ValueError("a request id has visible ASCII characters alone, and 64 at most")
    target = _build_target(path, params or {})
    max_wait_s = None if wait is None else min(check_seconds(wait, "wait"), MAX_WAIT_S)
    headers = {
        "Accept": "*/*",
        "User-Agent": "ibkr-bridge-client",
        "X-Request-ID": name,
        **({} if max_wait_s is None else {"X-Bridge-Wait": f"{max_wait_s:.3f}"}),
        **({} if body is None else {"Content-Type": "application/json"}),
    }
    data = body if isinstance(body, bytes | None) else json.dumps(body, allow_nan=False).encode()
    return BridgeCall(
        method, target, headers, data, max_wait_s or 0.0, name, *_effect_of(method, target.partition("?")[0])
    )


def _effect_of(method: str, path: str) -> tuple[bool, bool]:
    if method in ("GET", "HEAD") and _own_route(path) in OWN_READ_ROUTES:
        return False, True
    endpoint = endpoint_of("GET" if method == "HEAD" else method, path)
    return endpoint.effect is not Effect.READ, endpoint.is_repeatable


def _own_route(path: str) -> str:
    """A path of the bridge itself as its table has it: the last part of an order's is a variable."""
    plain = path.partition("?")[0].removesuffix("/")
    return "/orders/{id}" if plain.startswith("/orders/") and plain.count("/") == 2 else plain


def _build_target(path: str, params: Params) -> str:
    _check_path(path)
    query = urlencode({name: _format_value(value) for name, value in params.items() if value is not None}, safe=",")
    target = path + ("&" if "?" in path else "?") * bool(query) + query
    if len(target) > MAX_TARGET_BYTES:
        raise ValueError(f"path and query are longer than the {MAX_TARGET_BYTES} bytes the bridge takes")
    return target


def _check_path(path: str) -> None:
    """Refuse what cannot go out as it is: others would mend it in one way or another."""
    if not PATH_PATTERN.fullmatch(path):
        raise ValueError("a path begins with one slash and has no '#'; write '#' as %23")
    if NOT_VISIBLE_ASCII.search(path):
        raise ValueError("a path has visible ASCII characters alone; write others as escapes, a space as %20")
    if MALFORMED_ESCAPE.search(path):
        raise ValueError("a percent sign in a path begins an escape, as in %20; write a literal one as %25")


def _format_value(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def check_seconds(value: float, name: str) -> float:
    """A span of time that makes sense.

    Raises:
        ValueError: it is negative, endless or no number.
    """
    if not (math.isfinite(value) and value >= 0):
        raise ValueError(f"{name} is a number of seconds")
    return float(value)
