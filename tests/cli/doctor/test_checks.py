"""The table of all checks."""

from __future__ import annotations

from ibkr_bridge.cli.doctor import app_checks, bridge_checks, gateway_checks, local_checks
from ibkr_bridge.cli.doctor.bridge_probe import BridgeAnswer
from ibkr_bridge.cli.doctor.checks import CHECKS, find_all
from ibkr_bridge.cli.doctor.finding import first_broken
from ibkr_bridge.cli.doctor.gateway_probe import GatewayAnswer
from tests.cli.doctor.healthy import broken, condition, healthy, status

MODULES = (app_checks, bridge_checks, gateway_checks, local_checks)


def test_every_check_is_in_the_table() -> None:
    """One that is not would never run."""
    written = {
        value
        for module in MODULES
        for name, value in vars(module).items()
        if callable(value) and not name.startswith("_") and getattr(value, "__module__", "") == module.__name__
    }

    assert written == set(CHECKS)


def test_all_is_well_with_the_healthy_facts() -> None:
    """So that each test of a check sees what it has broken and nothing else."""
    assert broken(healthy()) == []


def test_the_first_broken_layer_is_the_gateway_if_its_consequences_are_broken_too() -> None:
    """What the bridge says of the session follows from it."""
    answer = BridgeAnswer(status(state="unreachable", conditions=[condition("gateway_unreachable")]))
    facts = healthy(gateway=GatewayAnswer("Connection refused"), bridge=answer, exposed_addresses=("10.0.0.1",))

    first = first_broken(find_all(facts))

    assert first is not None
    assert (first.layer.value, first.check) == ("gateway", "gateway")
