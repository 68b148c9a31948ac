"""Requests that schemathesis makes from the document: valid ones are accepted, invalid ones refused, and every answer
has the shape that the document promises.

It runs in an environment of its own, since it would slow the start of every other test; `make test-slow` makes it. The
bridge stands in front of the simulated Gateway and has no limits, so nothing leaves this machine.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.harness import KEY, Harness

PYTHON = Path(__file__).resolve().parents[3] / ".venv-schemathesis" / "bin" / "python"
CONFIG = Path(__file__).with_name("schemathesis.toml")
MAX_EXAMPLES = 10  # of each operation and phase
LEFT_OUT = (
    *("--exclude-tag", "Streams"),  # they do not end
    *("--exclude-tag", "IBKR's protocol"),
    *("--exclude-operation-id", "logOut"),  # after it every other request would be refused
)


async def run_schemathesis(harness: Harness, folder: Path, *options: str) -> tuple[int, str]:
    """Test a running bridge by its own document; return the exit status and the report.

    Args:
        folder: where it keeps what it notes.
        options: of its command.
    """
    process = await asyncio.create_subprocess_exec(
        *(
            str(PYTHON),
            "-m",
            "schemathesis.cli",
            "--config-file",
            str(CONFIG),
            "run",
            f"{harness.bridge.url}/openapi.json",
        ),
        *("--header", f"X-Bridge-Key: {KEY}", "--max-examples", str(MAX_EXAMPLES), "--seed", "1"),
        *("--phases", "examples,coverage,fuzzing", "--continue-on-failure", "--generation-database", "none"),
        *options,
        cwd=folder,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    return process.returncode or 0, output.decode()


@pytest.mark.slow
async def test_the_bridge_does_what_the_document_says(harness: Harness, tmp_path: Path) -> None:
    """Each failure is shown with the request that led to it."""
    assert PYTHON.exists(), "make .venv-schemathesis/.for-requests"
    status, report = await run_schemathesis(harness, tmp_path, *LEFT_OUT)

    assert status == 0, report
