"""What users of an app read about a failure."""

from __future__ import annotations

import pytest

from ibkr_bridge.errors import BridgeError, OrderUnknown, SessionUnavailable, error_classes
from ibkr_bridge.models.session import ActionKind
from ibkr_bridge.server.user_messages import ADVICE, advice_on

JARGON = ("bridge", "gateway", "ibkr", "header", "cOID", "HTTP", "session", "key")


def test_every_error_has_advice() -> None:
    """A new class without a row would fail when it is raised for the first time."""
    assert set(ADVICE) == set(error_classes())


@pytest.mark.parametrize("kind", ADVICE)
def test_a_user_need_not_know_our_words(kind: type[BridgeError]) -> None:
    """The sentences are for somebody who has never heard of the bridge."""
    text = ADVICE[kind].user_message

    assert text.endswith(".")
    assert [word for word in JARGON if word.lower() in text.lower()] == []


def test_a_user_is_sent_to_the_sign_in_only_if_that_helps() -> None:
    """While the session is reopened, signing in would be in vain."""
    error = SessionUnavailable("it is being opened")
    waiting = advice_on(error).kind
    error.needs_sign_in = True

    assert (waiting, advice_on(error).kind) == (ActionKind.WAIT, ActionKind.SIGN_IN)


def test_nobody_is_told_to_send_an_unknown_order_again() -> None:
    """It may exist."""
    assert advice_on(OrderUnknown("lost")).kind is ActionKind.WAIT
    assert "Do not send it again" in advice_on(OrderUnknown("lost")).user_message
