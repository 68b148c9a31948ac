"""Requests over the control socket of a running bridge. Who may open the file may manage profiles: it needs no key."""

from __future__ import annotations

import http.client
import json
import socket
from pathlib import Path
from typing import Any

from ibkr_bridge.server.listener import CONTROL_SOCKET

TIMEOUT_S = 30.0  # a handshake with IBKR and the start of a profile are within it


class ControlFailed(Exception):
    """The bridge did not do it. The message is for a person."""


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: Path, timeout_s: float) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        """See `HTTPConnection.connect`."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def request(state_dir: Path | None, method: str, target: str, body: object = None, timeout_s: float = TIMEOUT_S) -> Any:
    """Send one request and return the parsed answer.

    Raises:
        ControlFailed: no bridge answers there, or it refused; the message says why and what to do.
    """
    if state_dir is None:
        raise ControlFailed("there is no state directory: set IBKR_BRIDGE_STATE_DIR")
    connection = _UnixConnection(state_dir / CONTROL_SOCKET, timeout_s)
    headers = {"Content-Type": "application/json"} if body is not None else {}
    try:
        connection.request(method, target, json.dumps(body) if body is not None else None, headers)
        response = connection.getresponse()
        status, content = response.status, response.read()
    except (OSError, http.client.HTTPException) as exc:
        raise ControlFailed(_no_answer(exc, state_dir)) from exc
    finally:
        connection.close()
    return _parse(status, content)


def _no_answer(error: Exception, state_dir: Path) -> str:
    if isinstance(error, FileNotFoundError | ConnectionRefusedError):
        return f"no bridge runs with the state directory {state_dir}: start it first"
    if isinstance(error, PermissionError):
        return f"{state_dir} belongs to another user: run this as the user of the bridge, or as root"
    return f"the bridge does not answer ({type(error).__name__})"


def _parse(status: int, content: bytes) -> Any:
    try:
        answer = json.loads(content)
    except (ValueError, RecursionError) as exc:
        raise ControlFailed(f"the bridge answered something that is not JSON (status {status})") from exc
    if status >= 400:
        detail, hint = (str(answer.get(name, "")) for name in ("detail", "hint"))
        raise ControlFailed(f"{detail}: {hint}" if hint else detail)
    return answer
