"""The responses of a route in the document: the answer with its example, and its errors by status. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ibkr_bridge.api.openapi.errors import codes_by_status, errors_of
from ibkr_bridge.api.openapi.headers import BY_STATUS, response_headers, success_headers
from ibkr_bridge.api.openapi.names import operation_id
from ibkr_bridge.api.openapi.schemas import Components
from ibkr_bridge.api.route import Route

PROBLEM_TYPE = "application/problem+json"
JSON_TYPE = "application/json"
TEXT: dict[str, Any] = {"type": "string"}


def responses_of(route: Route, components: Components, examples: Mapping[str, Any]) -> dict[str, Any]:
    """All responses of a route, by status."""
    content = _content(route, components, examples.get(operation_id(route)))
    answers = {"101" if route.websocket else "200": _answer(route, content)}
    for status, codes in codes_by_status(errors_of(route)).items():
        problem = _problem(status, codes)
        if status == 503 and route.may_be_503:
            answers["503"] = _negative_answer(problem, _content(route, components, None))
        else:
            answers[str(status)] = components.response(".".join((str(status), *codes)), problem)
    return answers


def _negative_answer(problem: Mapping[str, Any], content: Mapping[str, Any]) -> dict[str, Any]:
    """The 503 of a probe: either its own form, or an error."""
    description = f"It is not so now, and the body says why. Or: {problem['description']}"
    return {**problem, "description": description, "content": {**content, **problem["content"]}}


def _answer(route: Route, content: Mapping[str, Any]) -> dict[str, Any]:
    description = "The websocket is open." if route.websocket else route.summary
    headers = response_headers(success_headers(route))
    return {"description": description, "headers": headers, **({"content": content} if content else {})}


def _content(route: Route, components: Components, example: object) -> dict[str, Any]:
    """The body of an answer, by its media type."""
    if route.websocket:
        return {}
    schema = TEXT
    if route.media_type == JSON_TYPE:
        schema = components.schema(route.response) if route.response is not None else {"type": "object"}
    return {route.media_type: {"schema": schema, **({"example": example} if example is not None else {})}}


def _problem(status: int, codes: list[str]) -> dict[str, Any]:
    """The errors with one status: the form is always the same, and only these codes occur."""
    schema = {
        "allOf": [
            {"$ref": "#/components/schemas/Problem"},
            {"type": "object", "properties": {"code": {"type": "string", "enum": codes}}},
        ]
    }
    return {
        "description": ", ".join(f"`{code}`" for code in codes),
        "headers": response_headers(BY_STATUS.get(status, ())),
        "content": {PROBLEM_TYPE: {"schema": schema}},
    }
