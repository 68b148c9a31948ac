"""What a caller of the bridge gets: a reply, or one of a small family of errors. Pure: status, headers and body in.

    ClientError
    ├── NoAnswer           no whole answer of this bridge came
    │   ├── BridgeUnreachable   nothing listens there; nothing was sent
    │   ├── BridgeSilent        it did not answer in time
    │   ├── BridgeCutOff        the connection ended before the whole answer was here
    │   └── NotThisBridge       something else answers there
    ├── BridgeSaidNo       the bridge itself refused; `code` says why (docs/errors.md)
    │   ├── NoEntry · Malformed · Refused · NotNow · Internal      as the bridge's own families
    │   └── GatewayTrouble
    │       └── OrderUnknown    what was asked for may have happened: never send it again
    └── IbkrSaidNo         IBKR's own answer, passed through unchanged
        └── NotJson             IBKR said yes, but in no JSON

A message never holds the key or an account number; a body may, so it is kept beside the message, not in it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any, ClassVar

from ibkr_bridge import errors
from ibkr_bridge.masking import Scrubber

OURS = "X-Bridge-Mode"  # a header of every answer of the bridge; port 8000 is popular
SOURCE, REQUEST_ID = "X-Bridge-Source", "X-Request-ID"
LONGEST_PAUSE = 1e9  # seconds; a longer one is nobody's plan, and JSON has no infinity
LONGEST_WORDS = 200  # characters of IBKR's own words in a message


@dataclass(frozen=True)
class Reply:
    """One whole answer, as it came."""

    status: int
    headers: Mapping[str, str]
    """Names count without their case."""
    body: bytes = field(repr=False)

    @property
    def text(self) -> str:
        """The body as text; what is not UTF-8 is marked, not fatal."""
        return self.body.decode("utf-8-sig", "replace")

    @property
    def request_id(self) -> str | None:
        """Under which the bridge's log knows the call."""
        return self.headers.get(REQUEST_ID)

    @property
    def source(self) -> str | None:
        """Who answered: `gateway` for IBKR, `bridge` for the bridge itself."""
        return self.headers.get(SOURCE)

    def json(self) -> Any:
        """The body, parsed; None where there is none.

        Raises:
            NotJson: it is something else.
        """
        if not self.body.strip():
            return None
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            pass  # told below: the parser's own error would bring the body into the traceback
        kind = self.headers.get("Content-Type", "no type")
        raise NotJson(f"the answer is no JSON ({kind})", reply=self, request_id=self.request_id)


