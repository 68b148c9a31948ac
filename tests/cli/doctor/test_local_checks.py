"""Findings about this machine: settings, keys, program, state directory, service."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ibkr_bridge.cli.doctor.bridge_probe import BridgeAnswer
from ibkr_bridge.cli.doctor.local_facts import ProgramFacts, SourceFacts
from ibkr_bridge.cli.doctor.state_facts import StateFacts
from ibkr_bridge.cli.doctor.unit_probe import UnitState
from ibkr_bridge.config.env_reader import DEMO_KEY
from tests.cli.doctor.healthy import GIBIBYTE, RUNNING, broken, healthy, only_broken, settings

STATE = StateFacts("/var/lib/ibkr-bridge", True, free_bytes=GIBIBYTE)
SOURCES = SourceFacts("/opt/ibkr-bridge/.env", exists=True)


def test_settings_that_others_can_read_are_reported() -> None:
    """The file holds the key."""
    assert only_broken(healthy(sources=replace(SOURCES, is_readable_by_others=True)))[:2] == ("settings", "settings")


def test_a_key_file_that_others_can_read_is_reported() -> None:
    """By its path."""
    facts = healthy(sources=replace(SOURCES, open_secrets=("/etc/ibkr-bridge/credentials/IBKR_BRIDGE_KEY",)))

    assert "IBKR_BRIDGE_KEY can be read" in only_broken(facts)[2]


def test_a_line_that_systemd_reads_differently_is_reported() -> None:
    """The service has another value than this command."""
    facts = healthy(sources=replace(SOURCES, misread_lines=("line 3 is read differently by systemd",)))

    assert only_broken(facts) == ("settings", "lines", "line 3 is read differently by systemd")


def test_a_misspelt_name_is_reported_with_the_one_that_was_meant() -> None:
    """It sets nothing."""
    (finding,) = broken(healthy(sources=replace(SOURCES, near_misses=(("IBKR_COMPETES", "IBKR_COMPETE"),))))

    assert (finding.check, "did you mean IBKR_COMPETE?" in finding.fix) == ("names", True)


@pytest.mark.parametrize("key", [DEMO_KEY, "ab" * 20])
def test_a_key_that_can_be_guessed_is_reported(key: str) -> None:
    """Without the key."""
    layer, check, found = only_broken(healthy(settings=settings(IBKR_BRIDGE_KEY=key)))

    assert (layer, check) == ("settings", "key")
    assert key not in found


def test_the_key_of_the_demo_is_right_for_the_demo() -> None:
    """Nothing real is behind it."""
    facts = healthy(settings=settings(IBKR_BRIDGE_KEY=DEMO_KEY), sources=replace(SOURCES, is_of_demo=True))

    assert broken(facts) == []


def test_a_python_without_the_parser_in_c_is_reported() -> None:
    """A hostile request then costs many times more."""
    facts = healthy(program=ProgramFacts("3.11.7", "/usr/bin/python3", has_c_parser=False))

    assert only_broken(facts)[:2] == ("program", "parser")


@pytest.mark.parametrize(
    ("state", "check", "words"),
    [
        (None, "state", "does not answer"),
        (StateFacts(""), "state", "no state directory"),
        (replace(STATE, private_problem="it belongs to another user"), "state", "belongs to another user"),
        (replace(STATE, unwritable="/var/lib", free_bytes=None), "state", "/var/lib cannot be written"),
        (replace(STATE, file_problem="main.orders.db belongs to another user"), "files", "main.orders.db"),
        (replace(STATE, free_bytes=5 * 1024 * 1024), "disk", "5 MiB free"),
        (replace(STATE, has_journal=True, journal_flaw="entry 3: it was changed"), "orders", "entry 3"),
    ],
)
def test_a_state_directory_that_cannot_be_used_is_reported(state: StateFacts | None, check: str, words: str) -> None:
    """Each cause with its own check."""
    layer, name, found = only_broken(healthy(state=state))

    assert (layer, name) == ("state", check)
    assert words in found


def test_the_owner_in_the_advice_is_the_user_of_the_service() -> None:
    """Root reads it, and root's own name would be wrong."""
    state = replace(STATE, file_problem="main.orders.db belongs to another user")

    assert "chown -R ibkr-bridge" in broken(healthy(state=state))[0].fix
    assert "chown -R $USER" in broken(healthy(state=state, unit=None))[0].fix


@pytest.mark.parametrize(
    ("properties", "words"),
    [
        ({"ActiveState": "failed", "ExecMainStatus": "78"}, "78"),
        ({"ActiveState": "failed", "Result": "oom-kill"}, "oom-kill"),
        ({"ActiveState": "inactive", "SubState": "dead"}, "it is stopped"),
        ({"NeedDaemonReload": "yes"}, "have changed"),
    ],
)
def test_a_service_that_does_not_run_is_reported(properties: dict[str, str], words: str) -> None:
    """With what systemd says."""
    layer, check, found = only_broken(healthy(unit=UnitState({**RUNNING, **properties})))

    assert (layer, check) == ("service", "unit")
    assert words in found


def test_a_weaker_sandbox_is_reported() -> None:
    """A drop-in may have removed a protection."""
    facts = healthy(unit=UnitState({**RUNNING, "NoNewPrivileges": "no"}))

    assert only_broken(facts) == ("service", "sandbox", "NoNewPrivileges=no")


def test_another_program_on_the_port_is_reported() -> None:
    """Many programs use port 8000."""
    facts = healthy(bridge=BridgeAnswer(None, "not_this_bridge", "is not this bridge", "look at the address"))

    assert [(each.layer.value, each.check) for each in broken(facts)] == [("service", "port"), ("bridge", "bridge")]


def test_a_silent_program_on_the_port_of_a_stopped_service_is_reported() -> None:
    """It accepts connections. A service that runs and is slow is another problem."""
    silent = BridgeAnswer(None, "bridge_timeout", "no answer in time", "look at the log")
    stopped = UnitState({**RUNNING, "ActiveState": "inactive"}, {"ActiveState": "inactive"})

    assert [each.check for each in broken(healthy(bridge=silent, unit=stopped))] == ["port", "unit", "bridge"]
    assert [each.check for each in broken(healthy(bridge=silent))] == ["bridge"]
