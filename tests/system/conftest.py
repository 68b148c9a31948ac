"""A booted Debian with the bridge on it; `make test-system` runs what is here, or says why it cannot."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.machine import ROOT, Machine


@pytest.fixture(scope="session")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files under version control as they are now, as a clone would have them."""
    place = tmp_path_factory.mktemp("checkout")
    listed = subprocess.run(("git", "-C", str(ROOT), "ls-files", "-z"), check=True, capture_output=True).stdout
    files = [name for name in listed.decode().split("\0") if name and (ROOT / name).is_file()]
    subprocess.run(("cp", "--parents", "-t", str(place), *files), check=True, cwd=ROOT)
    return place


@pytest.fixture(scope="module")
def machine(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """One for each file of tests; these tell a story in their order."""
    with Machine(tmp_path_factory.mktemp("machine"), checkout) as booted:
        yield booted
