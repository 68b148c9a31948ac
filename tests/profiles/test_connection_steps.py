"""How far a user is: the rules as a table."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import pytest

from ibkr_bridge.config.settings import RoadKind
from ibkr_bridge.profiles.connection_steps import REFUSALS, WAITING, ConnectionFacts, Step, session_advice, step_of
from ibkr_bridge.session.state_machine import REASONS, SessionState

MISSING = {"state": SessionState.CREDENTIAL_REFUSED, "reason": "credential_missing"}
READY = {"state": SessionState.READY, "reason": "ready"}
NOTHING = ConnectionFacts(
    road=RoadKind.OAUTH,
    stored=None,
    vault_problem=None,
    is_making_keys=False,
    key_problem=None,
    has_request_token=False,
    state=SessionState.CREDENTIAL_REFUSED,
    reason="credential_missing",
)


@pytest.mark.parametrize(
    ("facts", "step"),
    [
        ({}, Step.NOT_BEGUN),
        ({"is_making_keys": True}, Step.MAKING_KEYS),
        ({"key_problem": "no openssl"}, Step.REFUSED),
        ({"stored": "keys"}, Step.UPLOAD),
        ({"has_request_token": True}, Step.AUTHORIZE),
        ({"has_request_token": True, "stored": "oauth1a", **READY}, Step.AUTHORIZE),
        ({"stored": "oauth1a"}, Step.SIGNING_IN),  # the keeper has not looked yet
        ({"stored": "oauth1a", "key_problem": "no openssl", **READY}, Step.CONNECTED),
        ({"stored": "oauth1a", "state": SessionState.STARTING, "reason": "starting"}, Step.SIGNING_IN),
        ({"stored": "oauth1a", "state": SessionState.OPENING, "reason": "brokerage_lost"}, Step.SIGNING_IN),
        ({"stored": "oauth1a", "state": SessionState.COMPETING, "reason": "competing"}, Step.SIGNING_IN),
        ({"stored": "oauth1a", "state": SessionState.ACTIVATING, "reason": "activating"}, Step.ACTIVATING),
        ({"stored": "oauth1a", "reason": "revoked"}, Step.REFUSED),
        ({"stored": "oauth1a", "reason": "mismatch"}, Step.REFUSED),
        ({"stored": "oauth1a-third-party", **READY}, Step.CONNECTED),
        ({"stored": "oauth2", **READY}, Step.CONNECTED),
        ({"vault_problem": "vault_locked"}, Step.REFUSED),
        ({"road": RoadKind.GATEWAY, **READY}, Step.CONNECTED),
        ({"road": RoadKind.GATEWAY, "state": SessionState.SIGNED_OUT, "reason": "signed_out"}, Step.AUTHORIZE),
        ({"road": RoadKind.GATEWAY, "state": SessionState.SILENT, "reason": "gateway_timeout"}, Step.SIGNING_IN),
    ],
)
def test_each_situation_has_its_step(facts: dict[str, Any], step: Step) -> None:
    """The first rule that holds."""
    assert step_of(replace(NOTHING, **facts))[0] is step


def test_every_situation_has_words() -> None:
    """Each is a sentence, and none of them names the bridge or a command."""
    kinds = (None, "keys", "oauth1a")
    for road, stored, state, reason in itertools.product(RoadKind, kinds, SessionState, (*REASONS.values(), "x")):
        _, advice = step_of(replace(NOTHING, road=road, stored=stored, state=state, reason=reason))
        for text in (advice.message, advice.todo):
            assert text.endswith(".")
            assert "bridge" not in text.lower()


def test_the_operator_reads_why_keys_could_not_be_made() -> None:
    """The user cannot help."""
    _, advice = step_of(replace(NOTHING, key_problem="the program openssl is missing"))

    assert advice.todo == "Tell whoever runs this app: the program openssl is missing."


def test_the_tables_name_reasons_that_exist() -> None:
    """A reason that was renamed would lose its words."""
    known = {*REASONS.values(), "maintenance"}

    assert (REFUSALS.keys() | WAITING.keys()) - known == set()


def test_a_session_without_access_has_the_words_of_its_connection() -> None:
    """An app that shows only the session says the same."""
    missing = session_advice(SessionState.CREDENTIAL_REFUSED, "credential_missing")
    activating = session_advice(SessionState.ACTIVATING, "activating")

    assert missing == step_of(NOTHING)[1]
    assert activating is not None
    assert "at night" in activating.message
    assert session_advice(SessionState.UNREACHABLE, "gateway_forbidden") is None
    assert session_advice(SessionState.READY, "ready") is None
