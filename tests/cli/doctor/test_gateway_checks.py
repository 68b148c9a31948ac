"""Findings about the Gateway's port, and about IBeam beside it."""

from __future__ import annotations

import pytest

from ibkr_bridge.cli.doctor.gateway_probe import GatewayAnswer
from ibkr_bridge.cli.doctor.ibeam_probe import IBeamAnswer
from tests.cli.doctor.healthy import broken, healthy, only_broken


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (None, "does not answer"),
        (GatewayAnswer("it does not answer", is_timeout=True), "does not answer"),
        (GatewayAnswer("it answers, but not with TLS", is_wrong_tls=True), "not with TLS"),
        (GatewayAnswer("Connection refused"), "Connection refused"),
        (GatewayAnswer(tls="TLSv1.2"), "sends no HTTP"),
    ],
)
def test_a_gateway_that_cannot_be_used_is_reported(answer: GatewayAnswer | None, words: str) -> None:
    """Each cause in its own words."""
    layer, check, found = only_broken(healthy(gateway=answer))

    assert (layer, check) == ("gateway", "gateway")
    assert words in found


def test_denied_access_is_reported() -> None:
    """Before any login."""
    facts = healthy(gateway=GatewayAnswer(tls="TLSv1.2", status=404, is_denied=True))

    assert only_broken(facts)[:2] == ("gateway", "access")


def test_a_refusal_of_this_host_says_nothing_of_pages() -> None:
    """It repeats the Origin of the request, whatever conf.yaml allows: a second finding would lead astray."""
    denied = GatewayAnswer(tls="TLSv1.2", status=404, is_denied=True, allowed_origin="https://page.invalid")

    assert only_broken(healthy(gateway=denied))[:2] == ("gateway", "access")


def test_a_certificate_that_the_settings_do_not_allow_is_reported() -> None:
    """The bridge refuses it too."""
    facts = healthy(gateway=GatewayAnswer(tls="x", fingerprint="ab", certificate_problem="another one", status=302))

    assert only_broken(facts) == ("gateway", "certificate", "another one")


@pytest.mark.parametrize(
    ("answer", "layer"),
    [(IBeamAnswer(500, None), "gateway"), (IBeamAnswer(200, 503), "login"), (IBeamAnswer(200, 0), "login")],
)
def test_an_ibeam_that_is_not_signed_in_is_reported(answer: IBeamAnswer, layer: str) -> None:
    """Its log says why."""
    assert only_broken(healthy(ibeam=answer))[:2] == (layer, "ibeam")


@pytest.mark.parametrize("answer", [None, IBeamAnswer(), IBeamAnswer(200, None)])
def test_an_ibeam_that_was_not_asked_is_no_problem(answer: IBeamAnswer | None) -> None:
    """It need not run, and may be left alone."""
    assert broken(healthy(ibeam=answer)) == []


def test_an_exposed_gateway_is_reported_below_what_stops_calls() -> None:
    """It stops nothing, so it must not hide what does."""
    facts = healthy(exposed_addresses=("10.1.2.3",))
    with_cors = GatewayAnswer(tls="TLSv1.2", status=302, allowed_origin="*")

    assert only_broken(facts)[:2] == ("exposure", "addresses")
    assert only_broken(healthy(gateway=with_cors))[:2] == ("exposure", "cors")
