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

from ibkr_bridge.client.content_encoding import decompress
from ibkr_bridge.client.errors import (
    BridgeConnectionLost,
    BridgeTimeout,
    BridgeUnreachable,
    ClientError,
    NoResponse,
    NotThisBridge,
    OrderUnknown,
)
from ibkr_bridge.client.http_adapter import DEADLINE, TARGET, BridgeAdapter, TruncatedResponse
from ibkr_bridge.client.reply import Reply
from ibkr_bridge.client.request import BridgeCall
from ibkr_bridge.client.responses import BRIDGE_MARK_HEADER, error_of

CONNECT_TIMEOUT_S = 5.0  # seconds; loopback takes milliseconds
CHUNK_BYTES = 65536  # bytes
MAX_KEPT_CONNECTIONS = 64
"""More threads than that have their connections closed after each call, with a warning in urllib3's log."""
MIN_TIMEOUT_S = 0.001  # seconds; sockets take a nought for "do not wait at all"


class Transport:
    """Where the bridge is, the key to it, and the connections that are kept. May be shared between threads."""

    def __init__(self, url: str, key: str, clock: Callable[[], float]) -> None:
        self.url = url
        self._key = _KeyAuth(key)
        self._clock = clock
        self._kept = BridgeAdapter(url, clock, MAX_KEPT_CONNECTIONS)

    def close(self) -> None:
        """Let go of the connections."""
        self._kept.close()

    def attempt(self, call: BridgeCall, until: float) -> Reply | ClientError:
        """One attempt: a good answer, or what became of it instead.

        An error is handed back, not raised: requests' own would hang behind it, and those hold the key.
        """
        try:
            answer = self._send(call, until)
        except (requests.RequestException, urllib3.HTTPError) as exc:
            answer = _no_response_error(exc, self.url)
        if isinstance(answer, Reply):
            return error_of(answer, datetime.now(UTC)) or answer
        return _for_sender(call, answer)

    def _send(self, call: BridgeCall, until: float) -> Reply | ClientError:
        left = max(until - self._clock(), MIN_TIMEOUT_S)
        with self._session_for(call) as connections:
            request, within = self._request(call, until), (min(CONNECT_TIMEOUT_S, left), left)
            response = connections.send(request, stream=True, timeout=within)
            try:
                return self._read_response(response)
            finally:
                response.close()

    def _request(self, call: BridgeCall, until: float) -> requests.PreparedRequest:
        request = requests.Request(call.method, self.url, headers=call.headers, data=call.body, auth=self._key)
        prepared = request.prepare()
        prepared.url = self.url + call.target  # what urllib3 logs; what goes out is what follows
        prepared.headers.update({TARGET: call.target, DEADLINE: repr(until)})
        return prepared

    @contextmanager
    def _session_for(self, call: BridgeCall) -> Iterator[BridgeAdapter]:
        """Reads share kept ones. A change has its own: a kept one may be closing, and who knows what went out on it."""
        if not call.changes:
            yield self._kept
            return
        own = BridgeAdapter(self.url, self._clock)
        try:
            yield own
        finally:
            own.close()

    def _read_response(self, response: requests.Response) -> Reply | ClientError:
        """The whole answer, where it is the bridge's; of a stranger's not one more byte is read."""
        if BRIDGE_MARK_HEADER not in response.headers:
            return _not_this_bridge_error(self.url)
        if not _has_declared_length(response):
            return _connection_lost_error(self.url)
        packed = b"".join(iter(lambda: response.raw.read1(CHUNK_BYTES, decode_content=False), b""))
        try:
            body = decompress(packed, response.headers.get("Content-Encoding", ""))
        except ValueError:
            return _connection_lost_error(self.url)
        return Reply(response.status_code, response.headers, body)


class _KeyAuth(AuthBase):
    """Puts the key on a request; neither its `repr` nor a traceback's variables show it."""

    def __init__(self, key: str) -> None:
        def put(request: requests.PreparedRequest) -> None:
            request.headers["X-Bridge-Key"] = key

        self._put = put

    def __call__(self, r: requests.PreparedRequest) -> requests.PreparedRequest:
        self._put(r)
        return r


def _has_declared_length(response: requests.Response) -> bool:
    """Whether half of the body could be told from all of it: the bridge always says a length, or sends pieces."""
    return bool(response.raw.chunked) or response.raw.length_remaining is not None


def _no_response_error(exc: BaseException, url: str) -> ClientError:
    cause = _root_cause(exc)
    if isinstance(cause, urllib3.NewConnectionError | urllib3.ConnectTimeoutError):
        return BridgeUnreachable(f"nothing answers at {url}")
    if isinstance(cause, urllib3.TimeoutError | TimeoutError):
        return _timeout_error(url)
    if isinstance(cause, http.client.BadStatusLine | http.client.UnknownProtocol):
        return _not_this_bridge_error(url)
    if isinstance(cause, TruncatedResponse) and not cause.is_http:
        return _not_this_bridge_error(url)
    return _connection_lost_error(url)


def _root_cause(exc: BaseException) -> BaseException:
    """What lies at the bottom of the wrappings: connection errors of urllib3, else the innermost."""
    if isinstance(exc, urllib3.NewConnectionError | urllib3.TimeoutError):
        return exc
    inner = next((each for each in (getattr(exc, "reason", None), *exc.args) if isinstance(each, BaseException)), None)
    return exc if inner is None else _root_cause(inner)


def _timeout_error(url: str) -> BridgeTimeout:
    return BridgeTimeout(f"{url} does not answer in time")


def _connection_lost_error(url: str) -> BridgeConnectionLost:
    return BridgeConnectionLost(f"{url} broke off before the whole answer was here")


def _not_this_bridge_error(url: str) -> NotThisBridge:
    return NotThisBridge(f"what answers at {url} is not this bridge")


def _for_sender(call: BridgeCall, error: ClientError) -> ClientError:
    """The error as the sender of this call has to hear it: under its id, and without false hope."""
    error.request_id = error.request_id or call.request_id
    if call.changes and isinstance(error, NoResponse) and not isinstance(error, BridgeUnreachable):
        return OrderUnknown(f"{error.detail}; what was asked for may have happened", request_id=error.request_id)
    return error
