"""What a check has found, and the first broken layer."""

from __future__ import annotations

from ibkr_bridge.cli.doctor.finding import Finding, Layer, first_broken, in_order

WELL = Finding(Layer.APP, "app url", "http://127.0.0.1:8000")
EARLY = Finding(Layer.GATEWAY, "gateway", "it does not answer", fix="start it")
LATE = Finding(Layer.LOGIN, "signed_out", "nobody is signed in", "a login", "sign in")


def test_the_first_broken_layer_is_the_one_that_the_others_need() -> None:
    """Whatever the order in which the checks ran."""
    assert first_broken([LATE, WELL, EARLY]) is EARLY
    assert first_broken([WELL]) is None


def test_findings_of_one_layer_keep_their_order() -> None:
    """The table of checks decides it."""
    second = Finding(Layer.GATEWAY, "certificate", "another one")

    assert in_order([LATE, EARLY, second]) == [EARLY, second, LATE]


def test_json_has_the_layer_and_what_is_expected() -> None:
    """A program can act on it."""
    assert LATE.as_json() == {
        "layer": "login",
        "check": "signed_out",
        "found": "nobody is signed in",
        "expected": "a login",
        "fix": "sign in",
    }
