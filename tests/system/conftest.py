"""A booted Debian for the tests of the installed bridge, which `make test-system` runs."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.machine import ROOT, Machine


@pytest.fixture(scope="session")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the current content of all files under version control, as in a clone."""
    directory = tmp_path_factory.mktemp("checkout")
    listed = subprocess.run(("git", "-C", str(ROOT), "ls-files", "-z"), check=True, capture_output=True).stdout
    files = [name for name in listed.decode().split("\0") if name and (ROOT / name).is_file()]
    subprocess.run(("cp", "--parents", "-t", str(directory), *files), check=True, cwd=ROOT)
    return directory


@pytest.fixture(scope="module")
def machine(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A machine for each file of tests. Its tests run in their order, each on the state that the one before it left."""
    with Machine(tmp_path_factory.mktemp("machine"), checkout) as booted:
        yield booted
