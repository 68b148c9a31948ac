"""Runs commands in processes that are forked from one with all modules imported: a new Python takes 0.4 s of CPU time.

Each command is a process of its own, with its own working directory, environment and output, and it runs `bridge.py`
from the first line. What only a new Python reads (`PYTHON*`, the locale) comes from the environment of the server.
"""

from __future__ import annotations

import atexit
import importlib
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
IMPORTED_FIRST = (  # the module of each command
    *("backup", "call", "demo", "diag", "doctor", "genkey", "keys", "orders", "reload", "restore", "rotate_key"),
    *("serve", "sim", "status", "trigger"),
)
MAX_REQUEST_BYTES = 256 * 1024


class CommandServer:
    """A process that runs commands; started when the first one is run, ended with the tests."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None

    def run(self, words: Sequence[str], cwd: Path, env: Mapping[str, str], timeout_s: float) -> tuple[int, str, str]:
        """Run `bridge.py` with these words to its end. Returns its exit status, its output and its errors.

        Raises:
            TimeoutError: it did not end in time.
        """
        pipes = [os.pipe() for _ in range(3)]
        request = json.dumps({"words": list(words), "cwd": str(cwd), "env": dict(env)}).encode()
        with self._lock:
            socket.send_fds(self._connected(), [request], [written for _, written in pipes])
        for _, written in pipes:
            os.close(written)
        results = [b""] * len(pipes)
        readers = [threading.Thread(target=_read_all, args=(pipes[at][0], results, at)) for at in range(len(pipes))]
        for reader in readers:
            reader.start()
        for reader in readers:
            reader.join(timeout_s)
            if reader.is_alive():
                raise TimeoutError(f"the command {list(words)} did not end")
        output, errors, status = (result.decode() for result in results)
        return int(status), output, errors

    def _connected(self) -> socket.socket:
        if self._socket is None:
            self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, MAX_REQUEST_BYTES)
            env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
            command = [sys.executable, "-m", "tests.cli.command_server", str(theirs.fileno())]
            process = subprocess.Popen(command, env=env, pass_fds=(theirs.fileno(),), stdin=subprocess.DEVNULL)
            theirs.close()
            atexit.register(self._close, process)
        return self._socket

    def _close(self, process: subprocess.Popen[bytes]) -> None:
        if self._socket is not None:
            self._socket.close()
        process.wait(10)


def _read_all(descriptor: int, results: list[bytes], at: int) -> None:
    with open(descriptor, "rb") as file:
        results[at] = file.read()


def serve(connection: socket.socket) -> None:
    """Fork a process for each request, until the tests end."""
    for command in IMPORTED_FIRST:
        importlib.import_module(f"ibkr_bridge.cli.{command}")
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel removes the children; each reports its status itself
    while True:
        request, descriptors, _, _ = socket.recv_fds(connection, MAX_REQUEST_BYTES, 3)
        if not request:
            return
        if os.fork() == 0:
            connection.close()
            _run_and_report(json.loads(request), *descriptors)
        for descriptor in descriptors:
            os.close(descriptor)


def _run_and_report(request: dict[str, object], output: int, errors: int, report: int) -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    child = os.fork()
    if child == 0:
        os.close(report)
        _run(request, output, errors)
    os.close(output)
    os.close(errors)
    _, status = os.waitpid(child, 0)
    os.write(report, str(os.waitstatus_to_exitcode(status)).encode())
    os._exit(0)


def _run(request: dict[str, object], output: int, errors: int) -> None:
    """Become the command: never returns."""
    os.dup2(output, 1)
    os.dup2(errors, 2)
    os.close(output)
    os.close(errors)
    sys.stdout = os.fdopen(1, "w", closefd=False)
    sys.stderr = os.fdopen(2, "w", closefd=False, buffering=1, errors="backslashreplace")
    os.chdir(str(request["cwd"]))
    os.environ.clear()
    os.environ.update(request["env"])  # type: ignore[call-overload]  # it was a Mapping of texts
    sys.argv = [str(ROOT / "bridge.py"), *request["words"]]  # type: ignore[misc]  # and this a list of texts
    status: object = 1
    try:
        runpy.run_path(sys.argv[0], run_name="__main__")
    except SystemExit as exc:
        status = exc.code
    except BaseException:
        sys.excepthook(*sys.exc_info())
    sys.stdout.flush()
    os._exit(status if isinstance(status, int) else int(status is not None))


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
