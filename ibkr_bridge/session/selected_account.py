"""The account that a caller selected with `POST /iserver/account`.

IBKR forgets the selection with the brokerage session, and then an order that names no account goes to another one. So
the keeper selects the account again after each opening, before it reports the session as ready.
"""

from __future__ import annotations

import json
from http import HTTPStatus
from pathlib import Path

from ibkr_bridge.calls.context import CallContext
from ibkr_bridge.calls.header_policy import JSON_HEADERS, request_headers
from ibkr_bridge.calls.messages import Call, Response
from ibkr_bridge.events import Bus
from ibkr_bridge.ibkr.bodies import has_embedded_error, parse_object
from ibkr_bridge.ibkr.catalogue import SELECT_ACCOUNT, api_path
from ibkr_bridge.session.preflight import Accounts
from ibkr_bridge.state_file import load_json, save_json

MAX_NUMBER_LENGTH = 40  # IBKR's own numbers have 8 to 12 characters, names of groups up to 32


class SelectedAccount:
    """The selection, over restarts of the bridge.

    Args:
        path: the file; None if there is no state directory.
    """

    def __init__(self, path: Path | None, bus: Bus) -> None:
        self._path = path
        self._bus = bus
        self.number = ""

    def __repr__(self) -> str:
        return f"<SelectedAccount {'set' if self.number else 'none'}>"

    def load(self) -> None:
        """Read the file of an earlier run; an unreadable file counts as "nothing selected"."""
        self.number = _number(load_json(self._path))

    def observe(self, context: CallContext, response: Response) -> None:
        """Learn from a response of IBKR which account is selected from now on."""
        endpoint = context.endpoint
        if (endpoint.method, endpoint.segments) != ("POST", SELECT_ACCOUNT) or response.status != HTTPStatus.OK:
            return
        number = _number(parse_object(context.call.body).get("acctId"))
        if number and not has_embedded_error(response.body):
            self._set(number)

    def forget(self) -> None:
        """IBKR refuses to select this account: it no longer belongs to the login."""
        self._set("")

    def call_to_select(self, accounts: Accounts) -> Call | None:
        """The call that selects the account again; None if nothing was selected, or IBKR still has the selection."""
        if not self.number or accounts.selected == self.number:
            return None
        body = json.dumps({"acctId": self.number}, separators=(",", ":")).encode()
        return Call("POST", api_path(SELECT_ACCOUNT), request_headers(JSON_HEADERS), body, is_change=True)

    def _set(self, number: str) -> None:
        self.number = number
        otherwise = "the account is not selected again after a restart"
        save_json(self._path, number or None, self._bus, "the file of the selected account", otherwise)


def _number(value: object) -> str:
    return value if isinstance(value, str) and value.isprintable() and len(value) <= MAX_NUMBER_LENGTH else ""
