"""The values of the history."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from ibkr_bridge.history.records import StateSpan


def test_a_record_cannot_be_changed() -> None:
    """The past stays as it was."""
    span = StateSpan("main", "ready", datetime(2026, 6, 17, tzinfo=UTC), datetime(2026, 6, 18, tzinfo=UTC))

    with pytest.raises(AttributeError):
        span.state = "silent"  # type: ignore[misc]
