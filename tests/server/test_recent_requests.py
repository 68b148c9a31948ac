"""The last requests, for the page."""

from __future__ import annotations

from ibkr_bridge.events import ProbeServed, RequestServed
from ibkr_bridge.server.recent_requests import MAX_BODY_BYTES, MAX_REQUESTS, RecentRequests
from ibkr_bridge.server.request_target import read_target
from tests.clocks import ManualClock

NOTHING = (b"", b"")


def served(profile: str | None = "main", kind: type[RequestServed] = RequestServed) -> RequestServed:
    """The event of a request."""
    return kind("id", "full", "GET", "/accounts", 200, 1.0, "bridge", profile=profile)


def test_the_latest_are_remembered_each_with_a_number_of_its_own() -> None:
    """So a reader gets each once."""
    recent = RecentRequests(ManualClock())
    for _ in range(MAX_REQUESTS + 5):
        recent.add(served(), None, None, NOTHING)

    numbers = [each.number for each in recent.after(0, "main")]

    assert numbers == list(range(6, MAX_REQUESTS + 6))
    assert [each.number for each in recent.after(MAX_REQUESTS + 3, "main")] == [MAX_REQUESTS + 4, MAX_REQUESTS + 5]
    assert recent.find(5, "main") is None
    assert recent.find(6, "main") is not None


def test_a_profile_does_not_see_the_requests_of_another() -> None:
    """Those without a valid key belong to nobody, and everybody may see them."""
    recent = RecentRequests(ManualClock())
    for profile in ("main", "other", None):
        recent.add(served(profile), None, None, NOTHING)

    assert [each.served.profile for each in recent.after(0, "main")] == ["main", None]
    assert recent.find(2, "main") is None


def test_good_probes_are_left_out() -> None:
    """A monitor would push everything else out."""
    recent = RecentRequests(ManualClock())
    recent.add(served(kind=ProbeServed), None, None, NOTHING)

    assert recent.after(0, "main") == []


def test_bodies_are_held_in_a_demo_only_and_cut() -> None:
    """They have account numbers."""
    bodies = (b"a" * (MAX_BODY_BYTES + 1), b"b")
    for holds in (False, True):
        recent = RecentRequests(ManualClock(), holds_bodies=holds)
        recent.add(served(), None, None, bodies)
        held = recent.after(0, "main")[0].bodies
        assert held == ((b"a" * MAX_BODY_BYTES, b"b") if holds else None)


def test_only_the_names_of_parameters_are_shown() -> None:
    """Each once, also if it has no value."""
    recent = RecentRequests(ManualClock())
    recent.add(served(), read_target("/accounts?a=1&b=&a=2"), None, NOTHING)
    recent.add(served(), None, None, NOTHING)

    assert [each.parameters for each in recent.after(0, "main")] == [["a", "b"], []]
