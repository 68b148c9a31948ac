"""Send one call to the bridge and return its response or the error that it stands for.

It uses an adapter of requests (`http_adapter.py`) without a session. Such an adapter uses no proxy, no netrc and no
cookies, and follows no redirect. So no setting of the machine can redirect a call to loopback, and the key is sent to
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

CONNECT_TIMEOUT_S = 5.0  # loopback takes milliseconds
CHUNK_BYTES = 65536
MAX_IDLE_CONNECTIONS = 64
"""With more threads, urllib3 closes surplus connections after their call and logs a warning."""
MIN_TIMEOUT_S = 0.001  # to a socket, a timeout of 0 means "do not wait at all"


class Transport:
    """The address of the bridge, its key, and the idle connections. Threads may share it."""

    def __init__(self, url: str, key: str, clock: Callable[[], float]) -> None:
        self.url = url
        self._key = _KeyAuth(key)
        self._clock = clock
        self._shared = BridgeAdapter(url, clock, MAX_IDLE_CONNECTIONS)

    def close(self) -> None:
        """Close the idle connections."""
        self._shared.close()

    def attempt(self, call: BridgeCall, deadline: float) -> Reply | ClientError:
        """Send a call once. Returns a good response or an error.

        The error is returned, not raised here: otherwise its context would be the exception of requests, and that holds
        the key.

        Args:
            call: what to send.
            deadline: on the clock of this object.
        """
        try:
            outcome = self._send(call, deadline)
        except (requests.RequestException, urllib3.HTTPError) as exc:
            outcome = _no_response_error(exc, self.url)
        if isinstance(outcome, Reply):
            return error_of(outcome, datetime.now(UTC)) or outcome
        return _for_sender(call, outcome)

    def _send(self, call: BridgeCall, deadline: float) -> Reply | ClientError:
        remaining_s = max(deadline - self._clock(), MIN_TIMEOUT_S)
        with self._adapter_for(call) as adapter:
            timeouts = min(CONNECT_TIMEOUT_S, remaining_s), remaining_s
            response = adapter.send(self._build_request(call, deadline), stream=True, timeout=timeouts)
            try:
                return self._read_response(response)
            finally:
                response.close()

    def _build_request(self, call: BridgeCall, deadline: float) -> requests.PreparedRequest:
        request = requests.Request(call.method, self.url, headers=call.headers, data=call.body, auth=self._key)
        prepared = request.prepare()
        prepared.url = self.url + call.target  # urllib3 logs this one; `TARGET` below is sent
        prepared.headers.update({TARGET: call.target, DEADLINE: repr(deadline)})
        return prepared

    @contextmanager
    def _adapter_for(self, call: BridgeCall) -> Iterator[BridgeAdapter]:
        """Reads share idle connections; a change gets a new one.

        The bridge may be closing an idle connection at that moment. Then nobody could say whether the change was sent.
        """
        if not call.is_change:
            yield self._shared
            return
        adapter = BridgeAdapter(self.url, self._clock)
        try:
            yield adapter
        finally:
            adapter.close()

    def _read_response(self, response: requests.Response) -> Reply | ClientError:
        """Read the complete response of the bridge. If another program answered, its body is not read."""
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
    """Adds the key to a request. A closure holds it, so no `repr` and no local variable in a traceback shows it."""

    def __init__(self, key: str) -> None:
        def add_key(request: requests.PreparedRequest) -> None:
            request.headers["X-Bridge-Key"] = key

        self._add_key = add_key

    def __call__(self, r: requests.PreparedRequest) -> requests.PreparedRequest:
        self._add_key(r)
        return r


def _has_declared_length(response: requests.Response) -> bool:
    """Whether the response says where its body ends. The bridge always sends a length or chunks."""
    return bool(response.raw.chunked) or response.raw.length_remaining is not None


def _no_response_error(exc: BaseException, url: str) -> ClientError:
    cause = _root_cause(exc)
    if isinstance(cause, urllib3.NewConnectionError | urllib3.ConnectTimeoutError):
        return BridgeUnreachable(f"nothing answers at {url}")
    if isinstance(cause, urllib3.TimeoutError | TimeoutError):
        return BridgeTimeout(f"{url} does not answer in time")
    if isinstance(cause, http.client.BadStatusLine | http.client.UnknownProtocol):
        return _not_this_bridge_error(url)
    if isinstance(cause, TruncatedResponse) and not cause.is_http:
        return _not_this_bridge_error(url)
    return _connection_lost_error(url)


def _root_cause(exc: BaseException) -> BaseException:
    """The innermost exception, but a connection error or a timeout of urllib3 before that."""
    if isinstance(exc, urllib3.NewConnectionError | urllib3.TimeoutError):
        return exc
    inner = next((each for each in (getattr(exc, "reason", None), *exc.args) if isinstance(each, BaseException)), None)
    return exc if inner is None else _root_cause(inner)


def _connection_lost_error(url: str) -> BridgeConnectionLost:
    return BridgeConnectionLost(f"{url} closed the connection before its response was complete")


def _not_this_bridge_error(url: str) -> NotThisBridge:
    return NotThisBridge(f"the program that answers at {url} is not this bridge")


def _for_sender(call: BridgeCall, error: ClientError) -> ClientError:
    """The error with the id of its call. After a change, a missing response becomes `OrderUnknown`."""
    error.request_id = error.request_id or call.request_id
    if call.is_change and isinstance(error, NoResponse) and not isinstance(error, BridgeUnreachable):
        return OrderUnknown(f"{error.detail}; what was requested may have happened", request_id=error.request_id)
    return error
