"""Sends the messages of the state, each to each address, with bounded retries."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Protocol

from ibkr_bridge.alerts.alert_state import AlertState, Outgoing
from ibkr_bridge.alerts.messages import Message

PAUSES_S = (5, 15, 45, 120, 300, 600, 900, 1800)  # after each failed attempt; then the message is given up


class Service(Protocol):
    """One address that takes messages."""

    @property
    def name(self) -> str:
        """What kind of service it is, without its address: that contains a token."""
        ...

    def send(self, message: Message) -> bool:
        """Send a message. Returns whether the service took it; it never raises."""
        ...


class Delivery:
    """Sends what is due.

    Args:
        services: one for each address, in their order.
        save: saves the state.
        report: gets a line for a person when a message was given up.
    """

    def __init__(
        self, services: Sequence[Service], save: Callable[[AlertState], None], report: Callable[[str], None]
    ) -> None:
        self._services = services
        self._save = save
        self._report = report

    def __repr__(self) -> str:
        return f"<Delivery to {', '.join(each.name for each in self._services)}>"

    def send_due(self, state: AlertState, now: datetime) -> None:
        """Send the messages that are due; the state is saved after each, so that a restart repeats none."""
        failed: set[int] = set()
        for outgoing in state.due(now):
            if outgoing.to in failed:
                continue  # after the one that failed, so that an address gets them in their order
            if self._is_settled(outgoing, now):
                state.outbox.remove(outgoing)
            else:
                failed.add(outgoing.to)
            self._save(state)

    def _is_settled(self, outgoing: Outgoing, now: datetime) -> bool:
        """Try to send a message. Returns whether it was taken or given up; else it is due again later."""
        if outgoing.to >= len(self._services):
            return True  # its address was removed
        service = self._services[outgoing.to]
        if service.send(outgoing.message):
            return True
        if outgoing.attempts >= len(PAUSES_S):
            attempts = outgoing.attempts + 1
            self._report(f"an alert was given up after {attempts} attempts ({service.name}): {outgoing.message.title}")
            return True
        if outgoing.attempts == 0:
            self._report(f"an alert was not taken ({service.name}), and is tried again")
        outgoing.not_before = now + timedelta(seconds=PAUSES_S[outgoing.attempts])
        outgoing.attempts += 1
        return False
