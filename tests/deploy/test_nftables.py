"""The firewall rules for the Gateway's port; `tests/system/firewall.sh` loads them and tries them."""

from __future__ import annotations

import re
from ipaddress import IPv4Network
from typing import Any

import pytest

from ibkr_bridge.config.settings import Settings
from tests.deploy.conftest import DEPLOY


@pytest.fixture
def rules() -> str:
    """The text of the rules."""
    return (DEPLOY / "nftables" / "ibkr-gateway.nft").read_text()


def definition_of(rules: str, name: str) -> str:
    """The value of a definition."""
    match = re.search(rf"^define {name} = (.*)$", rules, re.MULTILINE)
    assert match is not None
    return match[1]


def test_it_protects_the_port_that_the_bridge_uses(rules: str) -> None:
    """The default port of the Gateway."""
    settings = Settings.from_env({"IBKR_BRIDGE_KEY": "k" * 32})

    assert definition_of(rules, "gateway_port") == str(settings.gateway_url.port)


def test_it_protects_the_containers_too(rules: str, compose: Any) -> None:
    """The machine can reach them without a published port."""
    protected = IPv4Network(definition_of(rules, "containers"))
    networks = [each for each in compose["networks"].values() if "ipam" in each]

    assert all(IPv4Network(each["ipam"]["config"][0]["subnet"]).subnet_of(protected) for each in networks)


def test_it_names_the_user_of_the_service(rules: str) -> None:
    """The user has the name of the unit."""
    unit = next((DEPLOY / "systemd").glob("*.service"))

    assert definition_of(rules, "bridge_user") == f'"{unit.stem}"'
