"""The account that a caller selected with `POST /iserver/account`.

IBKR forgets the selection with the brokerage session, and then an order that names no account goes to another one. So
the keeper selects the account again after each opening, before it reports the session as ready.
"""

from __future__ import annotations

import json
import re
from enum import Enum
from http import HTTPStatus
from pathlib import Path

from ibkr_bridge.calls.context import CallContext
from ibkr_bridge.calls.header_policy import JSON_HEADERS, request_headers
from ibkr_bridge.calls.messages import Call, Response
from ibkr_bridge.events import Bus
from ibkr_bridge.ibkr.bodies import has_embedded_error, parse_object, session_phrases
from ibkr_bridge.ibkr.catalogue import SELECT_ACCOUNT, api_path
from ibkr_bridge.session.preflight import Accounts
from ibkr_bridge.state_file import load_json, save_json

MAX_NUMBER_LENGTH = 40  # IBKR's own numbers have 8 to 12 characters, names of groups up to 32
WRONG_ACCOUNT = re.compile(
    r"\baccounts?\b.*\b(not found|invalid|unknown|not exist|doesn.?t exist|not allowed|not permitted|denied)\b"
    r"|\b(invalid|unknown|no such) (account|acctid)\b",
    re.IGNORECASE | re.DOTALL,
)
"""IBKR's texts for an account that the login does not have."""
PATIENCE_S = 300.0
"""How long the selection is tried while IBKR fails. The session is not ready meanwhile, so it must end some time."""
PATIENCE_WITH_REFUSALS_S = 60.0
"""The same while IBKR answers with a status that blames the call, in words that are not known."""
PASSING_STATUSES = (401, 408, 425, 429)
"""Statuses below 500 that say nothing of the call itself."""


class Selection(Enum):
    """What IBKR did with the call that selects the account again."""

    DONE = "done"
    REFUSED = "refused"
    UNDECIDED = "undecided"  # it failed in a way that says nothing of the account


class SelectedAccount:
    """The selection, over restarts of the bridge.

    Args:
        path: the file; None if there is no state directory.
    """

    def __init__(self, path: Path | None, bus: Bus) -> None:
        self._path = path
        self._bus = bus
        self.number = ""
        self._undecided_since: float | None = None

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

    def on_response(self, response: Response | None, now: float) -> Selection:
        """Learn from the response to `call_to_select`; an account that IBKR refuses is forgotten.

        Args:
            now: monotonic seconds. What is undecided for too long counts as refused.
        """
        outcome = _selection_of(response)
        if outcome is not Selection.UNDECIDED:
            self._undecided_since = None
        elif self._undecided_since is None:
            self._undecided_since = now
        elif now - self._undecided_since >= _patience_s(response):
            outcome, self._undecided_since = Selection.REFUSED, None
        if outcome is Selection.REFUSED:
            self._set("")
        return outcome

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


def _selection_of(response: Response | None) -> Selection:
    """A failing server, a limit or a lost session says nothing of the account: it may still be selected later."""
    if response is None:
        return Selection.UNDECIDED
    if response.status == HTTPStatus.OK and not has_embedded_error(response.body):
        return Selection.DONE
    text = str(parse_object(response.body).get("error", ""))
    return Selection.REFUSED if WRONG_ACCOUNT.search(text) else Selection.UNDECIDED


def _patience_s(response: Response | None) -> float:
    blames_call = (
        response is not None
        and HTTPStatus.BAD_REQUEST <= response.status < HTTPStatus.INTERNAL_SERVER_ERROR
        and response.status not in PASSING_STATUSES
        and not session_phrases(response.status, response.body)
    )
    return PATIENCE_WITH_REFUSALS_S if blames_call else PATIENCE_S


def _number(value: object) -> str:
    return value if isinstance(value, str) and value.isprintable() and len(value) <= MAX_NUMBER_LENGTH else ""
