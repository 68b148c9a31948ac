"""The compose file and the Gateway's settings: who can connect, and that both files agree."""

from __future__ import annotations

import re
import subprocess
from ipaddress import ip_address, ip_network
from typing import Any

import pytest

from ibkr_bridge.config.settings import Mode, Settings
from tests.deploy.conftest import DEPLOY, ROOT

IBEAMS = ("ibeam", "ibeam-inside")
PUBLISHED = {  # all published ports
    "ibeam": ["127.0.0.1:5000:5000", "127.0.0.1:5001:5001"],
    "ibeam-inside": [],
    "bridge": ["127.0.0.1:8000:8000"],
    "alerts": [],
}


def subnet(compose: Any, name: str) -> Any:
    """The address range of a network, and its gateway."""
    return compose["networks"][name]["ipam"]["config"][0]


def test_ports_are_published_on_loopback_only(services: dict[str, Any]) -> None:
    """With a bridge in a container, the Gateway is not published at all."""
    assert {name: service.get("ports", []) for name, service in services.items()} == PUBLISHED


def test_each_profile_has_one_ibeam_and_they_exclude_each_other(services: dict[str, Any]) -> None:
    """Two logins of one user would end each other's session. Two containers cannot have one name."""
    assert {name: service["profiles"] for name, service in services.items()} == {
        "ibeam": ["host"],
        "ibeam-inside": ["contained"],
        "bridge": ["contained"],
        "alerts": ["alerts"],
    }
    assert len({services[name]["container_name"] for name in IBEAMS}) == 1


@pytest.mark.parametrize("name", IBEAMS)
def test_ibeam_is_pinned_and_never_restarted(services: dict[str, Any], name: str) -> None:
    """A restart would reset its count of refused logins, and IBKR would lock the account."""
    assert re.fullmatch(r"voyz/ibeam:\d+\.\d+\.\d+", services[name]["image"])
    assert services[name]["restart"] == "no"


@pytest.mark.parametrize("name", IBEAMS)
def test_the_health_check_of_ibeam_is_readyz(services: dict[str, Any], name: str) -> None:
    """`/livez` is good even if nobody is signed in."""
    test = services[name]["healthcheck"]["test"]

    assert test[0] == "CMD"
    assert test[-1] == "http://127.0.0.1:5001/readyz"


@pytest.mark.parametrize("name", IBEAMS)
def test_secrets_come_from_files(compose: Any, name: str) -> None:
    """The compose file has their paths and not their contents."""
    environment = compose["services"][name]["environment"]
    paths = {environment[each] for each in ("IBEAM_ACCOUNT", "IBEAM_PASSWORD")}

    assert environment["IBEAM_SECRETS_SOURCE"] == "fs"
    assert paths == {f"/run/secrets/{secret}" for secret in compose["services"][name]["secrets"]}


def test_the_bridges_key_comes_from_a_file(services: dict[str, Any]) -> None:
    """The environment has the path of the file and not the key."""
    environment = services["bridge"]["environment"]

    assert environment["IBKR_BRIDGE_KEY_FILE"] == f"/run/secrets/{services['bridge']['secrets'][0]}"
    assert "IBKR_BRIDGE_KEY" not in environment


def test_the_files_with_secrets_are_never_committed(compose: Any) -> None:
    """Git ignores their directory."""
    files = [str(DEPLOY / secret["file"]) for secret in compose["secrets"].values()]

    ignored = subprocess.run(["git", "check-ignore", *files], cwd=ROOT, capture_output=True, text=True, check=True)

    assert ignored.stdout.split() == files


@pytest.mark.parametrize("name", PUBLISHED)
def test_each_container_has_limits(services: dict[str, Any], name: str) -> None:
    """Of memory and logs; and it has no capabilities."""
    service = services[name]

    assert service["mem_limit"] == service["memswap_limit"]
    assert service["logging"]["options"] == {"max-size": "10m", "max-file": "5"}
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]


