"""Controls the simulator from another process, through a Unix socket that only its owner can open.

`POST /faults` adds a fault. `GET /faults` shows the active faults and all kinds. `DELETE /faults` ends all faults, or
with `?kind=` those of one kind. `POST /login` signs in as after the login pages. None of this exists on the Gateway's
own port.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from ibkr_bridge.sim.faults import KINDS, UnknownFaultError
from ibkr_bridge.sim.simulator import Simulator


class ControlError(Exception):
    """The simulator refused the request, or is not running. The message gives the reason, for people."""


class Control:
    """Listens for another process at `path`. The folder of `path` should be private as well."""

    def __init__(self, simulator: Simulator, path: Path) -> None:
        self._simulator = simulator
        self._path = path
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Listen; the socket file of a process that has died is replaced."""
        self._path.unlink(missing_ok=True)
        app = web.Application()
        app.router.add_get("/faults", self._list)
        app.router.add_post("/faults", self._add)
        app.router.add_delete("/faults", self._clear)
        app.router.add_post("/login", self._login)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.01)
        await self._runner.setup()
        await web.UnixSite(self._runner, self._path).start()
        self._path.chmod(0o600)

    async def stop(self) -> None:
        """Stop listening and remove the socket file."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None
        self._path.unlink(missing_ok=True)

    async def _list(self, request: web.Request) -> web.Response:
        return self._state()

    async def _add(self, request: web.Request) -> web.Response:
        options = await _read_object(request)
        if "kind" not in options:
            return _refuse(f"the member `kind` is missing; known are: {', '.join(sorted(KINDS))}")
        try:
            self._simulator.faults.add(str(options.pop("kind")), **options)
        except (UnknownFaultError, TypeError, ValueError) as problem:
            return _refuse(str(problem))
        return self._state()

    async def _clear(self, request: web.Request) -> web.Response:
        kind = request.query.get("kind")
        if kind is not None and kind not in KINDS:
            return _refuse(f"no fault is called {kind!r}; known are: {', '.join(sorted(KINDS))}")
        self._simulator.faults.clear(kind)
        return self._state()

    async def _login(self, request: web.Request) -> web.Response:
        for kind in ("sso-lost", "brokerage-lost", "competing"):
            self._simulator.faults.clear(kind)
        self._simulator.log_in()
        return self._state()

    def _state(self) -> web.Response:
        kinds = {name: kind.description for name, kind in KINDS.items()}
        return web.json_response({"active": self._simulator.faults.describe_active(), "kinds": kinds})


async def send(path: Path, method: str, target: str, fault: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Send a request to a running simulator, from another process.

    Args:
        path: its control socket.
        method: GET, POST or DELETE.
        target: `/faults`, `/faults?kind=silence`, `/login`.
        fault: the fault's JSON members, `kind` among them.

    Returns:
        The faults that are active now (`active`), and all kinds with their descriptions (`kinds`).

    Raises:
        ControlError: no simulator listens there, or it refused; the message says which and why.
    """
    try:
        async with (
            aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(path))) as session,
            session.request(method, f"http://simulator{target}", json=fault) as response,
        ):
            status, text = response.status, await response.text()
    except (aiohttp.ClientError, OSError) as problem:
        raise ControlError(f"no simulator listens at {path}: start one with `bridge.py demo`") from problem
    return _parse_reply(status, text)


def _parse_reply(status: int, text: str) -> dict[str, Any]:
    try:
        reply = json.loads(text)
    except ValueError:
        reply = {"error": text.strip()}
    if status != 200 or not isinstance(reply, dict):
        raise ControlError(str(reply.get("error")) if isinstance(reply, dict) else f"status {status}")
    return reply


async def _read_object(request: web.Request) -> dict[str, Any]:
    try:
        body = await request.json()
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def _refuse(message: str) -> web.Response:
    return web.json_response({"error": message}, status=400)
