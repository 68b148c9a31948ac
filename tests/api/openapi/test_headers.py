"""The headers of requests and responses in the document."""

from __future__ import annotations

import re
from pathlib import Path

from ibkr_bridge.api.openapi.headers import (
    ALWAYS,
    BY_STATUS,
    REQUEST_HEADERS,
    RESPONSE_HEADERS,
    header_components,
    request_headers,
    response_headers,
    success_headers,
)
from ibkr_bridge.api.routes import ROUTES

PACKAGE = Path(__file__).resolve().parents[3] / "ibkr_bridge"


def test_a_stream_can_go_on_after_an_event() -> None:
    """A client sends the id of the last event."""
    stream = next(route for route in ROUTES if route.path == "/stream/orders")
    status = next(route for route in ROUTES if route.path == "/gateway/status")

    assert {"$ref": "#/components/parameters/Last-Event-ID"} in request_headers(stream)
    names = ("X-Request-ID", "X-Bridge-Profile")
    assert request_headers(status) == [{"$ref": f"#/components/parameters/{name}"} for name in names]


def test_a_request_header_has_the_form_of_a_parameter() -> None:
    """Generators of clients make an argument of it."""
    for header in REQUEST_HEADERS:
        assert header.component["in"] == "header"
        assert header.doc.endswith(".")


def test_each_header_is_named_in_the_code() -> None:
    """A header that the bridge neither reads nor sends would mislead."""
    code = "".join(
        path.read_text() for package in ("server", "api", "calls") for path in PACKAGE.glob(f"{package}/*.py")
    )
    names = {*(header.name for header in REQUEST_HEADERS), *RESPONSE_HEADERS} - {"Age", "WWW-Authenticate"}

    assert [name for name in sorted(names) if not re.search(rf'"{name}"', code)] == []


def test_every_response_header_is_declared() -> None:
    """A reference to nothing is no valid document."""
    named = {*ALWAYS, *(name for names in BY_STATUS.values() for name in names)}

    assert named <= set(header_components())
    assert response_headers(("Retry-After",))["Retry-After"] == {"$ref": "#/components/headers/Retry-After"}
    assert all(set(success_headers(route)) <= set(RESPONSE_HEADERS) for route in ROUTES)
