"""The recorded examples: each answers the schema of its operation."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from jsonschema import Draft202012Validator

from ibkr_bridge.api.openapi.document import build_document
from ibkr_bridge.api.openapi.examples import body_of, load_examples
from ibkr_bridge.api.openapi.names import operation_id
from ibkr_bridge.api.route import Route
from ibkr_bridge.api.routes import ROUTES
from tests.api.test_routes import name_of

EXAMPLES = load_examples()
DOCUMENT = build_document()
UNRECORDED = {"getMetrics", "getOpenapi", "getDocs", "getTypescriptClient", "openWebsocket", "openGatewayWebsocket"}
"""Operations whose answers are files or a websocket."""
ANSWERED = [route for route in ROUTES if operation_id(route) not in UNRECORDED]


def answer_schema(route: Route) -> dict[str, Any]:
    """The schema of an answer, with the components that it refers to."""
    content = DOCUMENT["paths"][route.path][route.method.lower()]["responses"]["200"]["content"]
    return {**content[route.media_type]["schema"], "components": DOCUMENT["components"]}


def test_every_answer_has_an_example() -> None:
    """And no example belongs to an operation that is gone."""
    answers = {operation_id(route) for route in ANSWERED}
    bodies = {body_of(operation_id(route)) for route in ROUTES if route.request is not None}

    assert set(EXAMPLES) == answers | bodies


@pytest.mark.parametrize("route", [route for route in ROUTES if route.request is not None], ids=name_of)
def test_the_example_of_a_body_has_its_shape(route: Route) -> None:
    """A reader who sends it must not get an error."""
    msgspec.convert(EXAMPLES[body_of(operation_id(route))], type=route.request)


@pytest.mark.parametrize("route", ANSWERED, ids=name_of)
def test_an_example_has_the_shape_of_the_answer(route: Route) -> None:
    """Both by the schema of the document and by the class that the bridge uses."""
    example = EXAMPLES[operation_id(route)]

    Draft202012Validator(answer_schema(route)).validate(example)
    if route.response is not None and issubclass(route.response, msgspec.Struct):
        msgspec.json.decode(msgspec.json.encode(example), type=route.response)