@pytest.mark.parametrize("name", IBEAMS)
def test_the_gateways_heap_fits_its_container(services: dict[str, Any], name: str) -> None:
    """With room for the browser of the login."""
    heap = re.fullmatch(r"-Xmx(\d+)m", services[name]["environment"]["JAVA_TOOL_OPTIONS"])
    memory = re.fullmatch(r"(\d+)m", services[name]["mem_limit"])

    assert heap is not None
    assert memory is not None
    assert int(heap[1]) * 4 < int(memory[1])


def test_the_gateway_allows_the_addresses_of_the_compose_file(compose: Any, conf: Any) -> None:
    """IBeam itself; the host if the bridge runs on it; the bridge if it runs in a container, but then not the host."""
    bridge = compose["services"]["bridge"]["networks"]["inside"]["ipv4_address"]

    assert conf["ips"]["allow"] == ["127.0.0.1", subnet(compose, "host-side")["gateway"], bridge]
    assert subnet(compose, "inside")["gateway"] not in conf["ips"]["allow"]


def test_the_gateway_has_a_deny_list(conf: Any) -> None:
    """Without one it allows everybody."""
    assert conf["ips"]["deny"]


def test_every_fixed_address_is_in_its_network(compose: Any) -> None:
    """A typing error is found here, not by Docker."""
    for service in compose["services"].values():
        for name, options in service["networks"].items():
            if options:
                assert ip_address(options["ipv4_address"]) in ip_network(subnet(compose, name)["subnet"])


@pytest.mark.parametrize(
    ("origin", "is_allowed"),
    [
        ("https://localhost:5000", True),
        ("https://127.0.0.1:5000", True),
        ("https://evil.example", False),
        ("https://localhost:5000.evil.example", False),
        ("https://127a0b0c1:5000", False),
        ("http://localhost:3001", False),
        ("null", False),
    ],
)
def test_only_the_login_page_may_call_the_gateway(conf: Any, origin: str, is_allowed: bool) -> None:
    """The Gateway matches the whole header against this expression."""
    assert bool(re.fullmatch(conf["cors"]["origin.allowed"], origin)) is is_allowed


def settings_in_container(services: dict[str, Any], dockerfile: list[tuple[str, str]], **more: str) -> Settings:
    """The settings of the bridge in its container, with a key in place of the key file."""
    image = dict(pair.split("=", 1) for name, rest in dockerfile if name == "ENV" for pair in rest.split())
    environment = {
        name: re.sub(r"\$\{\w+:-(.*)\}", r"\1", each) for name, each in services["bridge"]["environment"].items()
    }
    del environment["IBKR_BRIDGE_KEY_FILE"]
    return Settings.from_env({**image, **environment, "IBKR_BRIDGE_KEY": "k" * 32, **more})


def test_the_settings_of_the_contained_bridge_are_valid(
    services: dict[str, Any], dockerfile: list[tuple[str, str]]
) -> None:
    """It listens inside its container, uses the Gateway's name there, and is in paper mode by default."""
    settings = settings_in_container(services, dockerfile)

    assert str(settings.url) == "http://0.0.0.0:8000"
    assert settings.gateway_url.host in services["ibeam-inside"]["networks"]["inside"]["aliases"]
    assert settings.trading_mode is Mode.PAPER
    assert settings.allowed_hosts == set(services) & {"bridge"}
    assert settings.gateway_fingerprint is not None


def test_the_contained_bridge_can_write_only_to_its_volume(
    compose: Any, services: dict[str, Any], dockerfile: list[tuple[str, str]]
) -> None:
    """The rest of its file system is read-only."""
    settings = settings_in_container(services, dockerfile)

    assert services["bridge"]["read_only"] == "true"
    assert services["bridge"]["volumes"] == [f"{next(iter(compose['volumes']))}:{settings.state_dir}"]
