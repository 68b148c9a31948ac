"""The road to the bridge: one attempt, on requests, and what became of it.

It uses an adapter of requests (`http_adapter.py`) without a session. Such an adapter knows no proxy, no netrc and no
cookie, and follows no redirect: no setting of the machine comes between a caller and loopback, and the key is sent to
the bridge only.
"""

from __future__ import annotations

import http.client
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import requests
from requests.auth import AuthBase
from urllib3 import exceptions as urllib3

from ibkr_bridge.client.content_encoding import unpacked
from ibkr_bridge.client.errors import (
    BridgeCutOff,
    BridgeSilent,
    BridgeUnreachable,
    ClientError,
    NoAnswer,
    NotThisBridge,
    OrderUnknown,
)
from ibkr_bridge.client.http_adapter import TARGET, UNTIL, Adapter, Unfinished
from ibkr_bridge.client.reply import Reply
from ibkr_bridge.client.request import Call
from ibkr_bridge.client.responses import OURS, refusal

CONNECT_WITHIN = 5.0  # seconds; loopback takes milliseconds
PIECE = 65536  # bytes
KEPT = 64  # connections; more threads than that have theirs closed after each call, with a warning in urllib3's log
SHORTEST = 0.001  # seconds; sockets take a nought for "do not wait at all"


class Road:
    """Where the bridge is, the key to it, and the connections that are kept. May be shared between threads."""

    def __init__(self, url: str, key: str, clock: Callable[[], float]) -> None:
        self.url = url
        self._key = _Key(key)
        self._clock = clock
        self._kept = Adapter(url, clock, KEPT)

    def close(self) -> None:
        """Let go of the connections."""
        self._kept.close()

    def attempt(self, call: Call, until: float) -> Reply | ClientError:
        """One attempt: a good answer, or what became of it instead.

        An error is handed back, not raised: requests' own would hang behind it, and those hold the key.
        """
        try:
            answer = self._sent(call, until)
        except (requests.RequestException, urllib3.HTTPError) as exc:
            answer = _no_answer(exc, self.url)
        if isinstance(answer, Reply):
            return refusal(answer, datetime.now(UTC)) or answer
        return _heard_by(call, answer)

    def _sent(self, call: Call, until: float) -> Reply | ClientError:
        left = max(until - self._clock(), SHORTEST)
        with self._connections(call) as connections:
            request, within = self._request(call, until), (min(CONNECT_WITHIN, left), left)
            answer = connections.send(request, stream=True, timeout=within)
            try:
                return self._read(answer)
            finally:
                answer.close()

    def _request(self, call: Call, until: float) -> requests.PreparedRequest:
        request = requests.Request(call.method, self.url, headers=call.headers, data=call.body, auth=self._key)
        prepared = request.prepare()
        prepared.url = self.url + call.target  # what urllib3 logs; what goes out is what follows
        prepared.headers.update({TARGET: call.target, UNTIL: repr(until)})
        return prepared

    @contextmanager
    def _connections(self, call: Call) -> Iterator[Adapter]:
        """Reads share kept ones. A change has its own: a kept one may be closing, and who knows what went out on it."""
        if not call.changes:
            yield self._kept
            return
        own = Adapter(self.url, self._clock)
        try:
            yield own
        finally:
            own.close()

    def _read(self, answer: requests.Response) -> Reply | ClientError:
        """The whole answer, where it is the bridge's; of a stranger's not one more byte is read."""
        if OURS not in answer.headers:
            return _stranger(self.url)
        if not _says_its_end(answer):
            return _cut_off(self.url)
        packed = b"".join(iter(lambda: answer.raw.read1(PIECE, decode_content=False), b""))
        try:
            body = unpacked(packed, answer.headers.get("Content-Encoding", ""))
        except ValueError:
            return _cut_off(self.url)
        return Reply(answer.status_code, answer.headers, body)


class _Key(AuthBase):
    """Puts the key on a request; neither its `repr` nor a traceback's variables show it."""

    def __init__(self, key: str) -> None:
        def put(request: requests.PreparedRequest) -> None:
            request.headers["X-Bridge-Key"] = key

        self._put = put

    def __call__(self, r: requests.PreparedRequest) -> requests.PreparedRequest:
        self._put(r)
        return r


def _says_its_end(answer: requests.Response) -> bool:
    """Whether half of the body could be told from all of it: the bridge always says a length, or sends pieces."""
    return bool(answer.raw.chunked) or answer.raw.length_remaining is not None


def _no_answer(exc: BaseException, url: str) -> ClientError:
    cause = _bottom(exc)
    if isinstance(cause, urllib3.NewConnectionError | urllib3.ConnectTimeoutError):
        return BridgeUnreachable(f"nothing answers at {url}")
    if isinstance(cause, urllib3.TimeoutError | TimeoutError):
        return _silent(url)
    if isinstance(cause, http.client.BadStatusLine | http.client.UnknownProtocol):
        return _stranger(url)
    if isinstance(cause, Unfinished) and not cause.is_http:
        return _stranger(url)
    return _cut_off(url)


def _bottom(exc: BaseException) -> BaseException:
    """What lies at the bottom of the wrappings: connection errors of urllib3, else the innermost."""
    if isinstance(exc, urllib3.NewConnectionError | urllib3.TimeoutError):
        return exc
    inner = next((each for each in (getattr(exc, "reason", None), *exc.args) if isinstance(each, BaseException)), None)
    return exc if inner is None else _bottom(inner)


def _silent(url: str) -> BridgeSilent:
    return BridgeSilent(f"{url} does not answer in time")


def _cut_off(url: str) -> BridgeCutOff:
    return BridgeCutOff(f"{url} broke off before the whole answer was here")


def _stranger(url: str) -> NotThisBridge:
    return NotThisBridge(f"what answers at {url} is not this bridge")


def _heard_by(call: Call, error: ClientError) -> ClientError:
    """The error as the sender of this call has to hear it: under its id, and without false hope."""
    error.request_id = error.request_id or call.request_id
    if call.changes and isinstance(error, NoAnswer) and not isinstance(error, BridgeUnreachable):
        return OrderUnknown(f"{error.detail}; what was asked for may have happened", request_id=error.request_id)
    return error
