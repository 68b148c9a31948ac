"""The client itself: its settings, the deadline of a call, and which calls are repeated.

It reads the same `.env` as the bridge and waits longer than the bridge does. It raises a typed error for every response
that is not a good one (`client/errors.py`). It repeats only calls that the catalogue lists as safe reads.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any, Self

from ibkr_bridge.client.errors import (
    BridgeConnectionLost,
    ClientError,
    NotThisBridge,
    TemporarilyUnavailable,
)
from ibkr_bridge.client.plain_methods import PlainMethods
from ibkr_bridge.client.reply import Reply
from ibkr_bridge.client.request import Params, build_call, check_seconds
from ibkr_bridge.client.transport import Transport
from ibkr_bridge.config.settings import ClientSettings, load_client_settings
from ibkr_bridge.config.sources import dotenv_path

GATEWAY_CONNECT_S = 5.0  # the bridge's limit for a connection to the Gateway: upstream/http/exchange.py
BODY_FACTOR = 4  # the bridge lets a body take so many times the timeout of its head: upstream/http/exchange.py
MARGIN_S = 5.0  # by which the client waits longer, so that the bridge can say what happened
DEFAULT_REPEATS = 2  # a failure that lasts for three attempts is not a short one


class BridgeClient(PlainMethods):
    """A client of one bridge. Threads may share it.

    Args:
        url: the address of the bridge; by default IBKR_BRIDGE_URL.
        key: the full or the read-only key; by default IBKR_BRIDGE_KEY, else IBKR_BRIDGE_READONLY_KEY.
        timeout: seconds for a call and its repeats. The default is longer than the bridge itself takes, except for
            large responses (docs/client.md). The `wait` of a call is added to it.
        repeats: how often a safe read is repeated; with 0 every error is raised at once.
        clock, sleep: replaced in tests.

    Raises:
        SettingsError: address or key are missing or wrong.
    """

    def __init__(
        self,
        url: str | None = None,
        key: str | None = None,
        *,
        timeout: float | None = None,
        repeats: int = DEFAULT_REPEATS,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        arguments = {"IBKR_BRIDGE_URL": url, "IBKR_BRIDGE_KEY": key}
        env = {**os.environ, **{name: value for name, value in arguments.items() if value is not None}}
        settings = load_client_settings(env, dotenv_path())
        self.url = str(settings.url)
        self._timeout = default_timeout(settings) if timeout is None else check_seconds(timeout, "timeout")
        self._repeats = repeats
        self._clock = clock
        self._sleep = sleep
        self._transport = Transport(self.url, settings.key, clock)

    def __repr__(self) -> str:
        return f"<BridgeClient {self.url}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the idle connections. The client can still be used."""
        self._transport.close()

    # -- calls

    def get(self, path: str, params: Params | None = None, **options: Any) -> Any:
        """Send a GET and return the parsed JSON. Options and errors are those of `request`."""
        return self.request("GET", path, params=params, **options).json()

    def post(self, path: str, body: object = None, **options: Any) -> Any:
        """POST a body as JSON and return the parsed JSON of the response."""
        return self.request("POST", path, body, **options).json()

    def put(self, path: str, body: object = None, **options: Any) -> Any:
        """PUT a body as JSON and return the parsed JSON of the response."""
        return self.request("PUT", path, body, **options).json()

    def delete(self, path: str, params: Params | None = None, **options: Any) -> Any:
        """Send a DELETE and return the parsed JSON of the response."""
        return self.request("DELETE", path, params=params, **options).json()

    def health(self) -> dict[str, Any]:
        """The body of `/health`: whether the bridge's process can serve. Also returned while it shuts down."""
        try:
            return self._get_object("/health")
        except TemporarilyUnavailable as exc:
            if exc.status is None:
                raise
            return _as_object(Reply(exc.status, exc.headers, exc.body))

    def status(self) -> dict[str, Any]:
        """The body of `/gateway/status`: everything the bridge knows of the session and itself."""
        return self._get_object("/gateway/status")

    def orders(self, state: str | None = None, limit: int | None = None) -> list[dict[str, Any]]:
        """The rows of `list_orders`, as plain dictionaries."""
        reply = self.request("GET", "/orders", params={"state": state, "limit": limit})
        rows = _as_object(reply).get("orders")
        return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []

    def authenticated(self) -> bool:
        """Whether a brokerage call would work now."""
        return self._get_object("/gateway/auth-status").get("authenticated") is True

    def _get_object(self, path: str) -> dict[str, Any]:
        return _as_object(self.request("GET", path))

    def request(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        params: Params | None = None,
        wait: float | None = None,
        request_id: str | None = None,
        idempotency_key: str | None = None,
    ) -> Reply:
        """Send one call and return the response as it came.

        Args:
            method: GET, HEAD, POST, PUT, PATCH or DELETE.
            path: a path of IBKR, with or without `/v1/api`, or of the bridge; it may have a query.
            body: bytes are sent unchanged, anything else as JSON; None means no body.
            params: added to the query. Lists are written with commas, as IBKR wants them; None is left out.
            wait: seconds for which the bridge may wait for the session or a slot, 60 at most (`X-Bridge-Wait`).
            request_id: the id of the call in the bridge's log; by default a new one.
            idempotency_key: makes an order call safe to send again: the same call with the same key gets the first
                response for 24 hours.

        Raises:
            ClientError: no good response came. The class says why; `retryable` says whether a repeat makes sense.
            ValueError: no request can be built from the arguments.
        """
        call = build_call(method, path, body, params, wait, request_id, idempotency_key)
        deadline = self._clock() + self._timeout + call.wait_s
        repeats = self._repeats if call.is_repeatable else 0
        while True:
            outcome = self._transport.attempt(call, deadline)
            if isinstance(outcome, Reply):
                return outcome
            delay = _retry_delay(outcome)
            if repeats <= 0 or delay is None or self._clock() + delay >= deadline:
                raise outcome
            repeats -= 1
            self._sleep(delay)


def default_timeout(settings: ClientSettings) -> float:
    """Seconds, a little more than the bridge takes for the slot, the connection, the head and a body it buffers."""
    return settings.max_wait_s + GATEWAY_CONNECT_S + settings.gateway_timeout_s * (1 + BODY_FACTOR) + MARGIN_S


def _as_object(reply: Reply) -> dict[str, Any]:
    parsed = reply.json()
    if not isinstance(parsed, dict):
        raise NotThisBridge(
            "the response is not one of this bridge",
            status=reply.status,
            headers=reply.headers,
            body=reply.body,
            request_id=reply.request_id,
        )
    return parsed


def _retry_delay(error: ClientError) -> float | None:
    """Seconds until a safe read is repeated; None if a repeat makes no sense."""
    if isinstance(error, BridgeConnectionLost):
        return 0.0
    return error.retry_after if error.retryable else None
