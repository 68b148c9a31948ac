"""Services by Apprise (https://github.com/caronc/apprise): about a hundred, each named by one address.

Apprise is imported when alerts are configured, and by this program only.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from typing import Any

from ibkr_bridge.alerts.messages import Message


class AddressError(Exception):
    """An address that Apprise does not know. The message has its number, and not the address."""


class AppriseService:
    """One address."""

    def __init__(self, service: Any) -> None:
        self._service = service

    def __repr__(self) -> str:
        return f"<AppriseService {self.name}>"

    @property
    def name(self) -> str:
        """See `Service`."""
        return str(self._service.service_name)

    def send(self, message: Message) -> bool:
        """See `Service`. Apprise waits four seconds for a connection, and four for an answer."""
        try:
            return bool(self._service.notify(body=message.body, title=message.title, notify_type=message.kind))
        except Exception:  # whatever a plug-in raises, the other addresses get their messages
            return False


def open_services(addresses: Sequence[str]) -> list[AppriseService]:
    """One service for each address.

    Raises:
        AddressError: Apprise does not know an address.
    """
    logging.getLogger("apprise").setLevel(logging.CRITICAL)  # its lines contain addresses
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its plug-ins, which it loads here
        from apprise import Apprise

        services = [Apprise.instantiate(address, suppress_exceptions=True) for address in addresses]
    if None in services:
        number = services.index(None) + 1
        raise AddressError(f"entry {number} of IBKR_BRIDGE_ALERTS is no address that Apprise knows")
    return [AppriseService(each) for each in services]
