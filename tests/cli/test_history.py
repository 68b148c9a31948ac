"""`bridge.py history`: what has happened, in words."""

from __future__ import annotations

import json

from ibkr_bridge.cli.history import format_history
from tests.cli.command_runner import EXIT_FAILURE, EXIT_OK, Demo, Place

FIGURES = {"text": "ready 99.4 % of trading hours, 3 losses, mean repair 4 s"}
CONDITION = {
    "began": "2026-06-17T16:00:00Z",
    "ended": None,
    "severity": "critical",
    "id": "signed_out",
    "text": "nobody is signed in at the Gateway",
}


def test_the_running_demo_has_a_history(place: Place, running: Demo) -> None:
    """As text, and as JSON."""
    words, data = place.both("history", **running.env)

    assert (words.returncode, data.returncode) == (EXIT_OK, EXIT_OK)
    assert words.stdout.startswith("In the last week: ")
    assert "ready" in {each["state"] for each in json.loads(data.stdout)["states"]}


def test_a_period_that_is_not_there_is_refused(place: Place, running: Demo) -> None:
    """The bridge's own words say which are."""
    result = place.run("history", "--days", "91", **running.env)

    assert result.returncode == EXIT_FAILURE
    assert "send a number from 1 to 90" in result.stderr + result.stdout


def test_conditions_are_listed_below_the_figures() -> None:
    """Each with its beginning, how long it lasted, and its words."""
    history = {
        "from": "2026-06-10T17:00:00Z",
        "to": "2026-06-17T17:00:00Z",
        "availability": FIGURES,
        "problem": None,
        "conditions": [CONDITION, {**CONDITION, "ended": "2026-06-17T17:00:04Z"}],
    }

    assert format_history(history).splitlines() == [
        "In the last week: ready 99.4 % of trading hours, 3 losses, mean repair 4 s",
        "  2026-06-17 16:00:00 UTC      lasts  critical  signed_out: nobody is signed in at the Gateway",
        "  2026-06-17 16:00:00 UTC  1 h 0 min  critical  signed_out: nobody is signed in at the Gateway",
    ]


def test_a_history_with_a_problem_says_so() -> None:
    """It may miss something."""
    history = {
        "from": "2026-06-16T17:00:00Z",
        "to": "2026-06-17T17:00:00Z",
        "availability": FIGURES,
        "problem": "disk I/O error",
        "conditions": [],
    }

    assert format_history(history).splitlines()[1:] == [
        "!! the history is not complete: disk I/O error",
        "No condition has been recorded.",
    ]
