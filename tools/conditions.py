"""Write the table of all conditions into docs/conditions.md: `python -m tools.conditions`."""

from __future__ import annotations

from pathlib import Path

from ibkr_bridge.conditions.condition import KINDS, Kind
from ibkr_bridge.session.gateway_session_api import GATEWAY_HINTS
from ibkr_bridge.session.oauth_hints import OAUTH_HINTS
from ibkr_bridge.session.state_machine import REASONS
from tools.marked_section import write_section

PAGE = Path(__file__).resolve().parents[1] / "docs" / "conditions.md"
SECTION = "conditions"
HEAD = """
| condition | severity | ready | text | what to do |
|---|---|---|---|---|
"""
HINT = "{hint}"


def table() -> str:
    """The section of the page."""
    return HEAD + "".join(map(_row, KINDS.values())) + "\n"


def _row(kind: Kind) -> str:
    ready = "no" if kind.stops else "yes"
    return f"| `{kind.id}` | {kind.severity.value} | {ready} | {_shown(kind.text)} | {_shown(_what_to_do(kind))} |\n"


def _what_to_do(kind: Kind) -> str:
    by_observation = {**OAUTH_HINTS.by_observation, **GATEWAY_HINTS.by_observation}
    hints = {REASONS[observation]: hint for observation, hint in by_observation.items()}
    return hints[kind.id] if kind.do == HINT else kind.do


def _shown(template: str) -> str:
    """A template with the names of what is filled in, in italics."""
    return template.replace("{since}", "").replace("{", "*").replace("}", "*")


if __name__ == "__main__":
    write_section(PAGE, SECTION, table())
