"""The listening socket, from systemd or opened by the bridge."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from ibkr_bridge.server.listener import listening_socket, systemd_socket
from tests.harness import settings_for

OWN_PID = str(os.getpid())


@pytest.mark.parametrize("env", [{}, {"LISTEN_PID": "1", "LISTEN_FDS": "1"}])
def test_without_a_socket_for_this_process_there_is_none(env: dict[str, str]) -> None:
    """Variables for another process id are ignored."""
    assert systemd_socket(env) is None


@pytest.mark.parametrize("count", ["", "0", "2", "x"])
def test_exactly_one_socket_is_needed(count: str) -> None:
    """With two, the bridge could not tell which one to use."""
    with pytest.raises(OSError, match="ListenStream"):
        systemd_socket({"LISTEN_PID": OWN_PID, "LISTEN_FDS": count})


@pytest.mark.parametrize("kind", [socket.SOCK_DGRAM, socket.SOCK_STREAM])
def test_a_socket_that_does_not_listen_is_refused(monkeypatch: pytest.MonkeyPatch, kind: socket.SocketKind) -> None:
    """A unit may name the wrong kind of socket."""
    with socket.socket(socket.AF_INET, kind) as wrong:
        monkeypatch.setattr("ibkr_bridge.server.listener.FIRST_SYSTEMD_FD", os.dup(wrong.fileno()))

        with pytest.raises(OSError, match="listening TCP socket"):
            systemd_socket({"LISTEN_PID": OWN_PID, "LISTEN_FDS": "1"})


@pytest.mark.parametrize(
    ("url", "is_accepted"),
    [
        ("http://127.0.0.1:{}", True),
        ("http://localhost:{}", True),
        ("http://127.0.0.1:0", True),
        ("http://127.0.0.2:{}", False),
        ("http://[::1]:{}", False),
        ("http://127.0.0.1:1", False),
    ],
)
def test_a_socket_at_another_address_than_in_the_settings_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, url: str, is_accepted: bool
) -> None:
    """Otherwise the bridge would listen at an address that its user did not set."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        copy = os.dup(sock.fileno())
        monkeypatch.setattr("ibkr_bridge.server.listener.FIRST_SYSTEMD_FD", copy)
        settings = settings_for("https://127.0.0.1:5000", tmp_path, IBKR_BRIDGE_URL=url.format(sock.getsockname()[1]))
        env = {"LISTEN_PID": OWN_PID, "LISTEN_FDS": "1"}

        if is_accepted:
            listening_socket(settings, env)[0].close()
        else:
            with pytest.raises(OSError, match="say the same"):
                listening_socket(settings, env)
