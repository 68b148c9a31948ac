"""Write the table of all members of `GET /gateway/status` into docs/api.md: `python -m tools.status_fields`.

Names, types and meanings are those of `ProfileStatus` and the dataclasses in it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import Field, dataclass, fields, is_dataclass
from datetime import datetime
from types import NoneType
from typing import Any, get_args, get_origin, get_type_hints

from ibkr_bridge.profiles.status import JOINED, ProfileStatus
from tools.marked_section import API_PAGE, write_section

SECTION = "status"
HEAD = """
| member | type | unit | meaning |
|---|---|---|---|
"""
JSON_TYPES = {str: "string", bool: "boolean", int: "integer", float: "number", datetime: "time"}
DEFAULT_UNITS = {"time": "UTC, ISO 8601"}


@dataclass(frozen=True)
class Member:
    """One member of the JSON."""

    name: str
    """The path of the member; `[]` follows the name of a list."""
    json_type: str
    """One of `JSON_TYPES`, `object`, `list`, or `map of …` for an object whose names are data."""
    is_nullable: bool
    unit: str
    meaning: str


def members(status: type = ProfileStatus, prefix: str = "") -> Iterator[Member]:
    """All members, in the order of the JSON."""
    hints = get_type_hints(status)
    for declared in fields(status):
        hint = hints[declared.name]
        if declared.metadata.get(JOINED):
            yield from members(hint, prefix)
        else:
            yield from _expand(declared, hint, prefix)


def _expand(declared: Field[Any], hint: Any, prefix: str) -> Iterator[Member]:
    """The member of a field and those inside it."""
    plain, is_nullable = _without_none(hint)
    json_type, name = _json_type(plain), prefix + declared.name
    unit = declared.metadata.get("unit", DEFAULT_UNITS.get(json_type, ""))
    yield Member(name, json_type, is_nullable, unit, declared.metadata["doc"])
    if json_type == "list of object":
        yield from members(get_args(plain)[0], f"{name}[].")
    elif json_type == "object":
        yield from members(plain, f"{name}.")


def _without_none(hint: Any) -> tuple[Any, bool]:
    """A type without None, and whether None was part of it."""
    kinds = get_args(hint)
    if NoneType not in kinds:
        return hint, False
    (plain,) = (kind for kind in kinds if kind is not NoneType)
    return plain, True


def _json_type(kind: Any) -> str:
    if get_origin(kind) is tuple:
        return f"list of {_json_type(get_args(kind)[0])}"
    if get_origin(kind) is Mapping:
        return f"map of {_json_type(get_args(kind)[1])}"
    return "object" if is_dataclass(kind) else JSON_TYPES[kind]


def table() -> str:
    """The section of the page."""
    return HEAD + "".join(map(_row, members())) + "\n"


def _row(member: Member) -> str:
    json_type = member.json_type + (" or null" if member.is_nullable else "")
    return f"| `{member.name}` | {json_type} | {member.unit} | {member.meaning} |\n"


if __name__ == "__main__":
    write_section(API_PAGE, SECTION, table())
