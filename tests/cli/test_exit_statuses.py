"""The exit statuses of all commands."""

from __future__ import annotations

from ibkr_bridge.cli.exit_statuses import EXIT_STATUSES, exit_status_text
from tests.cli.command_runner import EXIT_FAILURE, EXIT_MISCONFIGURED, EXIT_OK, EXIT_OUTPUT_FAILED, ROOT


def test_each_status_has_a_meaning() -> None:
    """The tests of the commands expect no other."""
    assert set(EXIT_STATUSES) == {EXIT_OK, EXIT_FAILURE, EXIT_OUTPUT_FAILED, EXIT_MISCONFIGURED}
    assert all(text in exit_status_text() for text in EXIT_STATUSES.values())


def test_systemd_does_not_restart_after_unusable_settings() -> None:
    """The unit has the same number."""
    assert (
        f"RestartPreventExitStatus={EXIT_MISCONFIGURED}\n" in (ROOT / "deploy/systemd/ibkr-bridge.service").read_text()
    )
