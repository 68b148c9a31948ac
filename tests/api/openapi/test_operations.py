"""One route as an operation: parameters, body, and who may call it."""

from __future__ import annotations

from typing import Any

from ibkr_bridge.api.openapi.operations import PATH_PARAMETERS, PATH_VARIABLE, operation
from ibkr_bridge.api.openapi.schemas import Components
from ibkr_bridge.api.routes import ROUTES


def operation_of(method: str, path: str) -> dict[str, Any]:
    """The operation of a route."""
    route = next(route for route in ROUTES if (route.method, route.path) == (method, path))
    return operation(route, Components(), {})


def test_parameters_of_the_path_and_the_query_are_listed() -> None:
    """Those of the path are always required."""
    by_path = operation_of("GET", "/orders/{id}")["parameters"][0]
    conids, fields = operation_of("GET", "/stream/quotes")["parameters"][:2]

    assert (by_path["name"], by_path["in"], by_path["required"]) == ("id", "path", True)
    assert (conids["required"], conids["explode"], conids["schema"]["type"]) == (True, False, "array")
    assert fields["required"] is False


def test_every_variable_of_a_path_is_explained() -> None:
    """And no other one."""
    names = {"/".join(found) for route in ROUTES for found in PATH_VARIABLE.findall(route.path)}

    assert names == set(PATH_PARAMETERS)


def test_a_body_is_required_unless_the_row_says_otherwise() -> None:
    """An empty body requests a token with the defaults."""
    body = operation_of("POST", "/auth/token")["requestBody"]

    assert body["required"] is False
    assert body["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/TokenOptions"}


def test_who_may_call_is_said() -> None:
    """Nobody needs a key for an open route; a browser may put a token into the query of a stream."""
    assert operation_of("GET", "/health")["security"] == []
    assert operation_of("GET", "/gateway/status")["security"] == [{"bridgeKey": []}, {"bearer": []}]
    assert operation_of("GET", "/stream/pnl")["security"][-1] == {"tokenInQuery": []}


def test_the_effect_is_said() -> None:
    """A program may then repeat reads, and nothing else."""
    pause = operation_of("POST", "/gateway/pause")

    assert (pause["x-effect"], pause["x-endless"], pause["operationId"]) == ("trade", False, "pauseTrading")
