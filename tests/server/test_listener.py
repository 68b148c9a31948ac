"""The socket callers come to."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from ibkr_bridge.server.listener import listening_socket, systemd_socket
from tests.harness import settings_for

ME = str(os.getpid())


@pytest.mark.parametrize("env", [{}, {"LISTEN_PID": "1", "LISTEN_FDS": "1"}])
def test_without_a_socket_for_us_there_is_none(env: dict[str, str]) -> None:
    """A parent's variables that were left behind mean nothing."""
    assert systemd_socket(env) is None


@pytest.mark.parametrize("count", ["", "0", "2", "x"])
def test_one_socket_is_needed(count: str) -> None:
    """With two, nobody knows which is meant."""
    with pytest.raises(OSError, match="ListenStream"):
        systemd_socket({"LISTEN_PID": ME, "LISTEN_FDS": count})


@pytest.mark.parametrize("kind", [socket.SOCK_DGRAM, socket.SOCK_STREAM])
def test_what_does_not_listen_is_refused(monkeypatch: pytest.MonkeyPatch, kind: socket.SocketKind) -> None:
    """A unit that names the wrong kind of socket."""
    with socket.socket(socket.AF_INET, kind) as wrong:
        monkeypatch.setattr("ibkr_bridge.server.listener.FIRST_SYSTEMD_FD", os.dup(wrong.fileno()))

        with pytest.raises(OSError, match="listening TCP socket"):
            systemd_socket({"LISTEN_PID": ME, "LISTEN_FDS": "1"})


@pytest.mark.parametrize(
    ("url", "taken"),
    [
        ("http://127.0.0.1:{}", True),
        ("http://localhost:{}", True),
        ("http://127.0.0.1:0", True),
        ("http://127.0.0.2:{}", False),
        ("http://[::1]:{}", False),
        ("http://127.0.0.1:1", False),
    ],
)
def test_a_socket_at_another_place_than_the_settings_say_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, url: str, taken: bool
) -> None:
    """Address and port: else the bridge would listen where nobody asks, or where somebody should not."""
    with socket.create_server(("127.0.0.1", 0)) as given:
        copy = os.dup(given.fileno())
        monkeypatch.setattr("ibkr_bridge.server.listener.FIRST_SYSTEMD_FD", copy)
        settings = settings_for("https://127.0.0.1:5000", tmp_path, IBKR_BRIDGE_URL=url.format(given.getsockname()[1]))
        env = {"LISTEN_PID": ME, "LISTEN_FDS": "1"}

        if taken:
            listening_socket(settings, env)[0].close()
        else:
            with pytest.raises(OSError, match="say the same"):
                listening_socket(settings, env)