class ClientError(Exception):
    """A call that brought nothing usable. The message is for people, `code` for programs.

    Args:
        detail: what happened, one sentence.
        code: the bridge's, where it said one.
        hint: what to do about it.
        request_id: under which the bridge's log knows the call.
        retry_after: seconds after which asking again makes sense; None where nobody said so.
        retryable: whether the same call, sent again later, may succeed and does no harm.
        reply: the answer, where one came.
    """

    code: str = "client_error"
    hint: str = ""
    harmless: ClassVar[bool] = False

    def __init__(
        self,
        detail: str,
        *,
        code: str | None = None,
        hint: str | None = None,
        request_id: str | None = None,
        retry_after: float | None = None,
        retryable: bool | None = None,
        reply: Reply | None = None,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.code = code or self.code
        self.hint = self.hint if hint is None else hint
        self.request_id = request_id
        self.retry_after = retry_after
        self.retryable = self.harmless if retryable is None else retryable
        self.reply = reply

    @property
    def status(self) -> int | None:
        """HTTP's number; None where no answer came."""
        return self.reply.status if self.reply else None

    @property
    def body(self) -> bytes:
        """The answer's body; empty where no answer came."""
        return self.reply.body if self.reply else b""

    def __str__(self) -> str:
        known = f" (request {self.request_id})" if self.request_id else ""
        return f"{self.code}: {self.detail}{f'; {self.hint}' if self.hint else ''}{known}"


class NoAnswer(ClientError):
    """No whole answer of this bridge came. Where a change had been sent, that is `OrderUnknown` instead."""


class BridgeUnreachable(NoAnswer):
    """No connection; nothing was sent."""

    code, harmless = "bridge_unreachable", True
    hint = "start the bridge (python bridge.py), or correct IBKR_BRIDGE_URL"


class BridgeSilent(NoAnswer):
    """It took the call and did not answer in time."""

    code, harmless = "bridge_silent", True
    hint = "look into its log; restart it if this lasts"


class BridgeCutOff(NoAnswer):
    """The connection ended before the whole answer was here, or the answer cannot be unpacked."""

    code, harmless = "bridge_cut_off", True
    hint = "look into the bridge's log; it may be restarting"


class NotThisBridge(NoAnswer):
    """Something else answers at the bridge's address."""

    code = "not_this_bridge"
    hint = "correct IBKR_BRIDGE_URL"


class BridgeSaidNo(ClientError):
    """The bridge itself refused, in its own words."""


class NoEntry(BridgeSaidNo):
    """Who or where the caller is: `bad_key`, `scope`, `foreign_host`, `foreign_origin`."""


class Malformed(BridgeSaidNo):
    """The call has to change: `bad_path`, `bad_request`, `not_bridged`, `method`, `too_large`, `uri_too_long`."""


class Refused(BridgeSaidNo):
    """The guard said no and nothing was sent; a person has to change a setting or lift a pause."""


class NotNow(BridgeSaidNo):
    """Nothing was sent; waiting may help: `paced`, `busy`, `session_down`, `maintenance`, `stopping`, `not_ready`."""


class GatewayTrouble(BridgeSaidNo):
    """The Gateway, or IBKR behind it, did not do its part."""


class OrderUnknown(GatewayTrouble):
    """What was asked for may have happened. Never send it again: look for it first."""

    code, hint = errors.OrderUnknown.code, errors.OrderUnknown.hint


class Internal(BridgeSaidNo):
    """The bridge's own bug; its log tells more under the request's id."""


class IbkrSaidNo(ClientError):
    """IBKR's own answer, unchanged, and it is no yes; `status` and `body` are IBKR's."""

    code = "ibkr_error"


class NotJson(IbkrSaidNo):
    """The status is a yes, but the body is no JSON; `request()` gives it as it is."""

    code = "not_json"
    hint = "take it as it is: request(…).body"


NAMES = {kind.__name__: kind for kind in (NoEntry, Malformed, Refused, NotNow, GatewayTrouble, Internal)}
KINDS: Mapping[str, type[BridgeSaidNo]] = {  # a new code of the bridge finds its family by itself
    **{leaf.code: NAMES[root.__name__] for root in errors.BridgeError.__subclasses__() for leaf in errors.family(root)},
    OrderUnknown.code: OrderUnknown,
}


def refusal(reply: Reply, now: datetime) -> ClientError | None:
    """What an answer of the bridge means where it is no yes; None where it is one.

    Args:
        now: for a `Retry-After` that names a time of day.
    """
    if 200 <= reply.status < 300:
        return None
    pause = read_pause(reply.headers.get("Retry-After"), now)
    return (_by_bridge if reply.source == "bridge" else _by_ibkr)(reply, pause)


def _by_bridge(reply: Reply, pause: float | None) -> ClientError:
    told = _object(reply)
    code = told.get("code")
    if not isinstance(code, str):
        return _without_code(reply, pause)
    return KINDS.get(code, BridgeSaidNo)(
        str(told.get("detail", "")),
        code=code,
        hint=str(told.get("hint", "")),
        request_id=reply.request_id or str(told.get("request_id", "")) or None,
        retry_after=pause,
        retryable=told.get("retryable") is True,
        reply=reply,
    )


def _without_code(reply: Reply, pause: float | None) -> ClientError:
    """What /health, /livez and /readyz say in their own words, and the answers to HEAD, which have none."""
    kind, code = (NotNow, "not_ready") if reply.status == 503 else (BridgeSaidNo, "refused")
    said = reply.text.strip() or f"the bridge answered {reply.status}"
    return kind(said, code=code, reply=reply, request_id=reply.request_id, retry_after=pause)


def _by_ibkr(reply: Reply, pause: float | None) -> ClientError:
    said = _object(reply).get("error")
    words = f": {Scrubber().scrub(said)[:LONGEST_WORDS]}" if isinstance(said, str) and said else ""
    return IbkrSaidNo(
        f"IBKR answered {reply.status}{words}",
        request_id=reply.request_id,
        retry_after=pause,
        retryable=pause is not None and reply.status in (429, 503),
        reply=reply,
    )


def _object(reply: Reply) -> dict[str, Any]:
    try:
        parsed = reply.json()
    except NotJson:
        return {}
    return parsed if isinstance(parsed, dict) else {}


def read_pause(given: str | None, now: datetime) -> float | None:
    """A `Retry-After`, seconds or a date, as seconds from now; None where there is none that can be read."""
    if given is None:
        return None
    text = given.strip()
    if text.isascii() and text.isdigit():
        return min(float(text), LONGEST_PAUSE)
    try:
        return max(0.0, (parsedate_to_datetime(text) - now).total_seconds())
    except (TypeError, ValueError, OverflowError):  # no date, or one without a zone
        return None
