"""The commands of docs/ibeam.md and docs/security.md that can be run or checked without Docker."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ibkr_bridge.config.settings import load_settings
from tests.deploy.conftest import ROOT

IBEAM = (ROOT / "docs" / "ibeam.md").read_text()
SECURITY = (ROOT / "docs" / "security.md").read_text()


def test_the_secrets_are_made_so_that_containers_can_read_them(tmp_path: Path) -> None:
    """A container has other user numbers. On the machine the directory keeps other users out."""
    block = re.findall(r"```sh\n(.*?)```", IBEAM, re.DOTALL)[0]
    commands = re.sub(r"^cat >", "echo typed >", block, flags=re.MULTILINE)
    commands = commands.replace(".venv/bin/python bridge.py", f"{sys.executable} {ROOT / 'bridge.py'}")
    (tmp_path / "deploy").mkdir()

    subprocess.run(f"umask 077\n{commands}", shell=True, cwd=tmp_path, check=True)  # noqa: S602  # as a person types them

    secrets = tmp_path / "deploy" / "secrets"
    assert secrets.stat().st_mode & 0o777 == 0o700
    assert {path.name: path.stat().st_mode & 0o777 for path in secrets.iterdir()} == {
        "ibeam_account": 0o444,
        "ibeam_password": 0o444,
        "ibkr_bridge_alerts": 0o444,
        "ibkr_bridge_key": 0o444,
    }
    assert load_settings({"IBKR_BRIDGE_KEY_FILE": str(secrets / "ibkr_bridge_key")}, None).key


def test_the_secrets_are_those_the_compose_file_reads(compose: Any) -> None:
    """No file is missing, and none is unused."""
    files = set(re.findall(r"> (deploy/secrets/\w+)", IBEAM))

    assert files == {f"deploy/{each['file'].removeprefix('./')}" for each in compose["secrets"].values()}


@pytest.mark.parametrize("command", re.findall(r"docker compose [^`\n#]*", IBEAM))
def test_every_compose_command_names_a_file_and_a_profile(command: str, services: dict[str, Any]) -> None:
    """Without a profile compose would start nothing."""
    words = re.match(r"docker compose -f (\S+) --profile (\S+) (?:up -d(?: --build)?|ps|stop)\s*$", command)

    assert words is not None
    assert (ROOT / words[1]).exists()
    assert words[2] in {profile for service in services.values() for profile in service["profiles"]}


def test_the_docs_have_the_name_of_the_container(services: dict[str, Any]) -> None:
    """In the command that shows its log."""
    assert re.findall(r"docker logs .* (\S+)  ", IBEAM) == [services["ibeam"]["container_name"]]


@pytest.mark.parametrize("text", [IBEAM, SECURITY], ids=["ibeam", "security"])
def test_every_link_leads_somewhere(text: str) -> None:
    """It names a file of the project."""
    links = [link for link in re.findall(r"\]\(([^)]+)\)", text) if "://" not in link]

    assert [link for link in links if not (ROOT / "docs" / link.partition("#")[0]).exists()] == []
