"""The session's rules: where each observation leads, and what it asks for.

No clock, no socket, no log. `keeper.py` observes and acts; this file decides. Two layers are told apart: the *login*,
which only a person or IBeam can make, and the *brokerage session* on top of it, which we can reopen. The Gateway logs
itself out at its next tickle (every 30 s) once the brokerage session is lost, so that OPEN must follow at once.

    STARTING ──▶ READY ◀──▶ OPENING ◀──▶ COMPETING        the login is fine in these three
       │           │ ▲          │ ▲
       ▼           ▼ │          ▼ │
    UNREACHABLE · SILENT · SIGNED_OUT                     nothing can be asked in these

Only an answer of `auth/status` moves the state; everything else merely makes the keeper look sooner.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum


class SessionState(Enum):
    """What the session is, one word for each."""

    STARTING = "starting"  # nothing is known yet
    UNREACHABLE = "unreachable"  # no connection, or the Gateway shuts us out
    SILENT = "silent"  # it connects, and no sense comes back
    SIGNED_OUT = "signed_out"  # nobody is signed in
    OPENING = "opening"  # the login is fine, the brokerage session is being opened
    COMPETING = "competing"  # the same user trades somewhere else
    READY = "ready"  # a brokerage call would work now


class Observation(Enum):
    """What one look at `auth/status` showed."""

    SESSION = "session"  # authenticated, connected, not competing, established where that is said
    ESTABLISHING = "establishing"  # authenticated, but accounts are not loaded yet: calls would come back empty
    LOGIN_ONLY = "login_only"  # connected, not authenticated: the brokerage session is lost
    COMPETING = "competing"  # another session of the same user
    NO_LOGIN = "no_login"  # 401, "no session", or not even connected
    NO_CONNECTION = "no_connection"  # no connection
    FORBIDDEN = "forbidden"  # the Gateway's address rules
    TIMEOUT = "timeout"  # no answer in time
    UNUSABLE_RESPONSE = "unusable_response"  # an answer that says nothing: 5xx, HTML, broken off
    SLOTS_EXHAUSTED = (
        "slots_exhausted"  # a session, but every place of ours at the Gateway is held by a call it never answered
    )
    RATE_LIMITED = "rate_limited"  # 429: we asked too often, which says nothing about the session


class Action(Enum):
    """What the keeper is asked to do, in order."""

    OPEN = "open"  # ask for the brokerage session, as the ration allows
    GRACE = "grace"  # a fresh login: the Gateway opens the brokerage session by itself, so hold OPEN back a little
    RECLAIM = "reclaim"  # take the session back from a rival, as policy and ration allow
    PREPARE = "prepare"  # make the calls IBKR wants first; only then is READY announced


@dataclass(frozen=True)
class Session:
    """The state, what was seen last, and since when (seconds of the keeper's clock) the state has lasted."""

    state: SessionState
    observation: Observation | None
    since: float

    @property
    def reason(self) -> str:
        """A stable word for programs: why the state is what it is."""
        return "starting" if self.observation is None else REASONS[self.observation].code

    @property
    def hint(self) -> str:
        """What a person should do."""
        return "wait a moment" if self.observation is None else REASONS[self.observation].hint

    @property
    def has_login(self) -> bool:
        """Whether calls that need only the login make sense."""
        return self.state in (SessionState.READY, SessionState.OPENING, SessionState.COMPETING)


@dataclass(frozen=True)
class Reason:
    """An observation in words."""

    code: str
    hint: str


# fmt: off
REASONS: Mapping[Observation, Reason] = {
    Observation.SESSION:      Reason("ready", "nothing to do"),
    Observation.ESTABLISHING: Reason("establishing", "wait a few seconds; IBKR is loading the accounts"),
    Observation.LOGIN_ONLY:   Reason("brokerage_lost", "wait a few seconds; the bridge is reopening the brokerage session"),
    Observation.COMPETING:        Reason("competing", "sign out of TWS, IBKR Mobile or Client Portal with this user, or use a second one"),
    Observation.NO_LOGIN:     Reason("signed_out", "sign in at the Gateway: open its address in a browser, or start IBeam"),
    Observation.NO_CONNECTION:      Reason("gateway_unreachable", "start the Gateway or IBeam, or correct IBKR_GATEWAY_URL"),
    Observation.FORBIDDEN:       Reason("gateway_forbidden", "add the bridge's address to ips.allow in the Gateway's conf.yaml and restart it"),
    Observation.TIMEOUT:      Reason("gateway_timeout", "IBKR is down or the Gateway is stuck; if it lasts, restart the Gateway and sign in"),
    Observation.SLOTS_EXHAUSTED:      Reason("gateway_stuck", "calls the Gateway never answered hold all places; restart the Gateway and sign in"),
    Observation.UNUSABLE_RESPONSE:      Reason("ibkr_unavailable", "IBKR answers with errors; wait, and if it lasts look at its system status page"),
    Observation.RATE_LIMITED:        Reason("rate_limited", "IBKR limits this user's calls; wait"),
}

S, A = SessionState, Action
# Every pair of the two enums, no more, no less. Rows: the state we are in; columns: what we saw.
_COLUMNS = (
    Observation.SESSION, Observation.ESTABLISHING, Observation.LOGIN_ONLY, Observation.COMPETING, Observation.NO_LOGIN,
    Observation.NO_CONNECTION, Observation.FORBIDDEN, Observation.TIMEOUT, Observation.SLOTS_EXHAUSTED, Observation.UNUSABLE_RESPONSE, Observation.RATE_LIMITED,
)
_UP, _WAIT, _OPEN, _COMPETING = (S.READY, (A.PREPARE,)), (S.OPENING, ()), (S.OPENING, (A.OPEN,)), (S.COMPETING, (A.RECLAIM,))
_STAY, _FRESH = (S.READY, ()), (S.OPENING, (A.GRACE,))
_OUT, _GONE, _SILENT = (S.SIGNED_OUT, ()), (S.UNREACHABLE, ()), (S.SILENT, ())
_GRID: Mapping[SessionState, tuple[tuple[SessionState, tuple[Action, ...]], ...]] = {
    #                session  establ.  login    rival   none   refused denied silence clogged trouble paced
    S.STARTING:    (_UP,     _WAIT,   _OPEN,   _COMPETING, _OUT,  _GONE,  _GONE, _SILENT,  _SILENT,  _SILENT,  (S.STARTING, ())),
    S.UNREACHABLE: (_UP,     _WAIT,   _OPEN,   _COMPETING, _OUT,  _GONE,  _GONE, _SILENT,  _SILENT,  _SILENT,  _SILENT),
    S.SILENT:      (_UP,     _WAIT,   _OPEN,   _COMPETING, _OUT,  _GONE,  _GONE, _SILENT,  _SILENT,  _SILENT,  _SILENT),
    S.SIGNED_OUT:  (_UP,     _WAIT,   _FRESH,  _COMPETING, _OUT,  _GONE,  _GONE, _SILENT,  _SILENT,  _SILENT,  _OUT),
    S.OPENING:     (_UP,     _WAIT,   _OPEN,   _COMPETING, _OUT,  _GONE,  _GONE, _SILENT,  _SILENT,  _SILENT,  _WAIT),
    S.COMPETING:   (_UP,     _WAIT,   _OPEN,   _COMPETING, _OUT,  _GONE,  _GONE, _SILENT,  _SILENT,  _SILENT,  (S.COMPETING, ())),
    S.READY:       (_STAY,   _WAIT,   _OPEN,   _COMPETING, _OUT,  _GONE,  _GONE, _SILENT,  _SILENT,  _SILENT,  _STAY),
}
# fmt: on
TRANSITIONS: Mapping[tuple[SessionState, Observation], tuple[SessionState, tuple[Action, ...]]] = {
    (state, saw): move for state, row in _GRID.items() for saw, move in zip(_COLUMNS, row, strict=True)
}


def initial_session(now: float) -> Session:
    """The session before anything was seen."""
    return Session(SessionState.STARTING, None, now)


def step(was: Session, saw: Observation, now: float) -> tuple[Session, tuple[Action, ...]]:
    """Say where one observation leads and which acts it asks for, in order."""
    state, acts = TRANSITIONS[was.state, saw]
    return Session(state, saw, was.since if state is was.state else now), acts


def observe_status(status: int, body: object) -> Observation:
    """What an answer of `auth/status` shows.

    Args:
        status: of HTTP.
        body: the parsed JSON, or None where it was none.
    """
    if status in NO_SESSION_STATUSES or (isinstance(body, dict) and body.get("error") == "no session"):
        return Observation.NO_LOGIN
    if status == 429:
        return Observation.RATE_LIMITED
    if status != 200 or not isinstance(body, dict) or "authenticated" not in body:
        return Observation.UNUSABLE_RESPONSE
    return _observe_flags(body)


NO_SESSION_STATUSES = (401, 601)  # 601: "Session Expired" in the Gateway's own client


def _observe_flags(body: Mapping[str, object]) -> Observation:
    authenticated, connected = body.get("authenticated") is True, body.get("connected") is True
    if body.get("competing") is True:
        return Observation.COMPETING
    if authenticated and connected:
        return Observation.ESTABLISHING if body.get("established") is False else Observation.SESSION
    return Observation.LOGIN_ONLY if connected else Observation.NO_LOGIN
