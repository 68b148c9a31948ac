"""One route as an operation of the document: parameters, body, responses and who may call it. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ibkr_bridge.api.openapi.examples import body_of
from ibkr_bridge.api.openapi.headers import PROFILE_NAME, request_headers
from ibkr_bridge.api.openapi.names import operation_id, tag
from ibkr_bridge.api.openapi.responses import JSON_TYPE, responses_of
from ibkr_bridge.api.openapi.schemas import Components
from ibkr_bridge.api.route import Auth, Parameter, Route

PATH_VARIABLE = re.compile(r"(\w+)/{(\w+)}")
CONID_TEXT = {"type": "string", "pattern": "^0{0,11}[1-9][0-9]{0,11}$", "maxLength": 12}
WORD = {"type": "string", "pattern": "^[A-Za-z0-9-]{1,64}$"}
ORDER_EXAMPLE = f"{1:020x}"
PATH_PARAMETERS: Mapping[str, tuple[str, dict[str, Any], str | int]] = {
    "accounts/id": ("An account number.", WORD, "DU1234567"),
    "instruments/conid": ("IBKR's number of an instrument.", CONID_TEXT, "265598"),
    "profiles/name": ("The name of a profile.", PROFILE_NAME, "anna"),
    "orders/id": ("The bridge's id of an order, or IBKR's number of it.", WORD, ORDER_EXAMPLE),
}
"""By the name in the path, after the segment before it: what it is, its schema, and an example."""
KEY, BEARER, TOKEN = "bridgeKey", "bearer", "tokenInQuery"
SECURITY_SCHEMES: Mapping[str, dict[str, str]] = {
    KEY: {"type": "apiKey", "in": "header", "name": "X-Bridge-Key", "description": "A key of the bridge."},
    BEARER: {"type": "http", "scheme": "bearer", "description": "A key, or a token of `POST /auth/token`."},
    TOKEN: {
        "type": "apiKey",
        "in": "query",
        "name": "token",
        "description": "A token, since browsers open streams and pages without headers.",
    },
}


def operation(route: Route, components: Components, examples: Mapping[str, Any]) -> dict[str, Any]:
    """One route as an operation."""
    parameters = [*_path_parameters(route), *(_query_parameter(each, components) for each in route.parameters)]
    return {
        "operationId": operation_id(route),
        "tags": [tag(route)],
        "summary": route.summary,
        "security": _security(route),
        "parameters": [*parameters, *request_headers(route)],
        **_request_body(route, components, examples),
        "responses": responses_of(route, components, examples),
        "x-effect": route.effect.value,
        "x-endless": route.endless,
    }


def _path_parameters(route: Route) -> list[dict[str, Any]]:
    found = []
    for owner, name in PATH_VARIABLE.findall(route.path):
        doc, schema, example = PATH_PARAMETERS[f"{owner}/{name}"]
        found.append(
            {"name": name, "in": "path", "required": True, "description": doc, "schema": schema, "example": example}
        )
    return found


def _query_parameter(parameter: Parameter, components: Components) -> dict[str, Any]:
    """A parameter of the query. Several values of one are written with commas between them."""
    schema = components.schema(parameter.type)
    return {
        "name": parameter.name,
        "in": "query",
        "required": parameter.is_required,
        "description": parameter.doc,
        "schema": schema,
        **({"style": "form", "explode": False} if schema.get("type") == "array" else {}),
        **({"example": parameter.example} if parameter.example else {}),
    }


def _request_body(route: Route, components: Components, examples: Mapping[str, Any]) -> dict[str, Any]:
    if route.request is None:
        return {}
    example = examples.get(body_of(operation_id(route)))
    media = {"schema": components.request_schema(route.request), **({"example": example} if example else {})}
    return {"requestBody": {"required": not route.may_lack_body, "content": {JSON_TYPE: media}}}


def _security(route: Route) -> list[dict[str, list[str]]]:
    """What a request must have one of; nothing for an open route."""
    if route.auth is Auth.OPEN:
        return []
    schemes = (KEY, BEARER, TOKEN) if route.token_in_query else (KEY, BEARER)
    return [{scheme: []} for scheme in schemes]
