"""Build a call to the bridge: target, headers, body and effect. Pure, except for new request ids.

A path is sent byte for byte. A path that cannot stand in a request line is refused here; all else is left for the
bridge to refuse. The catalogue says whether a call may be repeated and whether it changes something.
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

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
OWN_READ_ROUTES = (
    *("/health", "/livez", "/readyz", "/gateway/auth-status", "/gateway/status", "/orders", "/orders/{id}"),
    *("/gateway/history", "/gateway/history/changes", "/profiles"),
    *("/session", "/accounts", "/accounts/{id}", "/accounts/{id}/positions", "/accounts/{id}/trades", "/positions"),
    *("/account/balance", "/instruments", "/instruments/{conid}", "/quotes", "/history"),
    *("/metrics", "/openapi.json", "/docs", "/client.ts"),
)
OWN_READ_PATTERN = re.compile("|".join(re.sub(r"\{\w+\}", "[^/]+", route) for route in OWN_READ_ROUTES))
PREVIEW_PATTERN = re.compile(r"/accounts/[^/]+/orders/preview")
"""A POST that changes nothing. It is not repeated either: a preview ends an open question."""
PATH_PATTERN = re.compile(r"/(?!/)[^#]*", re.DOTALL)
MAX_TARGET_BYTES = 4000  # of path and query; the bridge has the same limit: server/request_target.py
IDEMPOTENCY_KEY_PATTERN = re.compile(r"[!#-~]{1,255}")
REQUEST_ID_PATTERN = re.compile(r"[!-~]{1,64}")
"""What a header can carry. The bridge accepts some of these ids and replaces the others."""
MAX_WAIT_S = 60.0  # the bridge waits no longer, whatever X-Bridge-Wait says

Params = Mapping[str, object]


@dataclass(frozen=True)
class BridgeCall:
    """A call that is ready to be sent."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes | None = field(repr=False)
    wait_s: float
    """Seconds for which the bridge may wait."""
    request_id: str
    is_change: bool
    """Whether it may change something. If its response is lost, the outcome is unknown."""
    is_repeatable: bool


def build_call(
    method: str,
    path: str,
    body: object,
    params: Params | None,
    wait: float | None,
    request_id: str | None,
    idempotency_key: str | None = None,
) -> BridgeCall:
    """Build a call from the arguments of `BridgeClient.request`.

    Raises:
        ValueError: one of the arguments cannot be sent.
    """
    method, request_id = method.upper(), request_id or uuid.uuid4().hex
    if method not in METHODS:
        raise ValueError(f"the method must be one of {', '.join(METHODS)}")
    if not REQUEST_ID_PATTERN.fullmatch(request_id):
        raise ValueError("a request id must have 1 to 64 visible ASCII characters")
    if idempotency_key is not None and not IDEMPOTENCY_KEY_PATTERN.fullmatch(idempotency_key):
        raise ValueError("an idempotency key must have 1 to 255 visible ASCII characters, without quotes")
    target = _build_target(path, params or {})
    max_wait_s = None if wait is None else min(check_seconds(wait, "wait"), MAX_WAIT_S)
    headers = {
        "Accept": "*/*",
        "User-Agent": "ibkr-bridge-client",
        "X-Request-ID": request_id,
        **({} if max_wait_s is None else {"X-Bridge-Wait": f"{max_wait_s:.3f}"}),
        **({} if idempotency_key is None else {"Idempotency-Key": idempotency_key}),
        **({} if body is None else {"Content-Type": "application/json"}),
    }
    data = body if isinstance(body, bytes | None) else json.dumps(body, allow_nan=False).encode()
    return BridgeCall(
        method, target, headers, data, max_wait_s or 0.0, request_id, *_effect_of(method, target.partition("?")[0])
    )


def _effect_of(method: str, path: str) -> tuple[bool, bool]:
    """Whether a call may change something, and whether it may be repeated."""
    own_route = path.partition("?")[0].removesuffix("/")
    if method in ("GET", "HEAD") and OWN_READ_PATTERN.fullmatch(own_route):
        return False, True
    if method == "POST" and PREVIEW_PATTERN.fullmatch(own_route):
        return False, False
    endpoint = endpoint_of("GET" if method == "HEAD" else method, path)
    return endpoint.effect is not Effect.READ, endpoint.is_repeatable


def _build_target(path: str, params: Params) -> str:
    _check_path(path)
    query = urlencode({name: _format_value(value) for name, value in params.items() if value is not None}, safe=",")
    target = path + ("&" if "?" in path else "?") * bool(query) + query
    if len(target) > MAX_TARGET_BYTES:
        raise ValueError(f"path and query are longer than the {MAX_TARGET_BYTES} bytes the bridge takes")
    return target


def _check_path(path: str) -> None:
    """Refuse a path that cannot be sent unchanged: each library would repair it in its own way.

    Raises:
        ValueError: the message says how to write it.
    """
    if not PATH_PATTERN.fullmatch(path):
        raise ValueError("a path must begin with one slash and contain no '#'; write '#' as %23")
    if NOT_VISIBLE_ASCII.search(path):
        raise ValueError("a path must have visible ASCII characters only; write others as escapes, a space as %20")
    if MALFORMED_ESCAPE.search(path):
        raise ValueError("a percent sign in a path must begin an escape, as in %20; write a literal one as %25")


def _format_value(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def check_seconds(value: float, name: str) -> float:
    """Return the value as a float.

    Raises:
        ValueError: it is negative, infinite or not a number.
    """
    if not (math.isfinite(value) and value >= 0):
        raise ValueError(f"{name} must be a number of seconds, 0 or more")
    return float(value)
