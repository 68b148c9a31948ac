"""Services by Apprise: a message reaches a real server, and nothing shows an address."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from ibkr_bridge.alerts.apprise_service import AddressError, open_services
from ibkr_bridge.alerts.messages import WARNING, Message

MESSAGE = Message(WARNING, "a title", "a body")


class Receiver(HTTPServer):
    """A service that takes messages as JSON."""

    def __init__(self) -> None:
        self.bodies: list[dict[str, str]] = []
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def address(self) -> str:
        """In the form of Apprise."""
        return f"json://127.0.0.1:{self.server_port}/secret-token"


class _Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        self.server.bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A running service."""
    with Receiver() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_a_message_reaches_the_service(receiver: Receiver) -> None:
    """With its title, its text and its kind."""
    (service,) = open_services([receiver.address])

    assert service.send(MESSAGE)
    assert (receiver.bodies[0]["title"], receiver.bodies[0]["message"]) == ("a title", "a body")
    assert receiver.bodies[0]["type"] == "warning"


def test_a_service_that_is_away_takes_nothing_and_raises_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    """Nothing on the screen or in the log has its address."""
    (service,) = open_services(["json://127.0.0.1:9/secret-token"])

    assert not service.send(MESSAGE)
    shown = capfd.readouterr()
    assert "secret-token" not in shown.out + shown.err + repr(service) + service.name


def test_an_address_that_apprise_does_not_know_is_named_by_its_number(receiver: Receiver) -> None:
    """It may contain a token."""
    with pytest.raises(AddressError, match="entry 2") as error:
        open_services([receiver.address, "nothing://secret-token"])

    assert "secret-token" not in str(error.value)
