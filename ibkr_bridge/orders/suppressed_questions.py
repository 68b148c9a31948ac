"""Questions that a caller has suppressed: IBKR drops the list with each brokerage session, so the bridge sends it
again.
"""

from __future__ import annotations

import json
from pathlib import Path

from ibkr_bridge.calls.context import CallContext
from ibkr_bridge.calls.header_policy import JSON_HEADERS, request_headers
from ibkr_bridge.calls.messages import Call, Response
from ibkr_bridge.events import Bus
from ibkr_bridge.ibkr.bodies import has_embedded_error, parse_object
from ibkr_bridge.ibkr.catalogue import SUPPRESS, SUPPRESS_RESET, api_path
from ibkr_bridge.orders.response import MESSAGE_ID
from ibkr_bridge.state_file import load_json, save_json

MAX_MESSAGE_IDS = 51  # message ids that IBKR accepts in one call


class SuppressedQuestions:
    """The message ids that a caller suppressed last; at IBKR too the latest list replaces the earlier ones.

    Args:
        path: the file; None if there is no state directory.
    """

    def __init__(self, path: Path | None, bus: Bus) -> None:
        self._path = path
        self._bus = bus
        self.ids: tuple[str, ...] = ()

    def load(self) -> None:
        """Read the file of an earlier run; an unreadable file counts as empty, and IBKR then asks."""
        self.ids = _message_ids(load_json(self._path))

    def observe(self, context: CallContext, response: Response) -> None:
        """Learn from a response which questions IBKR suppresses from now on."""
        endpoint = context.endpoint
        if (
            endpoint.segments not in (SUPPRESS, SUPPRESS_RESET)
            or response.status != 200
            or has_embedded_error(response.body)
        ):
            return
        self.ids = (
            _message_ids(parse_object(context.call.body).get("messageIds")) if endpoint.segments == SUPPRESS else ()
        )
        otherwise = "suppressed questions are asked again after a restart"
        save_json(self._path, list(self.ids) or None, self._bus, "the file of suppressed questions", otherwise)

    def resend_call(self) -> Call | None:
        """The call that sends the list to IBKR again; None if nothing is suppressed."""
        if not self.ids:
            return None
        body = json.dumps({"messageIds": list(self.ids)}, separators=(",", ":")).encode()
        return Call("POST", api_path(SUPPRESS), request_headers(JSON_HEADERS), body, is_change=True)


def _message_ids(parsed: object) -> tuple[str, ...]:
    values = parsed if isinstance(parsed, list) else []
    return tuple(each for each in values if isinstance(each, str) and MESSAGE_ID.fullmatch(each))[:MAX_MESSAGE_IDS]
