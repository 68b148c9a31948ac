"""Questions that IBKR was told never to ask: it forgets them with each brokerage session, so they are told again."""

from __future__ import annotations

import json
from pathlib import Path

from ibkr_bridge.calls.header_policy import upwards
from ibkr_bridge.calls.messages import Answer, Call
from ibkr_bridge.events import Bus
from ibkr_bridge.ibkr.bodies import as_object, hides_error
from ibkr_bridge.ibkr.catalogue import SUPPRESS, SUPPRESS_RESET, target
from ibkr_bridge.ibkr.endpoint import Endpoint
from ibkr_bridge.orders.response import MESSAGE_ID
from ibkr_bridge.state_file import keep

MOST = 51  # message ids IBKR takes in one call
JSON = (("Content-Type", "application/json"),)


class Suppressed:
    """The message ids a caller had suppressed last; IBKR's own list is always the latest one, not the sum.

    Args:
        path: where they are kept; None where there is no state directory.
    """

    def __init__(self, path: Path | None, bus: Bus) -> None:
        self._path = path
        self._bus = bus
        self.ids: tuple[str, ...] = ()

    def load(self) -> None:
        """Take up what an earlier run left; what cannot be read is as good as nothing: IBKR then asks."""
        if self._path is None:
            return
        try:
            self.ids = _names(json.loads(self._path.read_text("utf-8")))
        except (OSError, ValueError, RecursionError):
            return

    def notice(self, row: Endpoint, call: Call, answer: Answer) -> None:
        """A call was answered: remember what it suppressed, or that nothing is any more."""
        if row.segments not in (SUPPRESS, SUPPRESS_RESET) or answer.status != 200 or hides_error(answer.body):
            return
        self.ids = _names(as_object(call.body).get("messageIds")) if row.segments == SUPPRESS else ()
        otherwise = "suppressed questions are asked again after a restart"
        keep(self._path, list(self.ids) or None, self._bus, "the file of suppressed questions", otherwise)

    def call(self) -> Call | None:
        """What tells IBKR again; None where nothing is suppressed."""
        if not self.ids:
            return None
        body = json.dumps({"messageIds": list(self.ids)}, separators=(",", ":")).encode()
        return Call("POST", target(SUPPRESS), upwards(JSON), body, changes=True)


def _names(told: object) -> tuple[str, ...]:
    listed = told if isinstance(told, list) else []
    return tuple(each for each in listed if isinstance(each, str) and MESSAGE_ID.fullmatch(each))[:MOST]
