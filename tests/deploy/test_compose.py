"""The compose file and the Gateway's configuration: who is let in, and what both say of each other."""

from __future__ import annotations

import re
import subprocess
from ipaddress import ip_address, ip_network
from typing import Any

import pytest

from ibkr_bridge.config.settings import Mode, Settings
from tests.deploy.conftest import DEPLOY, ROOT

IBEAMS = ("ibeam", "ibeam-inside")
PUBLISHED = {  # all there is, and where
    "ibeam": ["127.0.0.1:5000:5000", "127.0.0.1:5001:5001"],
    "ibeam-inside": [],
    "bridge": ["127.0.0.1:8000:8000"],
}


def subnet(compose: Any, name: str) -> Any:
    """The one range of a network, and its gateway."""
    return compose["networks"][name]["ipam"]["config"][0]


def test_nothing_is_published_but_on_loopback(services: dict[str, Any]) -> None:
    """And beside a contained bridge the Gateway is not published at all."""
    assert {name: service.get("ports", []) for name, service in services.items()} == PUBLISHED


def test_each_profile_has_one_ibeam_and_they_exclude_each_other(services: dict[str, Any]) -> None:
    """Two sign-ins of one user would end each other's session; one name cannot be taken twice."""
    assert {name: service["profiles"] for name, service in services.items()} == {
        "ibeam": ["host"],
        "ibeam-inside": ["contained"],
        "bridge": ["contained"],
    }
    assert len({services[name]["container_name"] for name in IBEAMS}) == 1


@pytest.mark.parametrize("name", IBEAMS)
def test_ibeam_is_pinned_and_never_tries_a_password_again_by_itself(services: dict[str, Any], name: str) -> None:
    """A container that is started again counts refused sign-ins from none, and IBKR locks the account."""
    assert re.fullmatch(r"voyz/ibeam:\d+\.\d+\.\d+", services[name]["image"])
    assert services[name]["restart"] == "no"


@pytest.mark.parametrize("name", IBEAMS)
def test_ibeam_is_asked_whether_it_is_ready(services: dict[str, Any], name: str) -> None:
    """Alive is not enough: it is while nobody is signed in."""
    test = services[name]["healthcheck"]["test"]

    assert test[0] == "CMD"
    assert test[-1] == "http://127.0.0.1:5001/readyz"


@pytest.mark.parametrize("name", IBEAMS)
def test_secrets_come_from_files(compose: Any, name: str) -> None:
    """The compose file names the files; what is in them stands nowhere else."""
    environment = compose["services"][name]["environment"]
    named = {environment[each] for each in ("IBEAM_ACCOUNT", "IBEAM_PASSWORD")}

    assert environment["IBEAM_SECRETS_SOURCE"] == "fs"
    assert named == {f"/run/secrets/{secret}" for secret in compose["services"][name]["secrets"]}


def test_the_bridges_key_comes_from_a_file(services: dict[str, Any]) -> None:
    """Likewise."""
    environment = services["bridge"]["environment"]

    assert environment["IBKR_BRIDGE_KEY_FILE"] == f"/run/secrets/{services['bridge']['secrets'][0]}"
    assert "IBKR_BRIDGE_KEY" not in environment


def test_the_files_with_secrets_are_never_committed(compose: Any) -> None:
    """Git looks past the directory they are in."""
    files = [str(DEPLOY / secret["file"]) for secret in compose["secrets"].values()]

    ignored = subprocess.run(["git", "check-ignore", *files], cwd=ROOT, capture_output=True, text=True, check=True)

    assert ignored.stdout.split() == files


@pytest.mark.parametrize("name", PUBLISHED)
def test_nobody_takes_all_of_the_machine(services: dict[str, Any], name: str) -> None:
    """Memory has an end, logs have one, and no right of root's is left."""
    service = services[name]

    assert service["mem_limit"] == service["memswap_limit"]
    assert service["logging"]["options"] == {"max-size": "10m", "max-file": "5"}
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]


@pytest.mark.parametrize("name", IBEAMS)
def test_the_gateways_heap_fits_its_container(services: dict[str, Any], name: str) -> None:
    """With room for the browser that signs in."""
    heap = re.fullmatch(r"-Xmx(\d+)m", services[name]["environment"]["JAVA_TOOL_OPTIONS"])
    memory = re.fullmatch(r"(\d+)m", services[name]["mem_limit"])

    assert heap is not None
    assert memory is not None
    assert int(heap[1]) * 4 < int(memory[1])


def test_the_gateway_lets_in_whom_the_compose_file_puts_before_it(compose: Any, conf: Any) -> None:
    """Itself, the host where the bridge runs on it, and the bridge where it runs beside it; but then not the host."""
    bridge = compose["services"]["bridge"]["networks"]["inside"]["ipv4_address"]

    assert conf["ips"]["allow"] == ["127.0.0.1", subnet(compose, "host-side")["gateway"], bridge]
    assert subnet(compose, "inside")["gateway"] not in conf["ips"]["allow"]


def test_the_gateway_has_a_list_of_the_denied(conf: Any) -> None:
    """Without one it lets everybody in."""
    assert conf["ips"]["deny"]


def test_every_fixed_address_lies_in_its_network(compose: Any) -> None:
    """A slip of a digit shows here, not when Docker is asked."""
    for service in compose["services"].values():
        for name, told in service["networks"].items():
            if told:
                assert ip_address(told["ipv4_address"]) in ip_network(subnet(compose, name)["subnet"])


@pytest.mark.parametrize(
    ("origin", "passes"),
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
def test_no_page_but_the_login_page_may_call_the_gateway(conf: Any, origin: str, passes: bool) -> None:
    """The Gateway matches the whole header against this expression."""
    assert bool(re.fullmatch(conf["cors"]["origin.allowed"], origin)) is passes


def contained(services: dict[str, Any], dockerfile: list[tuple[str, str]], **more: str) -> Settings:
    """The settings of the bridge in its container, its key read."""
    image = dict(pair.split("=", 1) for name, rest in dockerfile if name == "ENV" for pair in rest.split())
    told = {name: re.sub(r"\$\{\w+:-(.*)\}", r"\1", each) for name, each in services["bridge"]["environment"].items()}
    del told["IBKR_BRIDGE_KEY_FILE"]
    return Settings.from_env({**image, **told, "IBKR_BRIDGE_KEY": "k" * 32, **more})


def test_the_contained_bridge_understands_what_it_is_told(
    services: dict[str, Any], dockerfile: list[tuple[str, str]]
) -> None:
    """It may be reached inside its container alone, finds the Gateway by its name there, and begins on paper."""
    settings = contained(services, dockerfile)

    assert str(settings.url) == "http://0.0.0.0:8000"
    assert settings.gateway_url.host in services["ibeam-inside"]["networks"]["inside"]["aliases"]
    assert settings.trading_mode is Mode.PAPER
    assert settings.allowed_hosts == set(services) & {"bridge"}
    assert settings.gateway_fingerprint is not None


def test_the_contained_bridge_writes_to_its_volume_alone(
    compose: Any, services: dict[str, Any], dockerfile: list[tuple[str, str]]
) -> None:
    """The rest of its file system cannot be written."""
    settings = contained(services, dockerfile)

    assert services["bridge"]["read_only"] == "true"
    assert services["bridge"]["volumes"] == [f"{next(iter(compose['volumes']))}:{settings.state_dir}"]
