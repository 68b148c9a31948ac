"""Each incident of docs/troubleshooting.md on a booted Debian: who tells it first, and that nobody says all is well.

The table of the page is the expectation: a row that the machine does not confirm fails here.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from datetime import date, datetime
from typing import NamedTuple
from zoneinfo import ZoneInfo

import pytest

from tests.system.incident_makers import APP, MAKERS, STREAM_LOG, Site
from tests.system.machine import ROOT, Machine

PAGE = (ROOT / "docs" / "troubleshooting.md").read_text()
SECTION = PAGE.partition("## Incidents")[2].partition("\n## ")[0]
ROW = re.compile(r"^\| ([A-Z][^|]*) \| [^|]* \| ([^|]*) \| ([^|]*) \| `(\w+)`: `([^`]+)` \|$", re.MULTILINE)
STOPS = re.compile(r"^\| `(\w+)` \| \w+ \| no \|", re.MULTILINE)
NOT_READY = set(STOPS.findall((ROOT / "docs" / "conditions.md").read_text()))
"""The conditions during which `/readyz` must not say that the bridge is ready."""
GOOD = 'Status: "ready: '
WITH_STATUS_78 = {"A reload was refused", "The settings cannot be used", "A misspelt setting"}
NOT_STARTED = {"The settings cannot be used", "A misspelt setting"}
ONLY_THE_APP = "An app has a wrong key"  # the bridge is well, and says so
DOCTOR_TIMEOUT_S = 80.0  # a stream counts as down after a minute


class Row(NamedTuple):
    """A row of the table."""

    title: str
    surface: str
    words: str
    layer: str
    check: str


ROWS = [Row(*found) for found in ROW.findall(SECTION)]
SURFACES: dict[str, Callable[[Site, str], str]] = {
    "`systemctl status`": lambda site, _: status_of(site.machine),
    "`/readyz`": lambda site, _: site.machine.curl("/readyz"),
    "the log": lambda site, cursor: log_since(site.machine, cursor),
    "the response": lambda site, _: site.response,
    "the stream": lambda site, _: site.machine.sh(f"cat {STREAM_LOG}", check=False),
}


def status_of(machine: Machine) -> str:
    """What `systemctl status` prints without the log lines."""
    return machine.run("systemctl", "status", "--no-pager", "-n", "0", "ibkr-bridge.service", check=False).stdout


def log_since(machine: Machine, cursor: str) -> str:
    """The log of the bridge after a place of the journal."""
    return machine.sh(f"journalctl -u ibkr-bridge -o cat --no-pager --after-cursor='{cursor}'", check=False)


def has_words(words: str, text: str) -> bool:
    """Whether the text has the words of a row in their order."""
    return re.search(".*".join(re.escape(part.strip()) for part in words.split("…")), text, re.DOTALL) is not None


def doctor(site: Site, row: Row) -> tuple[int, str, str]:
    """Run it. Returns the exit status, and the first layer and check that are red."""
    words = ("--env-file", APP) if row.title == ONLY_THE_APP else ()
    done = site.machine.run("ibkr-bridge", "doctor", "--json", *words, check=False)
    red = next((each for each in json.loads(done.stdout) if each["fix"]), {"layer": "", "check": ""})
    return done.returncode, red["layer"], red["check"]


@pytest.fixture(scope="module")
def installed(machine: Machine) -> Site:
    """A machine with an installed bridge and a simulated Gateway that has a login."""
    machine.run("systemctl", "enable", "--now", "--no-block", "gateway.service")
    machine.install()
    machine.wait_until_ready()
    return Site(machine)


@pytest.fixture
def site(installed: Site) -> Iterator[Site]:
    """The machine, recovered from the incident before."""
    installed.recover()
    assert GOOD in status_of(installed.machine)
    yield installed


def test_the_page_has_each_incident() -> None:
    """None is missing here or there, and none is told by nobody."""
    assert [row.title for row in ROWS] == list(MAKERS)
    assert len(ROWS) == 24
    assert not re.search(r"\bnever\b(?! answered)|all green", SECTION, re.IGNORECASE)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.title)
def test_an_incident_is_told_and_nobody_says_that_all_is_well(site: Site, row: Row) -> None:
    """The first surface has the words of the table, and doctor is red at the layer of the table first."""
    machine = site.machine
    cursor = machine.sh("journalctl -n 0 --show-cursor --no-pager").partition("cursor: ")[2].strip()
    began = time.monotonic()

    day = in_new_york()
    MAKERS[row.title](site)
    tell = SURFACES[row.surface]
    machine.wait_until(lambda: has_words(row.words, tell(site, cursor)), f"{row.surface} does not tell {row.words!r}")
    told_s = time.monotonic() - began
    first = wait_for_doctor(site, row)
    if in_new_york() != day:
        pytest.skip(
            "at midnight in New York the simulated IBKR ended the login, as the real one does: another incident"
        )

    print(f"\n{row.title}: {row.surface} after {told_s:.1f} s, doctor after {time.monotonic() - began:.1f} s")
    assert first == expected_of(row)
    assert (GOOD in status_of(machine)) == (row.title == ONLY_THE_APP)
    if NOT_READY & {row.check, row.words.partition(":")[0]} or row.title in NOT_STARTED:
        assert not machine.curl("/readyz").endswith("\n200")


def in_new_york() -> date:
    """The day there, by which IBKR ends the logins."""
    return datetime.now(ZoneInfo("America/New_York")).date()


def expected_of(row: Row) -> tuple[int, str, str]:
    """The exit status of doctor, and the first layer and check that are red."""
    return 78 if row.title in WITH_STATUS_78 else 1, row.layer, row.check


def wait_for_doctor(site: Site, row: Row) -> tuple[int, str, str]:
    """What doctor says, at the latest when it has had time to see what takes a while."""
    end = time.monotonic() + DOCTOR_TIMEOUT_S
    while (found := doctor(site, row)) != expected_of(row) and time.monotonic() < end:
        pass
    return found
