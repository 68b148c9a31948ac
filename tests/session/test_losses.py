"""How often the session was lost in the last hour."""

from __future__ import annotations

from ibkr_bridge.session.losses import HOUR_S, SessionLosses
from tests.clocks import ManualClock


def test_a_loss_is_a_change_from_ready_to_anything_else() -> None:
    """A session that was never ready is not lost, and a second reason is no second loss."""
    losses = SessionLosses(ManualClock().now)
    for ready in (False, True, True, False, False, True, False):
        losses.on_session_change(ready)

    assert losses.last_hour == 2


def test_losses_of_an_hour_ago_do_not_count() -> None:
    """Each counts for one hour."""
    clock = ManualClock()
    losses = SessionLosses(clock.now)
    for ready in (True, False):
        losses.on_session_change(ready)
    clock.advance(HOUR_S / 2)
    for ready in (True, False):
        losses.on_session_change(ready)
    before = losses.last_hour
    clock.advance(HOUR_S / 2 + 1)

    assert (before, losses.last_hour) == (2, 1)
