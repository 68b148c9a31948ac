"""What a bench or a test may choose of a profile."""

from __future__ import annotations

from dataclasses import FrozenInstanceError

import pytest

from ibkr_bridge.cache.cached_reads import CachedReads
from ibkr_bridge.orders.reconciliation.schedule import ReconcileSchedule
from ibkr_bridge.profiles.options import ProfileOptions


def test_nothing_chosen_is_what_an_operator_has() -> None:
    """The upstream's own limits, a cache, and a patient search for lost orders."""
    options = ProfileOptions()

    assert (options.limits, options.cached_reads, options.reconcile_schedule) == (
        None,
        CachedReads,
        ReconcileSchedule(),
    )


def test_options_are_not_changed_once_a_profile_is_built_of_them() -> None:
    """Half of its parts would have the old ones."""
    with pytest.raises(FrozenInstanceError):
        ProfileOptions().limits = None  # type: ignore[misc]
