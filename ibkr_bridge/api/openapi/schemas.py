"""The schemas of the shapes: structs as msgspec writes them, dataclasses of the status from their fields. Pure."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import datetime
from types import NoneType
from typing import Any, get_args, get_origin, get_type_hints

import msgspec

from ibkr_bridge.profiles.status import JOINED

REF = "#/components/schemas/{name}"
Schema = dict[str, Any]
DECIMAL_PATTERN = r"^-?[0-9]{1,20}(\.[0-9]{1,20})?$"
PLAIN_TYPES: Mapping[Any, Schema] = {
    str: {"type": "string"},
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    float: {"type": "number"},
    datetime: {"type": "string", "format": "date-time"},
}


class Components:
    """Collects the schemas that the document refers to."""

    def __init__(self) -> None:
        self.schemas: dict[str, Schema] = {}
        self.responses: dict[str, dict[str, Any]] = {}

    def schema(self, shape: Any) -> Schema:
        """The schema of a type; shapes with a name become components, and their schema refers to them."""
        if inspect.isclass(shape) and is_dataclass(shape):
            return self._refer_to_dataclass(shape)
        (schema,), components = msgspec.json.schema_components([shape], ref_template=REF)
        self.schemas |= {name: _with_type(each) for name, each in components.items()}
        return schema

    def response(self, name: str, response: dict[str, Any]) -> dict[str, str]:
        """A reference to a response that several operations have."""
        self.responses[name] = response
        return {"$ref": f"#/components/responses/{name}"}

    def request_schema(self, shape: Any) -> Schema:
        """The schema of a shape that callers send: they may write a decimal as a number too."""
        schema, components = self.schema(shape), self.schemas
        for name in _shapes_in(schema, components):
            components[name] = _with_numbers(components[name])
        return schema

    def _refer_to_dataclass(self, shape: Any) -> Schema:
        if shape.__name__ not in self.schemas:
            properties = self._properties(shape)
            self.schemas[shape.__name__] = {
                "title": shape.__name__,
                "description": inspect.getdoc(shape),
                "type": "object",
                "properties": properties,
                "required": list(properties),
                "additionalProperties": False,
            }
        return {"$ref": REF.format(name=shape.__name__)}

    def _properties(self, shape: Any) -> dict[str, Schema]:
        """The members of a dataclass; those of a joined field are members of the outer object."""
        hints, properties = get_type_hints(shape), dict[str, Schema]()
        for declared in fields(shape):
            hint = hints[declared.name]
            if declared.metadata.get(JOINED):
                properties |= self._properties(hint)
            else:
                unit = declared.metadata.get("unit")
                description = declared.metadata["doc"] + (f" Unit: {unit}." if unit else "")
                properties[declared.name] = {**self._of_hint(hint), "description": description}
        return properties

    def _of_hint(self, hint: Any) -> Schema:
        kinds = get_args(hint)
        if NoneType in kinds:
            (plain,) = (kind for kind in kinds if kind is not NoneType)
            return {"anyOf": [self._of_hint(plain), {"type": "null"}]}
        if get_origin(hint) is tuple:
            return {"type": "array", "items": self._of_hint(kinds[0])}
        if get_origin(hint) is Mapping:
            return {"type": "object", "additionalProperties": self._of_hint(kinds[1])}
        return self._refer_to_dataclass(hint) if is_dataclass(hint) else PLAIN_TYPES[hint]


def _shapes_in(schema: Any, components: Mapping[str, Schema]) -> set[str]:
    """The names of the components that a schema leads to."""
    found, waiting = set[str](), [schema]
    while waiting:
        part = waiting.pop()
        name = part["$ref"].rpartition("/")[2] if isinstance(part, dict) and "$ref" in part else None
        if name is not None and name not in found:
            found.add(name)
            waiting.append(components[name])
        waiting.extend(part.values() if isinstance(part, dict) else part if isinstance(part, list) else ())
    return found


def _with_numbers(schema: Any) -> Any:
    """A schema in which each decimal may be a number as well as text."""
    if isinstance(schema, list):
        return [_with_numbers(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("format") == "decimal":
        return {**schema, "type": ["string", "number"], "pattern": DECIMAL_PATTERN}
    return {name: _with_numbers(part) for name, part in schema.items()}


def _with_type(schema: Schema) -> Schema:
    """The schema of an enumeration with its type, which msgspec leaves out and some generators need."""
    return {**schema, "type": "string"} if "enum" in schema else schema
