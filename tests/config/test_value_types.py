"""Parsing weekly windows, fingerprints and loopback names."""

from __future__ import annotations

from datetime import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ibkr_bridge.config.value_types import Fingerprint, WeeklyMoment, WeeklyWindow, is_loopback


@pytest.mark.parametrize(
    ("text", "days", "start", "end"),
    [
        ("mon-fri 01:00-01:15", {0, 1, 2, 3, 4}, time(1), time(1, 15)),
        ("SAT 18:00-24:00", {5}, time(18), time.max),
        (" daily  00:00 - 00:10 ", set(range(7)), time(0), time(0, 10)),
        ("fri-mon 22:00-23:00", {4, 5, 6, 0}, time(22), time(23)),
        ("sun-sun 10:00-11:00", {6}, time(10), time(11)),
    ],
)
def test_a_window_is_parsed(text: str, days: set[int], start: time, end: time) -> None:
    """Days and hours are written as in IBKR's announcements."""
    assert WeeklyWindow.parse(text) == WeeklyWindow(frozenset(days), start, end)


@pytest.mark.parametrize(
    "text",
    [
        *("", "sat", "sat 18:00", "18:00-24:00", "someday 18:00-19:00", "sat 19:00-18:00", "sat 18:00-18:00"),
        *(
            "sat 25:00-26:00",
            "sat 24:00-24:00",
            "sat - 18:00-19:00",
            "mon-tue-wed 01:00-02:00",
            "sat 18:00-19:00-20:00",
        ),
        *("mon 01:00+01:00-02:00", "mon 01:00-02:00+01:00", "mon 01:00+00:00-02:00+00:00", "mon 01:00z-02:00z"),
    ],
)
def test_a_malformed_window_is_refused(text: str) -> None:
    """So is a time zone: windows are in the local time of the region, and Python could not compare both."""
    with pytest.raises(ValueError):  # some messages are Python's
        WeeklyWindow.parse(text)


@given(st.one_of(st.text(), st.from_regex(r"(daily|[a-z]{3}) [0-9:.+-]{0,20}", fullmatch=True)))
@example("mon 01:00+01-02:00")
def test_no_text_crashes_the_window(text: str) -> None:
    """The result is a ValueError or a window that ends after its start and has no time zone."""
    try:
        window = WeeklyWindow.parse(text)
    except ValueError:
        return

    assert window.start < window.end
    assert window.start.tzinfo is window.end.tzinfo is None


@pytest.mark.parametrize("text", ["ab" * 32, "AB" * 32, ":".join(["aB"] * 32), f" {'ab' * 32} "])
def test_a_fingerprint_may_have_colons(text: str) -> None:
    """OpenSSL writes colons, browsers do not."""
    assert Fingerprint.parse(text) == b"\xab" * 32


@pytest.mark.parametrize("text", ["", "ab", "ab" * 20, "ab" * 33, "xy" * 32, "a" * 63])
def test_a_fingerprint_that_is_not_a_sha_256_is_refused(text: str) -> None:
    """A page with the SHA-256 often has the SHA-1 as well."""
    with pytest.raises(ValueError):  # some messages are Python's
        Fingerprint.parse(text)


@pytest.mark.parametrize(
    ("host", "is_local"),
    [
        ("localhost", True),
        ("127.0.0.1", True),
        ("127.8.9.1", True),
        ("::1", True),
        ("0.0.0.0", False),
        ("::", False),
        ("10.0.0.1", False),
        ("localhost.evil.example", False),
        ("127.0.0.1.evil.example", False),
        ("2130706433", False),
        ("", False),
    ],
)
def test_loopback_names_and_addresses(host: str, is_local: bool) -> None:
    """A name that only looks like loopback could be resolved to another machine."""
    assert is_loopback(host) is is_local


@given(st.text())
def test_no_text_crashes_the_loopback_check(host: str) -> None:
    """It gets every Host header."""
    assert is_loopback(host) in (True, False)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("daily 00:00", WeeklyMoment(frozenset(range(7)), time(0), None)),
        (" SUN  01:00  America/New_York ", WeeklyMoment(frozenset({6}), time(1), "America/New_York")),
        ("mon-fri 06:30", WeeklyMoment(frozenset(range(5)), time(6, 30), None)),
    ],
)
def test_a_moment_of_the_week_is_parsed(text: str, moment: WeeklyMoment) -> None:
    """With a zone, or in that of the region."""
    assert WeeklyMoment.parse(text) == moment


@pytest.mark.parametrize(
    "text",
    ["", "daily", "00:00", "daily 24:00", "daily 25:00", "day 00:00", "sun 01:00 Nowhere/City", "sun 01:00 UTC later"],
)
def test_a_malformed_moment_is_refused(text: str) -> None:
    """The setting is then a problem with a hint."""
    with pytest.raises(ValueError, match=r".*"):
        WeeklyMoment.parse(text)
