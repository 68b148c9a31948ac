"""One call that waits for admission: what it is counted as before it is admitted."""

from __future__ import annotations

from ibkr_bridge.ibkr.catalogue import match
from ibkr_bridge.ibkr.endpoint import Priority
from ibkr_bridge.limits.queued_call import QueuedCall


def test_a_new_call_is_counted_nowhere_and_needs_a_slot() -> None:
    """The queue counts it when it is admitted. Two equal calls are two calls."""
    one, two = (QueuedCall(match("GET", ("portfolio", "accounts")), Priority.READS, "app") for _ in range(2))

    assert (one.needs_slot, one.holds_slot, one.window_entries, one.open_entries) == (True, False, 0, 0)
    assert (one.sent_at, one.is_given_up, one.is_cleared, one.windows) == (None, False, False, None)
    assert (one.is_displaced, one.has_reduced_share, one.overtaken) == (False, False, None)
    assert one.is_connected()
    assert one != two
