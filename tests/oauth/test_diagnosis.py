"""Which part is wrong: each observation leads to one verdict."""

from __future__ import annotations

import itertools

import pytest

from ibkr_bridge.oauth.diagnosis import GOOD, Artefact, Facts, diagnose
from ibkr_bridge.oauth.refusals import Refusal

BAD_SIGNATURE = Refusal.INVALID_SIGNATURE


@pytest.mark.parametrize(
    ("facts", "artefact"),
    [
        (Facts(unreadable=Artefact.SIGNATURE_KEY), Artefact.SIGNATURE_KEY),
        (Facts(unreadable=Artefact.ENCRYPTION_KEY), Artefact.ENCRYPTION_KEY),
        (Facts(unreadable=Artefact.SECRET), Artefact.SECRET),
        (Facts(unreadable=Artefact.PARAMETERS), Artefact.PARAMETERS),
        (Facts(unreachable="nothing listens"), Artefact.URL),
        (Facts(skew_s=-121.0, refusal=Refusal.UNAUTHORIZED), Artefact.CLOCK),
        (Facts(refusal=Refusal.INACTIVE), Artefact.CONSUMER_KEY),
        (Facts(refusal=Refusal.SECRET_LOST), Artefact.ACCESS_TOKEN),
        (Facts(refusal=Refusal.MISMATCH), Artefact.PARAMETERS),
        (Facts(refusal=BAD_SIGNATURE, secret_bytes=241, secret_bytes_swapped=32), Artefact.SWAPPED_KEYS),
        (Facts(secret_bytes=0, secret_bytes_swapped=32), Artefact.SWAPPED_KEYS),
        (Facts(secret_bytes=0, secret_bytes_swapped=241), Artefact.ENCRYPTION_KEY),
        (Facts(refusal=BAD_SIGNATURE, probe_words="Invalid signature"), Artefact.SIGNATURE_KEY),
        (Facts(refusal=BAD_SIGNATURE, probe_words="not for you", secret_bytes=241), Artefact.ENCRYPTION_KEY),
        (Facts(refusal=BAD_SIGNATURE, probe_words="not for you"), Artefact.SECRET),
        (Facts(refusal=Refusal.UNAVAILABLE), None),
    ],
)
def test_each_observation_leads_to_one_part(facts: Facts, artefact: Artefact | None) -> None:
    """The rows stand in the order of certainty."""
    assert diagnose(facts).artefact is artefact


def test_nothing_is_wrong_with_a_good_credential() -> None:
    """A clock that differs by a minute is no reason to call it wrong."""
    assert diagnose(Facts(skew_s=60.0)) is GOOD


def test_every_verdict_says_what_to_do() -> None:
    """Whatever was observed."""
    for refusal, length in itertools.product((None, *Refusal), (32, 241)):
        verdict = diagnose(Facts(refusal=refusal, secret_bytes=length))
        assert verdict.text
        assert verdict.do
        assert (verdict is GOOD) is (refusal is None)
