"""Which conditions hold, from the facts of the bridge and of one profile. Pure: one rule for each row of a table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from ibkr_bridge.conditions.condition import Found

FLAPPING_LOSSES = 3  # in an hour; one loss a day is usual at IBKR
STREAM_DOWN_AFTER = timedelta(seconds=60)  # it reconnects within seconds as a rule
MAX_SKEW_S = 10.0  # heartbeats come late by a second or two; a token lives for minutes, an order for seconds
MIN_FREE_BYTES = 200 * 1024 * 1024  # of the disk; the journal of a year has some ten MiB
READY, TIMEOUT = "ready", "gateway_timeout"


@dataclass(frozen=True)
class BridgeFacts:
    """What is known of the process and its files."""

    is_draining: bool = False
    state_problem: str | None = None
    """Why the state directory cannot be used."""
    free_bytes: int | None = None
    """Space on the disk of the state directory; None if it is not known."""
    history_problem: str | None = None
    """Why the history cannot be written."""
    reload_problems: str | None = None
    """Why the last reload was refused."""
    restart_needed: tuple[str, ...] = ()
    mode: str = ""
    wanted_mode: str = ""
    """The mode that the settings said at the last reload."""


@dataclass(frozen=True)
class ProfileFacts:
    """What is known of one profile."""

    now: datetime
    reason: str
    """Of the state of the session; `ready` alone is good."""
    session_since: datetime
    hint: str = ""
    is_alone: bool = False
    """Whether the bridge signs in itself there, without a Gateway."""
    losses: int = 0
    """Of the session in the last hour."""
    maintenance_until: datetime | None = None
    login_ends: datetime | None = None
    remind_before: timedelta = timedelta(minutes=30)
    """How long before the end of the login a person is reminded."""
    ghost_calls: int = 0
    slots: int = 1
    penalty_s: int = 0
    closed_paths: tuple[str, ...] = ()
    paused_by: str | None = None
    paused_since: str | None = None
    journal_problem: str | None = None
    unknown_orders: int = 0
    has_question: bool = False
    is_stream_up: bool = True
    stream_reason: str = ""
    stream_since: datetime | None = None
    silent_topics: int = 0
    clock_skew_s: float = 0.0
    """By how much this machine's clock is ahead of IBKR's; 0 if it is not known."""


def bridge_conditions(facts: BridgeFacts) -> list[Found]:
    """The conditions of the bridge itself."""
    return [found for rule in BRIDGE_RULES if (found := rule(facts)) is not None]


def profile_conditions(facts: ProfileFacts) -> list[Found]:
    """The conditions of one profile."""
    return [found for rule in PROFILE_RULES if (found := rule(facts)) is not None]


def _draining(facts: BridgeFacts) -> Found | None:
    return Found("shutting_down") if facts.is_draining else None


def _state(facts: BridgeFacts) -> Found | None:
    return Found("state_unavailable", values={"reason": facts.state_problem}) if facts.state_problem else None


def _disk(facts: BridgeFacts) -> Found | None:
    if facts.free_bytes is None or facts.free_bytes >= MIN_FREE_BYTES:
        return None
    return Found("disk_low", values={"free_mib": facts.free_bytes // (1024 * 1024)})


def _reload(facts: BridgeFacts) -> Found | None:
    return Found("reload_refused", values={"problems": facts.reload_problems}) if facts.reload_problems else None


def _restart(facts: BridgeFacts) -> Found | None:
    return Found("restart_needed", values={"names": ", ".join(facts.restart_needed)}) if facts.restart_needed else None


def _mode(facts: BridgeFacts) -> Found | None:
    if not facts.wanted_mode or facts.wanted_mode == facts.mode:
        return None
    return Found("mode_differs", values={"wanted": facts.wanted_mode, "mode": facts.mode})


def _session(facts: ProfileFacts) -> Found | None:
    if facts.reason == READY:
        return None
    is_stuck = facts.reason == TIMEOUT and facts.ghost_calls >= facts.slots
    name = "gateway_stuck" if is_stuck else facts.reason
    values = {"hint": facts.hint, "ghost_calls": facts.ghost_calls}
    return Found(name, facts.session_since, values, facts.is_alone)


def _flapping(facts: ProfileFacts) -> Found | None:
    return Found("session_flapping", values={"losses": facts.losses}) if facts.losses >= FLAPPING_LOSSES else None


def _maintenance(facts: ProfileFacts) -> Found | None:
    until = facts.maintenance_until
    return Found("maintenance", values={"until": f"{until:%H:%M}"}) if until is not None else None


def _login_ends(facts: ProfileFacts) -> Found | None:
    end = facts.login_ends
    if end is None or not facts.now <= end <= facts.now + facts.remind_before:
        return None
    return Found("login_ends", values={"at": f"{end:%H:%M}"})


def _penalty(facts: ProfileFacts) -> Found | None:
    return Found("penalty_box", values={"seconds": facts.penalty_s}) if facts.penalty_s > 0 else None


def _endpoints(facts: ProfileFacts) -> Found | None:
    return Found("endpoint_closed", values={"paths": ", ".join(facts.closed_paths)}) if facts.closed_paths else None


def _pause(facts: ProfileFacts) -> Found | None:
    if facts.paused_by is None:
        return None
    since = f" at {facts.paused_since}" if facts.paused_since else ""
    return Found("trading_paused", _time_of(facts.paused_since), {"by": facts.paused_by, "since": since})


def _time_of(text: str | None) -> datetime | None:
    try:
        time = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    return time if time.tzinfo is not None else None


def _journal(facts: ProfileFacts) -> Found | None:
    return Found("journal_unavailable", values={"problem": facts.journal_problem}) if facts.journal_problem else None


def _unknown(facts: ProfileFacts) -> Found | None:
    if not facts.unknown_orders:
        return None
    is_one = facts.unknown_orders == 1
    count = "one order was" if is_one else f"{facts.unknown_orders} orders were"
    return Found("orders_unknown", values={"count": count, "them": "it" if is_one else "them"})


def _question(facts: ProfileFacts) -> Found | None:
    return Found("order_question") if facts.has_question else None


def _stream(facts: ProfileFacts) -> Found | None:
    if facts.reason != READY or facts.is_stream_up or facts.stream_since is None:
        return None
    since = max(facts.stream_since, facts.session_since)  # before, the stream was down because the session was
    if facts.now - since < STREAM_DOWN_AFTER:
        return None
    return Found("stream_down", since, {"at": f"{since:%H:%M:%S}", "reason": facts.stream_reason})


def _topics(facts: ProfileFacts) -> Found | None:
    return Found("topics_silent", values={"count": facts.silent_topics}) if facts.silent_topics else None


def _clock(facts: ProfileFacts) -> Found | None:
    skew_s = facts.clock_skew_s
    if abs(skew_s) <= MAX_SKEW_S:
        return None
    return Found("clock_skewed", values={"seconds": round(abs(skew_s)), "side": "ahead of" if skew_s > 0 else "behind"})


def _history(facts: BridgeFacts) -> Found | None:
    return Found("history_unavailable", values={"problem": facts.history_problem}) if facts.history_problem else None


BRIDGE_RULES: tuple[Callable[[BridgeFacts], Found | None], ...] = (
    *(_draining, _state, _disk, _history, _reload, _restart, _mode),
)
PROFILE_RULES: tuple[Callable[[ProfileFacts], Found | None], ...] = (
    *(_session, _flapping, _maintenance, _login_ends, _penalty, _endpoints, _pause, _journal, _unknown, _question),
    *(_stream, _topics, _clock),
)
