"""The image, as far as it can be judged without building it; `tests/system/containers.sh` builds and runs it."""

from __future__ import annotations

import re

from tests.deploy.conftest import ROOT

Instructions = list[tuple[str, str]]


def test_every_stage_stands_on_the_same_pinned_base(dockerfile: Instructions) -> None:
    """What is compiled for one Python must meet the same one; and "latest" is another one tomorrow."""
    bases = [rest.split()[0] for name, rest in dockerfile if name == "FROM"]

    assert dockerfile[0][0] == "ARG"
    assert re.fullmatch(r"BASE=python:3\.\d+-slim-\w+", dockerfile[0][1])
    assert bases == ["${BASE}", "${BASE}"]


def test_packages_are_installed_by_hash_and_never_compiled(dockerfile: Instructions) -> None:
    """The same ones as everywhere else."""
    installing = [rest for name, rest in dockerfile if name == "RUN" and "pip install" in rest]

    assert len(installing) == 1
    assert "--require-hashes -r requirements.txt" in installing[0]
    assert "--only-binary :all:" in installing[0]


def test_it_runs_as_nobody_of_the_machine(dockerfile: Instructions) -> None:
    """By number, so that what starts it can see that it is not root."""
    users = [rest for name, rest in dockerfile if name == "USER"]

    assert users == ["10001:10001"]


def test_its_health_is_its_own(dockerfile: Instructions) -> None:
    """A Gateway that is signed out does not make the bridge ill."""
    (check,) = [rest for name, rest in dockerfile if name == "HEALTHCHECK"]

    assert "/livez" in check


def test_only_what_runs_goes_into_the_image() -> None:
    """All is left out but these; so a key beside them cannot slip in."""
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if not line.startswith("#")]

    assert lines == ["*", "!bridge.py", "!ibkr_bridge", "!requirements.txt", "**/__pycache__"]
