"""The page, the dashboard and the alert rules name the metrics that exist."""

from __future__ import annotations

import json
import re
import shutil
import subprocess

import pytest

from tools.marked_section import read_section
from tools.metrics import DASHBOARD, PAGE, ROOT, SECTION, dashboard, rows, table

RULES = ROOT / "deploy" / "prometheus" / "ibkr-bridge.rules.yml"
PROMTOOL = shutil.which("promtool")


def test_the_page_has_the_table() -> None:
    """`python -m tools.metrics` writes it."""
    assert read_section(PAGE.read_text("utf-8"), SECTION) == table()


def test_the_dashboard_shows_every_metric() -> None:
    """The same command writes it."""
    expressions = [target["expr"] for panel in dashboard()["panels"] for target in panel["targets"]]

    assert json.loads(DASHBOARD.read_text("utf-8")) == dashboard()
    assert all(any(row.name in each for each in expressions) for row in rows())


def test_the_rules_name_metrics_that_exist() -> None:
    """A rule about a metric that nobody sends never fires."""
    named = set(re.findall(r"ibkr_bridge_[a-z_]+", RULES.read_text("utf-8")))

    assert named
    assert named <= {row.name for row in rows()}


@pytest.mark.skipif(PROMTOOL is None, reason="Debian's package prometheus has promtool")
@pytest.mark.parametrize("command", [("check", "rules", str(RULES)), ("check", "config", "--syntax-only")])
def test_promtool_accepts_the_rules_and_the_scrape_job(command: tuple[str, ...]) -> None:
    """It is what Prometheus itself would say."""
    job = () if "rules" in command else (str(RULES.with_name("scrape.yml")),)

    result = subprocess.run((str(PROMTOOL), *command, *job), capture_output=True, text=True, check=False)

    assert result.returncode == 0, result.stdout + result.stderr
