"""A service that gets a bounded time for a message.

Apprise limits the wait for each piece of an answer. A server that sends one byte every few seconds would hold up the
program for hours: no look at the bridge, no message to another address.
"""

from __future__ import annotations

import threading
from concurrent.futures import Future

from ibkr_bridge.alerts.delivery import Service
from ibkr_bridge.alerts.messages import Message

SEND_TIMEOUT_S = 10.0  # a connection and an answer get four seconds each from Apprise


class BoundedService:
    """One address. A message that was not taken in time stays on its way, and is not sent a second time beside that.

    Args:
        service: the address.
        timeout_s: how long a new message is waited for.
    """

    def __init__(self, service: Service, timeout_s: float = SEND_TIMEOUT_S) -> None:
        self._service = service
        self._timeout_s = timeout_s
        self._under_way: tuple[Message, Future[bool]] | None = None

    def __repr__(self) -> str:
        return f"<BoundedService {self.name}>"

    @property
    def name(self) -> str:
        """See `Service`."""
        return self._service.name

    def send(self, message: Message) -> bool:
        """See `Service`. While an earlier attempt goes on, this only looks what became of it."""
        if self._under_way is not None:
            earlier, outcome = self._under_way
            if not outcome.done():
                return False
            self._under_way = None
            if earlier == message and outcome.result():
                return True
        return self._begin(message)

    def _begin(self, message: Message) -> bool:
        outcome: Future[bool] = Future()
        # A daemon thread, which the end of the program does not wait for.
        threading.Thread(target=self._run, args=(message, outcome), daemon=True).start()
        try:
            return outcome.result(self._timeout_s)
        except TimeoutError:
            self._under_way = message, outcome
            return False

    def _run(self, message: Message, outcome: Future[bool]) -> None:
        is_taken = False
        try:
            is_taken = self._service.send(message)
        finally:
            outcome.set_result(is_taken)
