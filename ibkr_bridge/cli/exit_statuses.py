"""The exit statuses of all commands, in one table. `docs/command-line.md` has it too, and a test compares both."""

from __future__ import annotations

from collections.abc import Mapping

EXIT_OK = 0
EXIT_FAILURE = 1
EXIT_OUTPUT_FAILED = 74
"""EX_IOERR of sysexits.h. With a 1, a script would send an order again that IBKR had accepted."""
EXIT_MISCONFIGURED = 78
"""EX_CONFIG of sysexits.h; systemd does not restart the service after it."""
EXIT_STATUSES: Mapping[int, str] = {
    EXIT_OK: "good: it was done, or everything is well",
    EXIT_FAILURE: "bad: it was not done, something is wrong, or the command line cannot be read",
    EXIT_OUTPUT_FAILED: "only `call`: the output cannot be written; standard error says whether the call was answered",
    EXIT_MISCONFIGURED: "the settings cannot be used",
}


def exit_status_text() -> str:
    """The table as lines of help."""
    return "\n".join(("exit status:", *(f"  {status:<3} {text}" for status, text in EXIT_STATUSES.items())))
