"""The variables of an app, as the TypeScript client reads them."""

from __future__ import annotations

from pathlib import Path

import pytest

from ibkr_bridge.cli.doctor.app_file import AppFacts, key_problem, read_app, url_problem
from ibkr_bridge.config.settings import Settings
from tests.cli.command_runner import Demo, free_port
from tests.cli.doctor.healthy import KEY, settings

READONLY_KEY = "a-key-that-only-reads-for-tests-0123456789"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The file of an app, for its owner alone."""
    path = tmp_path / ".env.production"
    path.touch(mode=0o600)
    return path


def read(file: Path, text: str, used: Settings | None = None) -> AppFacts:
    """What a file with a text says."""
    file.write_text(text)
    return read_app(file, used or settings(IBKR_BRIDGE_READONLY_KEY=READONLY_KEY))


def test_a_key_that_works_is_tried_on_the_bridge(file: Path, running: Demo) -> None:
    """The demo accepts it, and it is the full one."""
    used = Settings.from_env(running.env)

    facts = read(file, f"IBKR_BRIDGE_URL={running.url}\nIBKR_BRIDGE_KEY='{running.key}'\n", used)

    assert (facts.is_tried, facts.key_error, facts.may_trade) == (True, ("", ""), True)
    assert running.key not in repr(facts)


def test_a_wrong_key_is_refused(file: Path, running: Demo) -> None:
    """As the app would see it."""
    facts = read(file, f"IBKR_BRIDGE_URL={running.url}\nIBKR_BRIDGE_KEY={KEY[::-1]}\n")

    assert "does not accept" in facts.key_error[0]
    assert facts.may_trade is None


def test_a_bridge_that_is_down_is_no_wrong_key(file: Path) -> None:
    """The text says which."""
    facts = read(file, f"IBKR_BRIDGE_URL=http://127.0.0.1:{free_port()}\nIBKR_BRIDGE_KEY={READONLY_KEY}\n")

    assert "key" not in facts.key_error[0]
    assert facts.may_trade is False


def test_an_address_of_a_container_is_not_tried(file: Path) -> None:
    """It means something only where the app runs."""
    facts = read(file, f"IBKR_BRIDGE_URL=http://bridge:8000\nIBKR_BRIDGE_KEY={KEY}\n")

    assert (facts.url_problem, facts.is_tried) == ("", False)


@pytest.mark.parametrize(
    "line",
    [
        f"NEXT_PUBLIC_ANYTHING={KEY}",
        f"VITE_ANYTHING={KEY}",
        "NEXT_PUBLIC_IBKR_BRIDGE_KEY=another-key",
        "NEXT_PUBLIC_BRIDGE_API_KEY=another-key",
    ],
)
def test_a_key_in_a_public_variable_is_found(file: Path, line: str) -> None:
    """A build puts it into the pages, and every visitor reads it."""
    assert read(file, f"{line}\n").public_names == (line.partition("=")[0],)


@pytest.mark.parametrize("line", ["NEXT_PUBLIC_TITLE=Shop", "NEXT_PUBLIC_MAPS_KEY=x", "NEXT_PUBLIC_IBKR_BRIDGE_KEY="])
def test_other_public_variables_are_left_alone(file: Path, line: str) -> None:
    """They are meant for pages."""
    assert read(file, f"{line}\n").public_names == ()


@pytest.mark.parametrize(
    "url", ["", "http://127.0.0.1:8000/", "http://127.0.0.1:8000/api", "127.0.0.1:8000", "http://u:p@h:1"]
)
def test_an_address_that_the_client_refuses_is_named(url: str) -> None:
    """The same rules as in clients/typescript/src/settings.ts."""
    assert "IBKR_BRIDGE_URL" in url_problem(url)


@pytest.mark.parametrize("url", ["http://127.0.0.1:8000", "https://bridge.example", "http://[::1]:8000"])
def test_an_address_that_the_client_accepts_has_no_problem(url: str) -> None:
    """It need not be that of this machine."""
    assert url_problem(url) == ""


@pytest.mark.parametrize("key", ["", "REPLACE_WITH_REAL_KEY", "two words", "größe"])
def test_a_key_that_the_client_refuses_is_named(key: str) -> None:
    """By its variable, without the value."""
    assert "IBKR_BRIDGE_KEY" in key_problem(key)
    assert not key or key not in key_problem(key)


def test_a_missing_file_and_bytes_are_reported(file: Path) -> None:
    """Neither ends with a traceback."""
    assert read_app(file.parent / "none", settings()).error == "there is no such file"
    file.write_bytes(b"\xff\xfe")
    assert read_app(file, settings()).error == "it is not text"
    assert read_app(file.parent, settings()).error


def test_a_file_that_everybody_reads_is_seen(file: Path) -> None:
    """A group may be that of the app's server."""
    file.chmod(0o640)
    assert not read(file, "").is_readable_by_others
    file.chmod(0o644)
    assert read(file, "").is_readable_by_others
