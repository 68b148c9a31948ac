"""The whole document."""

from __future__ import annotations

import json

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from ibkr_bridge import VERSION
from ibkr_bridge.api.openapi.document import build_document, encoded_document
from ibkr_bridge.api.routes import ROUTES
from ibkr_bridge.errors import error_classes

DOCUMENT = build_document()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_it_is_valid() -> None:
    """As the meta schema of OpenAPI 3.1 says."""
    assert [error.message for error in OpenAPIV31SpecValidator(DOCUMENT).iter_errors()] == []


def test_it_has_every_route_once() -> None:
    """And no path that would be 404."""
    operations = {(method.upper(), path) for path, item in DOCUMENT["paths"].items() for method in item}

    assert operations == {(route.method, route.path) for route in ROUTES}


def test_it_has_the_version_of_the_bridge() -> None:
    """A client that was generated from it can say what it was made for."""
    assert DOCUMENT["info"]["version"] == VERSION
    assert DOCUMENT["openapi"] == "3.1.0"


def test_it_has_every_code() -> None:
    """Programs switch on codes, so a generated type should have them all."""
    codes = sorted(error.code for error in error_classes())

    assert DOCUMENT["components"]["schemas"]["Problem"]["properties"]["code"]["enum"] == codes
    assert list(DOCUMENT["x-errors"]) == codes


def test_every_component_is_used() -> None:
    """What nothing refers to is a rest of something that is gone."""
    text = json.dumps(DOCUMENT)
    kinds = ("parameters", "headers", "schemas")
    names = [f"#/components/{kind}/{name}" for kind in kinds for name in DOCUMENT["components"][kind]]

    unused = [name for name in names if f'"{name}"' not in text]
    assert [name for name in unused if name.startswith("#/components/schemas")] == []


def test_it_is_served_as_it_is_built() -> None:
    """Without spaces, since nobody reads it there."""
    assert json.loads(encoded_document()) == DOCUMENT
