"""The schemas of structs and of the dataclasses of the status."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from ibkr_bridge.api.openapi.schemas import Components
from ibkr_bridge.models.orders import Order, OrderTicket
from ibkr_bridge.profiles.status import JOINED


@dataclass(frozen=True)
class Inner:
    """A part of the outer one."""

    at: datetime | None = field(metadata={"doc": "When."})


@dataclass(frozen=True)
class Outer:
    """A dataclass with every kind of member."""

    joined: Inner = field(metadata={JOINED: True})
    parts: tuple[Inner, ...] = field(metadata={"doc": "Parts."})
    counts: Mapping[str, int] = field(metadata={"doc": "Counts.", "unit": "calls"})


def test_a_struct_becomes_a_component() -> None:
    """With the structs and enumerations inside it; money is text, and times are times."""
    components = Components()

    assert components.schema(Order) == {"$ref": "#/components/schemas/Order"}
    members = components.schemas["Order"]["properties"]
    assert members["quantity"]["anyOf"][0] == {"type": "string", "format": "decimal"}
    assert members["created"]["anyOf"][0] == {"type": "string", "format": "date-time"}
    assert components.schemas["OrderState"]["type"] == "string"
    assert "OpenQuestion" in components.schemas


def test_a_caller_may_write_a_decimal_as_a_number() -> None:
    """An answer always has text. The shapes inside the request count too."""
    components = Components()
    components.request_schema(OrderTicket)
    members, inner = components.schemas["OrderTicket"]["properties"], components.schemas["Bracket"]["properties"]

    assert members["quantity"]["anyOf"][0]["type"] == ["string", "number"]
    assert inner["stop_loss"]["anyOf"][0]["type"] == ["string", "number"]


def test_a_dataclass_becomes_a_component() -> None:
    """A joined field has no member of its own, and the unit follows the meaning."""
    components = Components()
    time = {"anyOf": [{"type": "string", "format": "date-time"}, {"type": "null"}], "description": "When."}

    assert components.schema(Outer) == {"$ref": "#/components/schemas/Outer"}
    assert components.schemas["Outer"]["properties"] == {
        "at": time,
        "parts": {"type": "array", "items": {"$ref": "#/components/schemas/Inner"}, "description": "Parts."},
        "counts": {
            "type": "object",
            "additionalProperties": {"type": "integer"},
            "description": "Counts. Unit: calls.",
        },
    }
    assert components.schemas["Outer"]["required"] == ["at", "parts", "counts"]
    assert components.schemas["Inner"]["properties"] == {"at": time}


def test_a_plain_type_needs_no_component() -> None:
    """A parameter is often a string."""
    components = Components()

    assert components.schema(str) == {"type": "string"}
    assert components.schemas == {}
