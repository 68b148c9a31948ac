"""Controls the simulator from another process, through a Unix socket that only its owner can open.

`POST /faults` adds a fault. `GET /faults` shows the active faults and all kinds. `DELETE /faults` ends all faults, or
with `?kind=` those of one kind, undoes what they have left behind, and says what it cannot undo. `POST /login` signs in
as after the login pages. None of this exists on the Gateway's own port.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from ibkr_bridge.sim.faults import KINDS, UnknownFaultError
from ibkr_bridge.sim.market_stage import SESSION_ENDING_KINDS
from ibkr_bridge.sim.simulator import Simulator

RESTORE_TIMEOUT_S = 5.0  # for the bridge to check its session
ORDERS_STAY = "an order that IBKR carried out in spite of a fault stays, as at IBKR"
GHOSTS_STAY = "a call that the Gateway never answers holds one of the bridge's slots for up to two minutes"
BRIDGE_STAYS = "a bridge in front of this simulator keeps its penalty box and its ghost calls until their time ends"


class ControlError(Exception):
    """The simulator refused the request, or is not running. The message gives the reason, for people."""


class Control:
    """Listens for another process at `path`. The folder of `path` should be private as well.

    Args:
        restore_bridge: resets what the bridge of a demo learned from faults; None if there is no such bridge.
    """

    def __init__(
        self, simulator: Simulator, path: Path, restore_bridge: Callable[[], Awaitable[None]] | None = None
    ) -> None:
        self._simulator = simulator
        self._path = path
        self._restore_bridge = restore_bridge
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
        return self._state(await self._restore(self._simulator.faults.pop_used_kinds(kind)))

    async def _restore(self, kinds: Mapping[str, bool]) -> list[str]:
        """Undo what these kinds of faults have left behind. Returns what cannot be undone, in words."""
        if not kinds:
            return []
        await self._simulator.wait_for_events()  # a restart that is under way would end the new login
        self._simulator.restore(kinds)
        if self._restore_bridge is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(RESTORE_TIMEOUT_S):
                    await self._restore_bridge()
        return list(not_restored(kinds, has_bridge=self._restore_bridge is not None))

    async def _login(self, request: web.Request) -> web.Response:
        for kind in ("sso-lost", "brokerage-lost", "competing", "competing-stays"):
            self._simulator.faults.clear(kind)
        for kind in SESSION_ENDING_KINDS:
            self._simulator.faults.pop_used_kinds(kind)
        self._simulator.log_in()
        return self._state()

    def _state(self, remains: Collection[str] = ()) -> web.Response:
        kinds = {name: kind.description for name, kind in KINDS.items()}
        active = self._simulator.faults.describe_active()
        return web.json_response({"active": active, "kinds": kinds, "not_restored": list(remains)})


def not_restored(kinds: Mapping[str, bool], *, has_bridge: bool) -> Iterator[str]:
    """What these kinds of faults leave behind for good, or for a while.

    Args:
        kinds: by kind, whether IBKR carried out an order in spite of such a fault.
        has_bridge: whether the bridge in front is restored too.
    """
    if any(has_order and kind not in HARMLESS_KINDS for kind, has_order in kinds.items()):
        yield ORDERS_STAY
    if not UNANSWERED_KINDS.isdisjoint(kinds):
        yield GHOSTS_STAY
    if not has_bridge and not TEACHING_KINDS.isdisjoint(kinds):
        yield BRIDGE_STAYS


HARMLESS_KINDS = frozenset({"delay", "gzip", "prompt", "stall-in"})  # the caller gets the response, or its rest
UNANSWERED_KINDS = frozenset({"drop", "die-in", "ibkr-down", "restart-during", "done-restart-during", "cut-in"})
TEACHING_KINDS = frozenset({"429", "competing", "competing-stays", "silence", "done-silence", "denied"})


async def send(path: Path, method: str, target: str, fault: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Send a request to a running simulator, from another process.

    Args:
        path: its control socket.
        method: GET, POST or DELETE.
        target: `/faults`, `/faults?kind=silence`, `/login`.
        fault: the fault's JSON members, `kind` among them.

    Returns:
        The faults that are active now (`active`), all kinds with their descriptions (`kinds`), and what the faults that
        were ended have left behind (`not_restored`).

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
