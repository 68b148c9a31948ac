"""The responses of a route in the document."""

from __future__ import annotations

from typing import Any

from ibkr_bridge.api.openapi.responses import responses_of
from ibkr_bridge.api.openapi.schemas import Components
from ibkr_bridge.api.routes import ROUTES


def responses(path: str, example: object = None, components: Components | None = None) -> dict[str, Any]:
    """The responses of the route with this path, where every example is the same."""

    class Examples(dict[str, Any]):
        def get(self, *_: object) -> Any:
            return example

    route = next(route for route in ROUTES if route.path == path)
    return responses_of(route, components or Components(), Examples())


def test_the_answer_has_its_shape_and_its_example() -> None:
    """A reader sees what to expect, and a generator makes a type of it."""
    content = responses("/gateway/pause", {"paused": True})["200"]["content"]

    assert content == {
        "application/json": {
            "schema": {"$ref": "#/components/schemas/PausedTrading"},
            "example": {"paused": True},
        }
    }


def test_the_errors_with_one_status_are_one_response() -> None:
    """Its schema has only the codes that can occur."""
    components = Components()
    reference = responses("/gateway/status", components=components)["503"]
    problem = components.responses["503.busy.shutting_down"]

    assert reference == {"$ref": "#/components/responses/503.busy.shutting_down"}
    assert problem["description"] == "`busy`, `shutting_down`"
    schema = problem["content"]["application/problem+json"]["schema"]
    assert schema["allOf"][1]["properties"]["code"]["enum"] == ["busy", "shutting_down"]
    assert "Retry-After" in problem["headers"]


def test_a_probe_answers_503_in_its_own_form() -> None:
    """Monitors look at the status, people at the body."""
    assert set(responses("/readyz")["503"]["content"]) == {"text/plain", "application/problem+json"}


def test_a_websocket_switches_protocols() -> None:
    """It has no body."""
    answers = responses("/ws")

    assert "200" not in answers
    assert "content" not in answers["101"]


def test_a_stream_is_an_event_stream() -> None:
    """Its events are text."""
    assert responses("/stream/pnl")["200"]["content"] == {"text/event-stream": {"schema": {"type": "string"}}}
