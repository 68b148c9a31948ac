"""The rule set for the Gateway's port; `tests/system/firewall.sh` loads it and has users try it."""

from __future__ import annotations

import re
from ipaddress import IPv4Network
from typing import Any

import pytest

from ibkr_bridge.config.settings import Settings
from tests.deploy.conftest import DEPLOY


@pytest.fixture
def rules() -> str:
    """Its text."""
    return (DEPLOY / "nftables" / "ibkr-gateway.nft").read_text()


def defined(rules: str, name: str) -> str:
    """What a name stands for."""
    found = re.search(rf"^define {name} = (.*)$", rules, re.MULTILINE)
    assert found is not None
    return found[1]


def test_it_guards_the_port_the_bridge_calls(rules: str) -> None:
    """The Gateway's own, unless told otherwise."""
    settings = Settings.from_env({"IBKR_BRIDGE_KEY": "k" * 32})

    assert defined(rules, "gateway_port") == str(settings.gateway_url.port)


def test_it_guards_the_containers_too(rules: str, compose: Any) -> None:
    """The machine reaches them past any published port."""
    guarded = IPv4Network(defined(rules, "containers"))
    made = [told["ipam"]["config"][0]["subnet"] for told in compose["networks"].values() if "ipam" in told]

    assert all(IPv4Network(each).subnet_of(guarded) for each in made)


def test_it_names_the_services_user(rules: str) -> None:
    """systemd names a dynamic user after the unit."""
    unit = next((DEPLOY / "systemd").glob("*.service"))

    assert defined(rules, "bridge_user") == f'"{unit.stem}"'
