"""Requests over the control socket: what a person reads if they fail."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import pytest

from ibkr_bridge.cli.control_client import ControlFailed, request
from ibkr_bridge.server.listener import CONTROL_SOCKET


def answer_once(directory: Path, response: bytes) -> threading.Thread:
    """A program at the socket that gives one answer."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(directory / CONTROL_SOCKET))
    listener.listen(1)

    def serve() -> None:
        with listener, listener.accept()[0] as connection:
            connection.recv(65536)
            connection.sendall(response)

    thread = threading.Thread(target=serve)
    thread.start()
    return thread


def respond(status: str, body: bytes) -> bytes:
    """The bytes of a response."""
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


def test_an_answer_is_parsed(tmp_path: Path) -> None:
    """It is JSON."""
    thread = answer_once(tmp_path, respond("200 OK", b'{"profiles": []}'))

    assert request(tmp_path, "GET", "/profiles") == {"profiles": []}
    thread.join()


def test_a_refusal_says_why_and_what_to_do(tmp_path: Path) -> None:
    """The words are those of the bridge."""
    thread = answer_once(tmp_path, respond("404 Not Found", b'{"detail": "no such profile", "hint": "see the list"}'))

    with pytest.raises(ControlFailed, match="no such profile: see the list"):
        request(tmp_path, "POST", "/profiles/x/pause")
    thread.join()


@pytest.mark.parametrize("response", [b"", b"HTTP/1.1 200 OK\r\n\r\n<html>", respond("200 OK", b"[" * 10)])
def test_anything_else_is_told_in_words(tmp_path: Path, response: bytes) -> None:
    """Another program may listen there."""
    thread = answer_once(tmp_path, response)

    with pytest.raises(ControlFailed, match=r"the bridge (does not answer|answered something)"):
        request(tmp_path, "GET", "/profiles")
    thread.join()


def test_without_a_bridge_a_person_is_told_to_start_one(tmp_path: Path) -> None:
    """The message names the directory, since there may be several bridges."""
    with pytest.raises(ControlFailed, match=str(tmp_path)):
        request(tmp_path, "GET", "/profiles")
    with pytest.raises(ControlFailed, match="IBKR_BRIDGE_STATE_DIR"):
        request(None, "GET", "/profiles")
