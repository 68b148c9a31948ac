"""The options of a profile for benchmarks and tests."""

from __future__ import annotations

from dataclasses import FrozenInstanceError

import pytest

from ibkr_bridge.cache.cached_reads import CachedReads
from ibkr_bridge.orders.reconciliation.schedule import ReconcileSchedule
from ibkr_bridge.profiles.options import ProfileOptions


def test_the_defaults_are_those_of_an_operator() -> None:
    """The limits of the upstream, a cache, and the usual schedule of reconciliation."""
    options = ProfileOptions()

    assert (options.limits, options.cached_reads, options.reconcile_schedule) == (
        None,
        CachedReads,
        ReconcileSchedule(),
    )


def test_options_cannot_be_changed() -> None:
    """Some parts of the profile would still have the old ones."""
    with pytest.raises(FrozenInstanceError):
        ProfileOptions().limits = None  # type: ignore[misc]
