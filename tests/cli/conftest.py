"""One demo for all commands that need one: it takes a second to start, and each test begins with it in order."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.cli.command_runner import Demo, Place, demo


@pytest.fixture(scope="session")
def shared_place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """Where the shared demo runs."""
    return Place(tmp_path_factory.mktemp("demo"))


@pytest.fixture(scope="session")
def shared(shared_place: Place) -> Iterator[Demo]:
    """A demo started without any settings."""
    with demo(shared_place) as running:
        yield running


@pytest.fixture
def running(shared: Demo) -> Demo:
    """The demo, signed in and without faults, whatever the last test did."""
    shared.reset()
    return shared


@pytest.fixture
def place(shared_place: Place) -> Place:
    """A directory from which the shared demo can be found."""
    shared_place.write_dotenv("")
    return shared_place
