"""`bridge.py alert-test`: a test reaches each service."""

from __future__ import annotations

from tests.cli.alert_receiver import receiving
from tests.cli.command_runner import EXIT_FAILURE, EXIT_MISCONFIGURED, EXIT_OK, Place


def test_each_service_gets_a_message(place: Place) -> None:
    """It needs no running bridge, and no key."""
    with receiving() as service:
        result = place.run("alert-test", IBKR_BRIDGE_ALERTS=service.address)
        message = service.next("this is a test")

    assert (result.returncode, result.stdout) == (EXIT_OK, "JSON: sent\n")
    assert message["type"] == "info"


def test_a_service_that_does_not_take_it_is_named_by_its_kind(place: Place) -> None:
    """Its address contains a token."""
    result = place.run("alert-test", IBKR_BRIDGE_ALERTS="json://127.0.0.1:9/secret-token")

    assert result.returncode == EXIT_FAILURE
    assert result.stdout.startswith("JSON: not taken")
    assert "secret-token" not in result.stdout + result.stderr


def test_without_services_it_fails(place: Place) -> None:
    """Somebody who tests expects a message."""
    assert place.run("alert-test").returncode == EXIT_FAILURE


def test_an_address_that_apprise_does_not_know_is_named_by_its_number(place: Place) -> None:
    """As are all problems of settings."""
    result = place.run("alert-test", IBKR_BRIDGE_ALERTS="nothing://secret-token")

    assert result.returncode == EXIT_MISCONFIGURED
    assert "entry 1 of IBKR_BRIDGE_ALERTS" in result.stderr
    assert "secret-token" not in result.stderr
