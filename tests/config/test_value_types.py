"""How single texts become values: windows of the week, fingerprints, loopback names."""

from __future__ import annotations

from datetime import time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ibkr_bridge.config.value_types import Fingerprint, WeeklyWindow, is_loopback


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
def test_a_window_reads_as_it_is_written(text: str, days: set[int], start: time, end: time) -> None:
    """The same words as in IBKR's own announcements."""
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
def test_a_window_that_is_none_is_refused(text: str) -> None:
    """A zone of its own is refused too: windows are in the region's local time, and nothing could compare them."""
    with pytest.raises(ValueError):  # the words are the reader's own
        WeeklyWindow.parse(text)


@settings(deadline=None)
@given(st.one_of(st.text(), st.from_regex(r"(daily|[a-z]{3}) [0-9:.+-]{0,20}", fullmatch=True)))
@example("mon 01:00+01-02:00")
def test_no_text_crashes_the_window(text: str) -> None:
    """A window or a ValueError; and a window never ends before it starts, nor in a zone of its own."""
    try:
        window = WeeklyWindow.parse(text)
    except ValueError:
        return

    assert window.start < window.end
    assert window.start.tzinfo is window.end.tzinfo is None


@pytest.mark.parametrize("text", ["ab" * 32, "AB" * 32, ":".join(["aB"] * 32), f" {'ab' * 32} "])
def test_a_fingerprint_is_read_as_people_copy_it(text: str) -> None:
    """Openssl writes colons, browsers write none."""
    assert Fingerprint.parse(text) == b"\xab" * 32


@pytest.mark.parametrize("text", ["", "ab", "ab" * 20, "ab" * 33, "xy" * 32, "a" * 63])
def test_what_is_no_sha_256_is_refused(text: str) -> None:
    """A SHA-1 cut from the same page would pin nothing."""
    with pytest.raises(ValueError):  # the words are the reader's own
        Fingerprint.parse(text)


@pytest.mark.parametrize(
    ("host", "ours"),
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
def test_loopback_is_what_cannot_be_anything_else(host: str, ours: bool) -> None:
    """Names that only look like it could be pointed at us from outside."""
    assert is_loopback(host) is ours


@settings(deadline=None)
@given(st.text())
def test_no_text_crashes_the_loopback_question(host: str) -> None:
    """It is asked of every Host header."""
    assert is_loopback(host) in (True, False)
