"""The hints without a Gateway."""

from __future__ import annotations

import pytest

from ibkr_bridge.session.oauth_hints import OAUTH_HINTS
from ibkr_bridge.session.state_machine import Observation


@pytest.mark.parametrize("observation", Observation)
def test_no_hint_names_a_gateway(observation: Observation) -> None:
    """A person would look for a program that does not exist."""
    hint = OAUTH_HINTS.by_observation[observation]

    assert "Gateway" not in hint
    assert "IBeam" not in hint


def test_nobody_has_to_sign_in() -> None:
    """The bridge does it, so no page and no app asks a person for it."""
    assert not OAUTH_HINTS.needs_person


@pytest.mark.parametrize("observation", [Observation.SECRET_LOST, Observation.REVOKED])
def test_keys_are_kept_where_the_token_is_the_problem(observation: Observation) -> None:
    """New keys would wait for IBKR's nightly reset."""
    assert "keep the keys" in OAUTH_HINTS.by_observation[observation]


def test_a_key_that_is_not_active_must_not_be_changed() -> None:
    """Each change begins the time anew."""
    assert "change nothing" in OAUTH_HINTS.by_observation[Observation.ACTIVATING]
