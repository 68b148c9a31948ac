"""Which errors a request of a route can end with: those of its row, and those of the checks before it. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ibkr_bridge import errors
from ibkr_bridge.api.route import Auth, Route
from ibkr_bridge.errors import BridgeError
from ibkr_bridge.ibkr.endpoint import Effect


def _is_any(_: Route) -> bool:
    return True


def _is_keyed(route: Route) -> bool:
    return route.auth is not Auth.OPEN


def _needs_scope(route: Route) -> bool:
    return route.effect is not Effect.READ or route.auth is Auth.KEY


def _concerns_profile(route: Route) -> bool:
    return route.auth is not Auth.OPEN and not route.of_bridge


def _has_body(route: Route) -> bool:
    return route.request is not None or route.method != "GET"


CHECK_ERRORS: tuple[tuple[type[BridgeError], Callable[[Route], bool]], ...] = (
    (errors.BadRequest, _is_any),
    (errors.BadPath, _is_any),
    (errors.InvalidKey, _is_keyed),
    (errors.HostNotAllowed, _is_any),
    (errors.OriginNotAllowed, _is_any),
    (errors.InsufficientScope, _needs_scope),
    (errors.ProfileRequired, _concerns_profile),
    (errors.ProfileNotFound, _concerns_profile),
    (errors.UriTooLong, _is_any),
    (errors.UnsupportedMediaType, _has_body),
    (errors.Busy, _is_any),  # of an open route too: a request with a key counts among those of its key
    (errors.ShuttingDown, _is_keyed),
    (errors.Internal, _is_any),
)
"""What the checks and the middleware raise, and the routes that it concerns. A test compares it with the checks."""


def errors_of(route: Route) -> list[type[BridgeError]]:
    """The errors of a route, each once, by status and then by code."""
    of_checks = [error for error, concerns in CHECK_ERRORS if concerns(route)]
    return sorted({*of_checks, *route.errors}, key=lambda error: (error.status, error.code))


def codes_by_status(classes: Iterable[type[BridgeError]]) -> dict[int, list[str]]:
    """The codes of errors, by their status."""
    codes: dict[int, list[str]] = {}
    for error in classes:
        codes.setdefault(error.status, []).append(error.code)
    return codes
