"""The keyed routes about the Gateway: the whole truth, and what the owner of the full key may do to the session."""

from __future__ import annotations

from math import ceil
from typing import Any

from aiohttp import web

from ibkr_bridge.clock import utc_text
from ibkr_bridge.errors import GatewayGarbled, SessionDown
from ibkr_bridge.orders.rules.rules import PAPER_ACCOUNT
from ibkr_bridge.profiles.profile import Line
from ibkr_bridge.redaction import mask_account
from ibkr_bridge.server.app_keys import CLOCK, DRAIN, LINES, MAIN, VISIT
from ibkr_bridge.session.state_machine import Session, State


async def status(request: web.Request) -> web.Response:
    """Everything the bridge knows of itself and the session, account numbers masked."""
    line = request.app[LINES][MAIN]
    session = await line.keeper.fresh()
    return web.json_response({**_session(line, session), **_flags(request, line), **_accounts(line), **_traffic(line)})


def _session(line: Line, session: Session) -> dict[str, Any]:
    keeper = line.keeper
    return {
        "state": session.state.value,
        "authenticated": session.state is State.READY,
        "login": session.login,
        "competing": session.state is State.COMPETING,
        "reason": session.reason,
        "hint": keeper.hint(session),
        "since": utc_text(keeper.since if session is keeper.session else keeper.utc()),
        "last_look": utc_text(keeper.checked_utc),
        "last_good_look": utc_text(keeper.last_good),
        "next": keeper.next_act,
        "login_expires": utc_text(keeper.login_expires),
        "next_reset": utc_text(keeper.next_reset),
    }


def _flags(request: web.Request, line: Line) -> dict[str, Any]:
    settings, pause = line.settings, line.pause
    return {
        "mode": settings.trading_mode.value,
        "read_only": settings.read_only,
        "paused": {"by": pause.by, "since": pause.since} if pause.is_on else None,
        "maintenance_until": utc_text(line.keeper.maintenance_end),
        "draining": request.app[DRAIN].is_on,
        "gateway": str(settings.gateway_url),
    }


def _accounts(line: Line) -> dict[str, Any]:
    known = line.keeper.accounts
    kinds = {True: "paper", False: "live", None: "unknown"}
    return {
        "accounts": [
            {"account": mask_account(number), "kind": kinds[known.paper if known.paper is not None else _guess(number)]}
            for number in sorted(known.numbers)
        ]
    }


def _guess(number: str) -> bool | None:
    return True if PAPER_ACCOUNT.fullmatch(number) else None


def _traffic(line: Line) -> dict[str, Any]:
    pace = line.turns.limits.everything
    turns, penalty, waiting = line.turns, line.penalty, line.turns.waiting()
    return {
        "slots": {
            "places": turns.limits.places,
            "taken": turns.taken,
            "waiting": waiting.total(),
            "ghosts": line.gateway.ghosts,
        },
        "waiting": {importance.name.lower(): count for importance, count in waiting.items()},
        "budget": {"used": turns.used, "of": pace.calls, "seconds": pace.seconds} if pace else None,
        "penalty": {"box_s": ceil(penalty.box_left), "rows": {row: ceil(left) for row, left in penalty.closed.items()}},
        "memory": _memory(line),
        "journal": _journal(line),
        "stream": line.streaming.status,
    }


def _journal(line: Line) -> dict[str, Any]:
    """Whether orders can be written down, and how many of the last day are in which state."""
    book, chain = line.ordering.book, line.ordering.desk.chain
    asking = chain.hanging.record.id if chain.hanging is not None else None
    return {"trouble": book.journal.trouble, "orders": dict(book.register.counts()), "question": asking}


def _memory(line: Line) -> dict[str, Any] | None:
    if line.reads is None:
        return None
    memory, joined = line.reads.memory, line.reads.sharing.joined
    told = memory.hits + joined
    rate = round(told / memory.asked, 3) if memory.asked else None
    return {"asked": memory.asked, "remembered": memory.hits, "shared": joined, "hit_rate": rate, **memory.size}


async def reconnect(request: web.Request) -> web.Response:
    """Look at the session now, and reopen it where it is lost, as the ration allows."""
    line = request.app[LINES][MAIN]
    return web.json_response(_session(line, await line.keeper.reopen()))


async def pause(request: web.Request) -> web.Response:
    """Stop new orders; cancels still pass."""
    line = request.app[LINES][MAIN]
    kept = line.pause.set(_who(request), request.app[CLOCK].utc())
    return web.json_response({"paused": True, "by": line.pause.by, "since": line.pause.since, "kept": kept})


async def resume(request: web.Request) -> web.Response:
    """Let new orders through again."""
    line = request.app[LINES][MAIN]
    return web.json_response({"paused": False, "kept": line.pause.clear(_who(request))})


def _who(request: web.Request) -> str:
    key = request[VISIT].key
    if key is None:
        return "nobody"
    return key.label if key.is_token else f"{key.label} key"


async def logout(request: web.Request) -> web.Response:
    """End the login at IBKR; only a person or IBeam can make a new one."""
    line = request.app[LINES][MAIN]
    if not line.keeper.session.login:
        raise SessionDown("nobody is signed in", hint="there is nothing to log out from")
    if await line.keeper.log_out() != 200:
        raise GatewayGarbled("IBKR did not confirm the log-out", hint="look at GET /gateway/status")
    return web.json_response(_session(line, line.keeper.session))
