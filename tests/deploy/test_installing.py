"""The checks of the installer: it says itself why a new version does not start."""

from __future__ import annotations

import runpy
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bench.processes import free_port

SCRIPT = Path(__file__).resolve().parents[2] / "deploy" / "installing.py"


@pytest.fixture
def installing() -> SimpleNamespace:
    """The functions of the script, which is no module."""
    return SimpleNamespace(**runpy.run_path(str(SCRIPT)))


@pytest.mark.parametrize(
    ("service", "words"),
    [
        ({"ActiveState": "failed", "Result": "exit-code", "ExecMainStatus": "78"}, "the settings cannot be used"),
        ({"ActiveState": "activating", "Result": "oom-kill", "ExecMainStatus": "9"}, "activating: oom-kill, status 9"),
        ({"ActiveState": "active", "ExecMainStatus": "0"}, "does not answer"),
        ({}, "The service is unknown"),
    ],
)
def test_the_reason_of_a_failed_start_is_one_sentence(
    installing: SimpleNamespace, service: dict[str, str], words: str
) -> None:
    """Else a person has to look for it in the journal."""
    assert words in installing.failure_of(service)


def with_globals(function: Any, **values: object) -> Any:
    """The function, with other values for names of its script."""
    function.__globals__.update(values)
    return function


def test_it_does_not_wait_for_a_service_that_systemd_has_given_up(
    installing: SimpleNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    """After 78 nothing is started again, so forty seconds would be lost."""
    failed = {"ActiveState": "failed", "Result": "exit-code", "ExecMainStatus": "78"}
    is_healthy = with_globals(installing.is_healthy, show_service=lambda: failed)

    assert not is_healthy(f"127.0.0.1:{free_port()}")
    assert "the settings cannot be used" in capsys.readouterr().err


def test_what_happened_at_the_address_is_printed(
    installing: SimpleNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nobody listens there, although the service runs."""
    is_healthy = with_globals(
        installing.is_healthy, HEALTH_TIMEOUT_S=0.1, show_service=lambda: {"ActiveState": "active"}
    )

    assert not is_healthy(f"127.0.0.1:{free_port()}")
    assert "refused" in capsys.readouterr().err


def test_a_bridge_that_answers_is_healthy(installing: SimpleNamespace) -> None:
    """The first good answer is enough."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Write nothing."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.handle_request)
    thread.start()
    is_healthy = with_globals(installing.is_healthy, show_service=dict)
    result = is_healthy(f"127.0.0.1:{server.server_port}")
    thread.join()
    server.server_close()

    assert result
