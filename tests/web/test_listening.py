"""The socket callers come to."""

from __future__ import annotations

import os
import socket

import pytest

from ibkr_bridge.web.listening import handed_over

ME = str(os.getpid())


@pytest.mark.parametrize("env", [{}, {"LISTEN_PID": "1", "LISTEN_FDS": "1"}])
def test_without_a_socket_for_us_there_is_none(env: dict[str, str]) -> None:
    """A parent's variables that were left behind mean nothing."""
    assert handed_over(env) is None


@pytest.mark.parametrize("count", ["", "0", "2", "x"])
def test_one_socket_is_needed(count: str) -> None:
    """With two, nobody knows which is meant."""
    with pytest.raises(OSError, match="ListenStream"):
        handed_over({"LISTEN_PID": ME, "LISTEN_FDS": count})


@pytest.mark.parametrize("kind", [socket.SOCK_DGRAM, socket.SOCK_STREAM])
def test_what_does_not_listen_is_refused(monkeypatch: pytest.MonkeyPatch, kind: socket.SocketKind) -> None:
    """A unit that names the wrong kind of socket."""
    with socket.socket(socket.AF_INET, kind) as wrong:
        monkeypatch.setattr("ibkr_bridge.web.listening.FIRST_SOCKET", os.dup(wrong.fileno()))

        with pytest.raises(OSError, match="listening TCP socket"):
            handed_over({"LISTEN_PID": ME, "LISTEN_FDS": "1"})
