"""Write one sample of each answer into docs/api.md, from the recorded examples: `python -m tools.samples`."""

from __future__ import annotations

import json

from ibkr_bridge.api.openapi.examples import load_examples
from ibkr_bridge.api.openapi.names import operation_id
from ibkr_bridge.api.route import Route
from ibkr_bridge.api.routes import ROUTES
from tools.examples import SAMPLES
from tools.marked_section import API_PAGE, write_section

SECTION = "samples"
MAX_LINES = 60  # of a sample; GET /docs has the whole ones


def section() -> str:
    """The section of the page."""
    samples, targets = load_examples(), {sample.operation_id: sample.target for sample in SAMPLES}
    rows = [route for route in ROUTES if operation_id(route) in samples]
    parts = [_sample(route, targets[operation_id(route)], samples[operation_id(route)]) for route in rows]
    return "\n" + "\n".join(parts) + "\n"


def _sample(route: Route, target: str, answer: object) -> str:
    is_text = isinstance(answer, str)
    text = answer.strip() if isinstance(answer, str) else json.dumps(answer, indent=1, ensure_ascii=False)
    lines = text.splitlines()
    shown = lines if len(lines) <= MAX_LINES else [*lines[:MAX_LINES], " …"]
    return "\n".join((f"`{route.method} {target}`", "", "```text" if is_text else "```json", *shown, "```", ""))


if __name__ == "__main__":
    write_section(API_PAGE, SECTION, section())
