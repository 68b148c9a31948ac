"""The table of the status: its rows come from the dataclasses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

import pytest

from ibkr_bridge.profiles.status import JOINED
from tools.marked_section import API_PAGE, read_section
from tools.status_fields import SECTION, Member, members, table


@dataclass(frozen=True)
class Inner:
    """A dataclass inside another one."""

    at: datetime | None = field(metadata={"doc": "When."})


@dataclass(frozen=True)
class Outer:
    """A dataclass with every kind of field."""

    joined: Inner = field(metadata={JOINED: True})
    parts: tuple[Inner, ...] = field(metadata={"doc": "Parts."})
    names: tuple[str, ...] = field(metadata={"doc": "Names."})
    part: Inner | None = field(metadata={"doc": "A part."})
    counts: Mapping[str, int] = field(metadata={"doc": "Counts.", "unit": "calls"})


@dataclass(frozen=True)
class Undocumented:
    """A dataclass whose field has no meaning."""

    count: int


def test_every_member_has_a_row() -> None:
    """Also those of lists and of objects that may be null. A joined field has no row itself."""
    assert list(members(Outer)) == [
        Member("at", "time", True, "UTC, ISO 8601", "When."),
        Member("parts", "list of object", False, "", "Parts."),
        Member("parts[].at", "time", True, "UTC, ISO 8601", "When."),
        Member("names", "list of string", False, "", "Names."),
        Member("part", "object", True, "", "A part."),
        Member("part.at", "time", True, "UTC, ISO 8601", "When."),
        Member("counts", "map of integer", False, "calls", "Counts."),
    ]


def test_a_field_without_a_meaning_is_refused() -> None:
    """The page would have an empty cell."""
    with pytest.raises(KeyError, match="doc"):
        list(members(Undocumented))


def test_numbers_have_a_unit() -> None:
    """A number without a unit is ambiguous."""
    numbers = [member for member in members() if member.json_type.endswith(("integer", "number"))]

    assert len(numbers) > 20
    assert [member.name for member in numbers if not member.unit] == []


def test_the_page_has_the_table() -> None:
    """`python -m tools.status_fields` writes it."""
    assert read_section(API_PAGE.read_text("utf-8"), SECTION) == table()
