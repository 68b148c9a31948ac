"""The keyed routes about the Gateway: the whole truth, and what the owner of the full key may do to the session."""

from __future__ import annotations

from math import ceil
from typing import Any

from aiohttp import web

from ibkr_bridge.clock import utc_text
from ibkr_bridge.errors import GatewayProtocolError, SessionUnavailable
from ibkr_bridge.orders.rules.rules import PAPER_ACCOUNT
from ibkr_bridge.profiles.profile import Profile
from ibkr_bridge.redaction import mask_account
from ibkr_bridge.server.app_keys import CLOCK, DRAIN, MAIN_PROFILE, PROFILES, REQUEST_CONTEXT
from ibkr_bridge.session.state_machine import Session, SessionState


async def status(request: web.Request) -> web.Response:
    """Everything the bridge knows of itself and the session, account numbers masked."""
    profile = request.app[PROFILES][MAIN_PROFILE]
    session = await profile.keeper.current()
    return web.json_response(
        {**_session(profile, session), **_flags(request, profile), **_accounts(profile), **_traffic(profile)}
    )


def _session(profile: Profile, session: Session) -> dict[str, Any]:
    keeper = profile.keeper
    return {
        "state": session.state.value,
        "authenticated": session.state is SessionState.READY,
        "login": session.has_login,
        "competing": session.state is SessionState.COMPETING,
        "reason": session.reason,
        "hint": keeper.hint(session),
        "since": utc_text(keeper.since if session is keeper.session else keeper.utc()),
        "last_look": utc_text(keeper.checked_utc),
        "last_good_look": utc_text(keeper.last_good_utc),
        "next": keeper.next_action,
        "login_expires": utc_text(keeper.login_expires),
        "next_reset": utc_text(keeper.next_reset),
    }


def _flags(request: web.Request, profile: Profile) -> dict[str, Any]:
    settings, trading_pause = profile.settings, profile.trading_pause
    return {
        "mode": settings.trading_mode.value,
        "read_only": settings.read_only,
        "paused": {"by": trading_pause.by, "since": trading_pause.since} if trading_pause.is_on else None,
        "maintenance_until": utc_text(profile.keeper.maintenance_end),
        "draining": request.app[DRAIN].is_draining,
        "gateway": str(settings.gateway_url),
    }


def _accounts(profile: Profile) -> dict[str, Any]:
    known = profile.keeper.accounts
    kinds = {True: "paper", False: "live", None: "unknown"}
    return {
        "accounts": [
            {
                "account": mask_account(number),
                "kind": kinds[known.paper if known.paper is not None else _kind_by_number(number)],
            }
            for number in sorted(known.numbers)
        ]
    }


def _kind_by_number(number: str) -> bool | None:
    return True if PAPER_ACCOUNT.fullmatch(number) else None


def _traffic(profile: Profile) -> dict[str, Any]:
    pace = profile.admission.limits.total
    admission, penalty_box, waiting = profile.admission, profile.penalty_box, profile.admission.waiting()
    return {
        "slots": {
            "places": admission.limits.slots,
            "taken": admission.slots_taken,
            "waiting": waiting.total(),
            "ghosts": profile.upstream.abandoned,
        },
        "waiting": {importance.name.lower(): count for importance, count in waiting.items()},
        "budget": {"used": admission.budget_used, "of": pace.calls, "seconds": pace.period_s} if pace else None,
        "penalty": {
            "box_s": ceil(penalty_box.box_left_s),
            "rows": {row: ceil(left) for row, left in penalty_box.closed_endpoints.items()},
        },
        "memory": _cache(profile),
        "journal": _journal(profile),
        "stream": profile.streaming.status,
    }


def _journal(profile: Profile) -> dict[str, Any]:
    """Whether orders can be written down, and how many of the last day are in which state."""
    repository, lock = profile.orders.repository, profile.orders.submitter.lock
    asking = lock.pending.record.id if lock.pending is not None else None
    return {"trouble": repository.journal.problem, "orders": dict(repository.index.counts()), "question": asking}


def _cache(profile: Profile) -> dict[str, Any] | None:
    cache, joined = profile.cached_reads.cache, profile.cached_reads.single_flight.joined_count
    told = cache.hits + joined
    rate = round(told / cache.lookups, 3) if cache.lookups else None
    return {"asked": cache.lookups, "remembered": cache.hits, "shared": joined, "hit_rate": rate, **cache.counts}


async def reconnect(request: web.Request) -> web.Response:
    """Look at the session now, and reopen it where it is lost, as the ration allows."""
    profile = request.app[PROFILES][MAIN_PROFILE]
    return web.json_response(_session(profile, await profile.keeper.reopen()))


async def pause(request: web.Request) -> web.Response:
    """Stop new orders; cancels still pass."""
    profile = request.app[PROFILES][MAIN_PROFILE]
    kept = profile.trading_pause.set(_principal_name(request), request.app[CLOCK].utc())
    return web.json_response(
        {"paused": True, "by": profile.trading_pause.by, "since": profile.trading_pause.since, "kept": kept}
    )


async def resume(request: web.Request) -> web.Response:
    """Let new orders through again."""
    profile = request.app[PROFILES][MAIN_PROFILE]
    return web.json_response({"paused": False, "kept": profile.trading_pause.clear(_principal_name(request))})


def _principal_name(request: web.Request) -> str:
    principal = request[REQUEST_CONTEXT].principal
    if principal is None:
        return "nobody"
    return principal.label if principal.is_token else f"{principal.label} key"


async def logout(request: web.Request) -> web.Response:
    """End the login at IBKR; only a person or IBeam can make a new one."""
    profile = request.app[PROFILES][MAIN_PROFILE]
    if not profile.keeper.session.has_login:
        raise SessionUnavailable("nobody is signed in", hint="there is nothing to log out from")
    if await profile.keeper.log_out() != 200:
        raise GatewayProtocolError("IBKR did not confirm the log-out", hint="look at GET /gateway/status")
    return web.json_response(_session(profile, profile.keeper.session))
