"""The errors of a route: those of its row and those of the checks."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from ibkr_bridge import errors, server
from ibkr_bridge.api.openapi.errors import CHECK_ERRORS, codes_by_status, errors_of
from ibkr_bridge.api.route import Auth
from ibkr_bridge.api.routes import ROUTES

CHECKING = ("admission_checks", "request_target", "request_shares", "body_budget", "credentials", "keyring")
"""The modules of the checks that every request passes."""


def raised_in(module: str) -> set[str]:
    """The classes of errors that a module of `server` raises."""
    tree = ast.parse((Path(server.__path__[0]) / f"{module}.py").read_text())
    calls = [node.exc for node in ast.walk(tree) if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call)]
    names = {call.func.id for call in calls if isinstance(call.func, ast.Name)}
    return {error.__name__ for error in errors.error_classes()} & names


def test_every_error_of_the_checks_is_listed() -> None:
    """A client that does not know of an error cannot handle it."""
    raised = {name for module in CHECKING for name in raised_in(module)}

    assert raised - {error.__name__ for error, _ in CHECK_ERRORS} <= {"InsufficientScope"}
    assert "InvalidKey" in raised


@pytest.mark.parametrize(
    ("path", "has_invalid_key", "has_scope"),
    [("/health", False, False), ("/gateway/status", True, False), ("/gateway/pause", True, True)],
)
def test_only_what_can_happen_is_listed(path: str, has_invalid_key: bool, has_scope: bool) -> None:
    """An open route needs no key, and a key that reads may read."""
    route = next(route for route in ROUTES if route.path == path)

    assert (errors.InvalidKey in errors_of(route)) is has_invalid_key
    assert (errors.InsufficientScope in errors_of(route)) is has_scope
    assert (route.auth is Auth.OPEN) is not has_invalid_key


def test_errors_are_grouped_by_their_status() -> None:
    """The document has one response for each status."""
    classes = [errors.BadRequest, errors.Busy, errors.ShuttingDown]

    assert codes_by_status(classes) == {400: ["bad_request"], 503: ["busy", "shutting_down"]}
