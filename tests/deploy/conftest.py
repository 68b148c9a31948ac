"""The parsed files of `deploy/`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.deploy.yaml_reader import read_plain

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"


@pytest.fixture(scope="session")
def compose() -> Any:
    """The compose file."""
    return read_plain(DEPLOY / "ibeam-compose.yml")


@pytest.fixture(scope="session")
def services(compose: Any) -> dict[str, Any]:
    """The services of the compose file by name."""
    return dict(compose["services"])


@pytest.fixture(scope="session")
def conf() -> Any:
    """The settings of the Gateway."""
    return read_plain(DEPLOY / "inputs" / "conf.yaml")


@pytest.fixture(scope="session")
def dockerfile() -> list[tuple[str, str]]:
    """The instructions of the Dockerfile in order, with continuation lines joined."""
    text = (DEPLOY / "Dockerfile").read_text()
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    return [(name, " ".join(rest.split())) for name, _, rest in (line.partition(" ") for line in joined.splitlines())]
