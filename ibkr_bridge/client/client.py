"""A synchronous client of the bridge: for the command line, and for Python programs (docs/client.md).

It reads the same `.env` as the bridge, waits longer than the bridge does, turns every refusal into a typed error
(`client/errors.py`) and repeats nothing but safe reads. What a call may do, it knows from the catalogue.
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
from ibkr_bridge.client.reply import Reply
from ibkr_bridge.client.request import Params, build_call, check_seconds
from ibkr_bridge.client.transport import Transport
from ibkr_bridge.config.settings import ClientSettings, load_client_settings
from ibkr_bridge.config.sources import dotenv_path

GATEWAY_CONNECT_S = 5.0  # seconds the bridge gives a connection to the Gateway: upstream/gateway/exchange.py
BODY_FACTOR = 4  # likewise: a body may take so many times the deadline of its head
MARGIN_S = 5.0  # seconds by which we wait longer: the bridge, not we, says what happened
DEFAULT_REPEATS = 2  # three attempts tell a hiccup from trouble


class BridgeClient:
    """The bridge, as a Python program sees it. May be shared between threads.

    Args:
        url: where the bridge is; IBKR_BRIDGE_URL where left out.
        key: the full or the read-only key; IBKR_BRIDGE_KEY, else IBKR_BRIDGE_READONLY_KEY, where left out.
        timeout: seconds for a whole call, its repeats included. By default longer than the bridge itself takes, but
            for large answers (docs/client.md). A `wait` asked for is added to it.
        repeats: how often a safe read is asked again; 0 to be told everything at once.
        clock, sleep: how time passes, for tests.

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
        given = {"IBKR_BRIDGE_URL": url, "IBKR_BRIDGE_KEY": key}
        env = {**os.environ, **{name: value for name, value in given.items() if value is not None}}
        settings = load_client_settings(env, dotenv_path())
        self.url = str(settings.url)
        self._timeout = default_timeout(settings) if timeout is None else check_seconds(timeout, "timeout")
        self._repeats = repeats
        self._clock = clock
        self._sleep = sleep
        self._road = Transport(self.url, settings.key, clock)

    def __repr__(self) -> str:
        return f"<BridgeClient {self.url}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the connections that were kept."""
        self._road.close()

    # -- what is asked

    def get(self, path: str, params: Params | None = None, **how: Any) -> Any:
        """GET: the parsed JSON of the answer. `how`: see `request`, which says also what is raised."""
        return self.request("GET", path, params=params, **how).json()

    def post(self, path: str, body: object = None, **how: Any) -> Any:
        """POST a body, as JSON; the parsed JSON of the answer."""
        return self.request("POST", path, body, **how).json()

    def put(self, path: str, body: object = None, **how: Any) -> Any:
        """PUT a body, as JSON; the parsed JSON of the answer."""
        return self.request("PUT", path, body, **how).json()

    def delete(self, path: str, params: Params | None = None, **how: Any) -> Any:
        """DELETE: the parsed JSON of the answer."""
        return self.request("DELETE", path, params=params, **how).json()

    def health(self) -> dict[str, Any]:
        """Whether the bridge's process can serve, in its own words; while it ends, too."""
        try:
            return self._get_object("/health")
        except TemporarilyUnavailable as exc:
            if exc.status is None:
                raise
            return _as_object(Reply(exc.status, exc.headers, exc.body))

    def status(self) -> dict[str, Any]:
        """Everything the bridge knows of the session and itself."""
        return self._get_object("/gateway/status")

    def orders(self, state: str | None = None, limit: int | None = None) -> list[dict[str, Any]]:
        """The orders of the last day and all that are open, the latest first, as the bridge's journal knows them."""
        asked = {"state": state, "limit": limit}
        found = self.request(
            "GET", "/orders", params={name: value for name, value in asked.items() if value is not None}
        )
        listed = _as_object(found).get("orders")
        return [row for row in listed if isinstance(row, dict)] if isinstance(listed, list) else []

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
    ) -> Reply:
        """One call, and its answer as it came.

        Args:
            method: GET, HEAD, POST, PUT or DELETE.
            path: IBKR's own, with or without `/v1/api`, or one of the bridge's; it may have a query.
            body: bytes as they are, anything else as JSON; None for none.
            params: added to the query; lists with commas, as IBKR wants them; None is left out.
            wait: seconds the bridge may wait for the session or its turn, 60 at most (`X-Bridge-Wait`).
            request_id: under which the bridge's log shall know the call; one is made where left out.

        Raises:
            ClientError: no good answer came; the class says why, and whether it makes sense to ask again.
            ValueError: the call cannot be written down.
        """
        call = build_call(method, path, body, params, wait, request_id)
        until = self._clock() + self._timeout + call.wait
        repeats = self._repeats if call.repeatable else 0
        while True:
            outcome = self._road.attempt(call, until)
            if isinstance(outcome, Reply):
                return outcome
            pause = _retry_delay(outcome)
            if repeats <= 0 or pause is None or self._clock() + pause >= until:
                raise outcome
            repeats -= 1
            self._sleep(pause)


def default_timeout(settings: ClientSettings) -> float:
    """Seconds, a little more than the bridge takes: turn, connection, head, and a body it holds until it is whole."""
    return settings.max_wait_s + GATEWAY_CONNECT_S + settings.gateway_timeout_s * (1 + BODY_FACTOR) + MARGIN_S


def _as_object(reply: Reply) -> dict[str, Any]:
    parsed = reply.json()
    if not isinstance(parsed, dict):
        raise NotThisBridge(
            "the answer is none this bridge gives",
            status=reply.status,
            headers=reply.headers,
            body=reply.body,
            request_id=reply.request_id,
        )
    return parsed


def _retry_delay(error: ClientError) -> float | None:
    """Seconds after which a safe read is asked again; None where that makes no sense."""
    if isinstance(error, BridgeConnectionLost):
        return 0.0
    return error.retry_after if error.retryable else None
