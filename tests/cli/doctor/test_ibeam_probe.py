"""Asks IBeam on this machine how it is, and sends no call to IBKR by it without need."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from ibkr_bridge.cli.doctor.ibeam_probe import IBeamAnswer, probe_ibeam
from tests.cli.command_runner import free_port


@contextmanager
def ibeam(ready: int) -> Iterator[tuple[str, list[str]]]:
    """A server that answers as IBeam does. Yields its address and the paths that were requested."""
    paths: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            paths.append(self.path)
            self.send_response(ready if self.path == "/readyz" else 200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Write nothing."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", paths
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize("ready", [200, 503])
def test_both_pages_are_requested_if_a_call_does_no_harm(ready: int) -> None:
    """503 means that nobody is signed in."""
    with ibeam(ready) as (url, _):
        answer = probe_ibeam(may_call=True, live_url=f"{url}/livez", ready_url=f"{url}/readyz")

    assert answer == IBeamAnswer(200, ready)


def test_the_page_that_makes_a_call_is_left_alone_while_ibkr_is_silent() -> None:
    """IBeam would put one more call into the Gateway's slots."""
    with ibeam(200) as (url, paths):
        answer = probe_ibeam(may_call=False, live_url=f"{url}/livez", ready_url=f"{url}/readyz")

    assert (answer, paths) == (IBeamAnswer(200, None), ["/livez"])


def test_a_machine_without_ibeam_is_asked_once() -> None:
    """Nothing is wrong then."""
    url = f"http://127.0.0.1:{free_port()}"

    assert probe_ibeam(may_call=True, live_url=url, ready_url=url) == IBeamAnswer(0, None)
