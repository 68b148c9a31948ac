"""Write the table of all metrics into docs/metrics.md, and the dashboard for Grafana: `python -m tools.metrics`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ibkr_bridge.observe.metrics import Metrics
from ibkr_bridge.observe.request_counts import RequestCounts
from tools.marked_section import write_section

ROOT = Path(__file__).resolve().parents[1]
PAGE, DASHBOARD = ROOT / "docs" / "metrics.md", ROOT / "deploy" / "grafana" / "ibkr-bridge.json"
SECTION = "metrics"
HEAD = """
| metric | type | labels | meaning |
|---|---|---|---|
"""
WIDTH, HEIGHT, COLUMNS = 8, 7, 3
UNITS = {"_timestamp_seconds": "dateTimeFromNow", "_seconds": "s", "_bytes": "bytes"}


@dataclass(frozen=True)
class Row:
    """One metric."""

    name: str
    kind: str
    labels: tuple[str, ...]
    text: str


def rows() -> list[Row]:
    """All metrics of the bridge itself, in the order in which they are sent."""
    families = Metrics(RequestCounts(), dict).collect()
    return [
        Row(
            family.name + ("_total" if family.type == "counter" else ""),
            family.type,
            tuple(getattr(family, "_labelnames", ())),
            family.documentation,
        )
        for family in families
    ]


def table() -> str:
    """The section of the page."""
    cells = ((f"`{row.name}`", row.kind, ", ".join(f"`{each}`" for each in row.labels), row.text) for row in rows())
    return HEAD + "".join(f"| {' | '.join(each)} |\n" for each in cells) + "\n"


def dashboard() -> dict[str, Any]:
    """The dashboard: one panel for each metric."""
    return {
        "title": "IBKR Bridge",
        "uid": "ibkr-bridge",
        "schemaVersion": 39,
        "refresh": "30s",
        "time": {"from": "now-24h", "to": "now"},
        "templating": {"list": [_profile_choice()]},
        "panels": list(_panels()),
    }


def _profile_choice() -> dict[str, Any]:
    query = "label_values(ibkr_bridge_session_ready, profile)"
    return {"name": "profile", "type": "query", "query": query, "includeAll": True, "multi": True, "refresh": 2}


def _panels() -> Iterator[dict[str, Any]]:
    for number, row in enumerate(rows()):
        place = {"x": number % COLUMNS * WIDTH, "y": number // COLUMNS * HEIGHT, "w": WIDTH, "h": HEIGHT}
        legend = " ".join(f"{{{{{label}}}}}" for label in row.labels)
        yield {
            "id": number + 1,
            "type": "timeseries",
            "title": row.text.partition(":")[0].rstrip("."),
            "description": f"{row.name}: {row.text}",
            "gridPos": place,
            "fieldConfig": {"defaults": {"unit": _unit(row)}, "overrides": []},
            "targets": [{"refId": "A", "expr": _expression(row), "legendFormat": legend}],
        }


def _expression(row: Row) -> str:
    chosen = '{profile=~"$profile"}'
    if row.kind == "histogram":
        return f"histogram_quantile(0.95, sum by (le, profile, source) (rate({row.name}_bucket{chosen}[5m])))"
    if row.name.endswith("_condition"):
        return f"{row.name}{chosen} == 1"
    return f"rate({row.name}{chosen}[5m])" if row.kind == "counter" else f"{row.name}{chosen}"


def _unit(row: Row) -> str:
    return next((unit for end, unit in UNITS.items() if row.name.endswith(end)), "short")


if __name__ == "__main__":
    write_section(PAGE, SECTION, table())
    DASHBOARD.write_text(json.dumps(dashboard(), indent=1) + "\n", "utf-8")
