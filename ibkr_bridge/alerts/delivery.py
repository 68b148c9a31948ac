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
            if not failed.isdisjoint(outgoing.to):
                continue  # after the one that failed, so that an address gets them in their order
            self._send(outgoing, now)
            failed.update(outgoing.to)
            if not outgoing.to:
                state.outbox.remove(outgoing)
            self._save(state)

    def _send(self, outgoing: Outgoing, now: datetime) -> None:
        present = [number for number in outgoing.to if number < len(self._services)]  # some may have been removed
        outgoing.to = [number for number in present if not self._services[number].send(outgoing.message)]
        if not outgoing.to:
            return
        names = ", ".join(self._services[number].name for number in outgoing.to)
        if outgoing.attempts >= len(PAUSES_S):
            self._report(
                f"an alert was given up after {outgoing.attempts + 1} attempts ({names}): {outgoing.message.title}"
            )
            outgoing.to = []
            return
        if outgoing.attempts == 0:
            self._report(f"an alert was not taken ({names}), and is tried again")
        outgoing.not_before = now + timedelta(seconds=PAUSES_S[outgoing.attempts])
        outgoing.attempts += 1
