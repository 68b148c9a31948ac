"""The whole document: OpenAPI 3.1, built from the table of routes.

Programs generate clients from it, and `GET /docs` shows it. It is built when it is first requested, since most bridges
never serve it.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Mapping
from typing import Any

from ibkr_bridge import VERSION
from ibkr_bridge.api.openapi.examples import load_examples
from ibkr_bridge.api.openapi.headers import REQUEST_HEADERS, header_components
from ibkr_bridge.api.openapi.names import TAG_TEXTS, tag
from ibkr_bridge.api.openapi.operations import SECURITY_SCHEMES, operation
from ibkr_bridge.api.openapi.schemas import Components, Schema
from ibkr_bridge.api.route import Route
from ibkr_bridge.api.routes import ROUTES
from ibkr_bridge.errors import BridgeError, error_classes
from ibkr_bridge.models.problem import Problem

ABOUT = (
    "The routes of IBKR Bridge itself. Money, prices and sizes are decimals in strings, times are UTC, and a value "
    "that IBKR does not know is null. Every error has the form of `Problem`; programs switch on its `code`. IBKR's own "
    "API is served as well, under IBKR's own paths, and is not described here."
)
LICENSE = {"name": "MIT", "identifier": "MIT"}


def build_document(routes: Iterable[Route] = ROUTES, examples: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The document as JSON values."""
    rows, components = tuple(routes), Components()
    recorded = load_examples() if examples is None else examples
    components.schema(Problem)
    paths: dict[str, dict[str, Any]] = {}
    for route in rows:
        paths.setdefault(route.path, {})[route.method.lower()] = operation(route, components, recorded)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "IBKR Bridge",
            "version": VERSION,
            "description": ABOUT,
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/", "description": "The bridge that serves this document."}],
        "tags": [
            {"name": name, "description": text} for name, text in TAG_TEXTS.items() if name in set(map(tag, rows))
        ],
        "paths": paths,
        "components": {
            "securitySchemes": SECURITY_SCHEMES,
            "parameters": {header.name: header.component for header in REQUEST_HEADERS},
            "headers": header_components(),
            "responses": dict(sorted(components.responses.items())),
            "schemas": dict(sorted(_with_codes(components.schemas).items())),
        },
        "x-errors": {error.code: _error(error) for error in sorted(error_classes(), key=lambda error: error.code)},
    }


def _with_codes(schemas: Mapping[str, Schema]) -> dict[str, Schema]:
    """The schemas, with all codes in that of a problem."""
    problem = schemas["Problem"]
    codes = {**problem["properties"]["code"], "enum": sorted(error.code for error in error_classes())}
    return {**schemas, "Problem": {**problem, "properties": {**problem["properties"], "code": codes}}}


def _error(error: type[BridgeError]) -> dict[str, Any]:
    """What is said of one code, for people."""
    meaning = " ".join((error.__doc__ or "").split())
    return {"status": error.status, "meaning": meaning, "hint": error.hint}


def encoded_document() -> bytes:
    """The document as the bridge serves it; `docs/openapi.json` is the same, with line breaks."""
    return _encode()


@functools.cache
def _encode() -> bytes:
    return json.dumps(build_document(), separators=(",", ":"), ensure_ascii=False).encode()
