"""Checks of the Dockerfile without building the image; `tests/system/containers.sh` builds and runs it."""

from __future__ import annotations

import re

from tests.deploy.conftest import ROOT

Instructions = list[tuple[str, str]]


def test_every_stage_has_the_same_pinned_base(dockerfile: Instructions) -> None:
    """Byte code needs the Python that made it, and "latest" changes."""
    bases = [rest.split()[0] for name, rest in dockerfile if name == "FROM"]

    assert dockerfile[0][0] == "ARG"
    assert re.fullmatch(r"BASE=python:3\.\d+-slim-\w+", dockerfile[0][1])
    assert bases == ["${BASE}", "${BASE}"]


def test_packages_are_installed_by_hash_and_never_compiled(dockerfile: Instructions) -> None:
    """The packages are the same as in every other installation."""
    commands = [rest for name, rest in dockerfile if name == "RUN" and "pip install" in rest]

    assert len(commands) == 1
    assert "--require-hashes -r requirements.txt" in commands[0]
    assert "--only-binary :all:" in commands[0]


def test_it_runs_as_an_unprivileged_user(dockerfile: Instructions) -> None:
    """By number, so that an orchestrator can see that it is not root."""
    users = [rest for name, rest in dockerfile if name == "USER"]

    assert users == ["10001:10001"]


def test_its_health_check_is_livez(dockerfile: Instructions) -> None:
    """A bridge whose Gateway is signed out is healthy."""
    (check,) = [rest for name, rest in dockerfile if name == "HEALTHCHECK"]

    assert "/livez" in check


def test_only_the_program_is_copied_into_the_image() -> None:
    """Everything else is ignored, so a file with a key cannot be copied by mistake."""
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if not line.startswith("#")]

    assert lines == ["*", "!bridge.py", "!ibkr_bridge", "!requirements.txt", "**/__pycache__"]
