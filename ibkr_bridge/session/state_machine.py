"""The session's state machine: where each observation leads, and which actions it requires.

No clock, no socket, no log. `keeper.py` observes and acts; this file decides. There are two layers: the *login*, which
only a person or IBeam can make, and the *brokerage session* on top of it, which the bridge can reopen. Once the
brokerage session is lost, the Gateway logs itself out at its next tickle (every 30 s), so OPEN must follow at once.

    STARTING ──▶ READY ◀──▶ OPENING ◀──▶ COMPETING · UNUSABLE    the login is fine in the last four
       │           │ ▲          │ ▲
       ▼           ▼ │          ▼ │
    UNREACHABLE · SILENT · SIGNED_OUT                            no call can succeed in these
    ACTIVATING · CREDENTIAL_REFUSED                              nor in these; without a Gateway only

A response of `auth/status` changes the state, together with what brokerage calls showed (`refused_calls.py`) and whether the
login is still valid, where the flags leave it open. Everything else only makes the keeper check sooner.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum


class SessionState(Enum):
    """The states of the session."""

    STARTING = "starting"  # nothing is known yet
    UNREACHABLE = "unreachable"  # no connection, or the Gateway refuses this address
    SILENT = "silent"  # it connects, and no usable response comes
    SIGNED_OUT = "signed_out"  # nobody is signed in
    ACTIVATING = "activating"  # IBKR does not know the consumer key yet: it counts after a reset
    CREDENTIAL_REFUSED = "credential_refused"  # there is no access with this credential: a person must act
    OPENING = "opening"  # the login is fine, the brokerage session is being opened
    COMPETING = "competing"  # the same user trades somewhere else
    UNUSABLE = "unusable"  # auth/status shows a session, but IBKR refuses brokerage calls
    READY = "ready"  # a brokerage call would work now


class Observation(Enum):
    """What one check of `auth/status` showed."""

    SESSION = "session"  # authenticated, connected, not competing, established if IBKR says so
    ESTABLISHING = "establishing"  # authenticated, but accounts are not loaded yet: calls would come back empty
    SESSION_UNUSABLE = "session_unusable"  # the flags of a session, but brokerage calls answer "no bridge"
    LOGIN_ONLY = "login_only"  # connected, not authenticated: the brokerage session is lost
    DISCONNECTED = "disconnected"  # not connected, but the login is still valid: the brokerage session is lost
    UNCLEAR = "unclear"  # not connected, and nothing shows whether the login is still valid
    COMPETING = "competing"  # another session of the same user
    NO_LOGIN = "no_login"  # 401, "no session", or not connected and the login has ended
    ACTIVATING = "activating"  # "invalid consumer": not active at IBKR yet
    CREDENTIAL_REFUSED = "credential_refused"  # "invalid signature": a key or the secret is wrong
    SECRET_LOST = "secret_lost"  # noqa: S105  # IBKR has no secret for the access token
    REVOKED = "revoked"  # the same, and the token has worked before
    MISMATCH = "mismatch"  # IBKR derived another live session token
    VAULT_LOCKED = "vault_locked"  # the key that opens the credential is missing
    CREDENTIAL_MISSING = "credential_missing"  # nobody has imported one
    CREDENTIAL_UNREADABLE = "credential_unreadable"  # it does not open
    NO_CONNECTION = "no_connection"  # no connection
    FORBIDDEN = "forbidden"  # the Gateway's address rules
    TIMEOUT = "timeout"  # no response in time
    UNUSABLE_RESPONSE = "unusable_response"  # a response that shows nothing: 5xx, HTML, cut off
    RATE_LIMITED = "rate_limited"  # 429: too many calls, which shows nothing of the session


class Action(Enum):
    """What the keeper has to do, in order."""

    OPEN = "open"  # request the brokerage session, as the backoff allows
    GRACE = "grace"  # a fresh login: the Gateway opens the brokerage session by itself, so delay OPEN for some seconds
    RECLAIM = "reclaim"  # take the session back from a competing program, as policy and backoff allow
    PREPARE = "prepare"  # make the calls that IBKR wants first; only then is READY published


@dataclass(frozen=True)
class Session:
    """The state, the last observation, and since when (seconds of the keeper's clock) each of them is the same."""

    state: SessionState
    observation: Observation | None
    since: float
    observed_since: float = 0.0

    @property
    def reason(self) -> str:
        """A stable word for programs: why the state is what it is."""
        return "starting" if self.observation is None else REASONS[self.observation]

    @property
    def has_login(self) -> bool:
        """Whether calls that need only the login can succeed."""
        return self.state in LOGIN_STATES


LOGIN_STATES = frozenset({SessionState.READY, SessionState.OPENING, SessionState.COMPETING, SessionState.UNUSABLE})
MAX_ESTABLISHING_S = 20.0
"""Seconds that IBKR may take to load the accounts before the session is requested again; usually it takes under 5."""

# fmt: off
REASONS: Mapping[Observation, str] = {  # stable words for programs; the hints for people come from the `SessionApi`
    Observation.SESSION:           "ready",
    Observation.ESTABLISHING:      "establishing",
    Observation.SESSION_UNUSABLE:  "brokerage_unusable",
    Observation.LOGIN_ONLY:        "brokerage_lost",
    Observation.DISCONNECTED:      "brokerage_disconnected",
    Observation.UNCLEAR:           "login_unclear",
    Observation.COMPETING:         "competing",
    Observation.NO_LOGIN:          "signed_out",
    Observation.ACTIVATING:        "activating",
    Observation.CREDENTIAL_REFUSED: "credential_refused",
    Observation.SECRET_LOST:       "secret_lost",
    Observation.REVOKED:           "revoked",
    Observation.MISMATCH:          "mismatch",
    Observation.VAULT_LOCKED:      "vault_locked",
    Observation.CREDENTIAL_MISSING: "credential_missing",
    Observation.CREDENTIAL_UNREADABLE: "credential_unreadable",
    Observation.NO_CONNECTION:     "gateway_unreachable",
    Observation.FORBIDDEN:         "gateway_forbidden",
    Observation.TIMEOUT:           "gateway_timeout",
    Observation.UNUSABLE_RESPONSE: "ibkr_unavailable",
    Observation.RATE_LIMITED:      "rate_limited",
}

NO_ACCESS = (
    Observation.ACTIVATING, Observation.CREDENTIAL_REFUSED, Observation.SECRET_LOST, Observation.REVOKED, Observation.MISMATCH,
    Observation.VAULT_LOCKED, Observation.CREDENTIAL_MISSING, Observation.CREDENTIAL_UNREADABLE,
)
"""Observations that only an upstream without a Gateway makes: IBKR gives no access."""

S, A = SessionState, Action
# Every pair of the two enums, no more, no less. Rows: the state; columns: the observation.
_COLUMNS = (
    Observation.SESSION, Observation.SESSION_UNUSABLE, Observation.ESTABLISHING, Observation.LOGIN_ONLY, Observation.DISCONNECTED,
    Observation.COMPETING, Observation.UNCLEAR, Observation.NO_LOGIN, Observation.NO_CONNECTION, Observation.FORBIDDEN, Observation.TIMEOUT,
    Observation.UNUSABLE_RESPONSE, Observation.RATE_LIMITED,
    *NO_ACCESS,
)
_NO_ACCESS = ((S.ACTIVATING, ()), *((S.CREDENTIAL_REFUSED, ()),) * 7)  # from every state, for the last eight columns
_UP, _BAD, _WAIT, _OPEN, _COMPETING = (S.READY, (A.PREPARE,)), (S.UNUSABLE, (A.OPEN,)), (S.OPENING, ()), (S.OPENING, (A.OPEN,)), (S.COMPETING, (A.RECLAIM,))
_STAY, _FRESH = (S.READY, ()), (S.OPENING, (A.GRACE,))
_OUT, _GONE, _SILENT = (S.SIGNED_OUT, ()), (S.UNREACHABLE, ()), (S.SILENT, ())
_GRID: Mapping[SessionState, tuple[tuple[SessionState, tuple[Action, ...]], ...]] = {
    #                session refused establ. login   disconn. compet.     unclear  none  no conn. forbid. timeout  useless  limited
    S.STARTING:    (_UP,    _BAD,   _WAIT,  _OPEN,  _OPEN,   _COMPETING, _SILENT, _OUT, _GONE,   _GONE,  _SILENT, _SILENT, (S.STARTING, ()), *_NO_ACCESS),
    S.UNREACHABLE: (_UP,    _BAD,   _WAIT,  _OPEN,  _OPEN,   _COMPETING, _SILENT, _OUT, _GONE,   _GONE,  _SILENT, _SILENT, _SILENT, *_NO_ACCESS),
    S.SILENT:      (_UP,    _BAD,   _WAIT,  _OPEN,  _OPEN,   _COMPETING, _SILENT, _OUT, _GONE,   _GONE,  _SILENT, _SILENT, _SILENT, *_NO_ACCESS),
    S.SIGNED_OUT:  (_UP,    _BAD,   _WAIT,  _FRESH, _FRESH,  _COMPETING, _OUT,    _OUT, _GONE,   _GONE,  _SILENT, _SILENT, _OUT, *_NO_ACCESS),
    S.ACTIVATING:  (_UP,    _BAD,   _WAIT,  _OPEN,  _OPEN,   _COMPETING, _OUT,    _OUT, _GONE,   _GONE,  _SILENT, _SILENT, (S.ACTIVATING, ()), *_NO_ACCESS),
    S.CREDENTIAL_REFUSED:
                   (_UP,    _BAD,   _WAIT,  _OPEN,  _OPEN,   _COMPETING, _OUT,    _OUT, _GONE,   _GONE,  _SILENT, _SILENT, (S.CREDENTIAL_REFUSED, ()), *_NO_ACCESS),
    S.OPENING:     (_UP,    _BAD,   _WAIT,  _OPEN,  _OPEN,   _COMPETING, _OPEN,   _OUT, _GONE,   _GONE,  _SILENT, _SILENT, _WAIT, *_NO_ACCESS),
    S.COMPETING:   (_UP,    _BAD,   _WAIT,  _OPEN,  _OPEN,   _COMPETING, _OPEN,   _OUT, _GONE,   _GONE,  _SILENT, _SILENT, (S.COMPETING, ()), *_NO_ACCESS),
    S.UNUSABLE:    (_UP,    _BAD,   _WAIT,  _OPEN,  _OPEN,   _COMPETING, _OPEN,   _OUT, _GONE,   _GONE,  _SILENT, _SILENT, (S.UNUSABLE, ()), *_NO_ACCESS),
    S.READY:       (_STAY,  _BAD,   _WAIT,  _OPEN,  _OPEN,   _COMPETING, _OPEN,   _OUT, _GONE,   _GONE,  _SILENT, _SILENT, _STAY, *_NO_ACCESS),
}
# fmt: on
TRANSITIONS: Mapping[tuple[SessionState, Observation], tuple[SessionState, tuple[Action, ...]]] = {
    (state, observation): move for state, row in _GRID.items() for observation, move in zip(_COLUMNS, row, strict=True)
}


def initial_session(now: float) -> Session:
    """The session before the first check."""
    return Session(SessionState.STARTING, None, now, now)


def step(session: Session, observation: Observation, now: float) -> tuple[Session, tuple[Action, ...]]:
    """Return where one observation leads and which actions it requires, in order."""
    state, actions = TRANSITIONS[session.state, observation]
    observed_since = session.observed_since if observation is session.observation else now
    if observation is Observation.ESTABLISHING and now - observed_since >= MAX_ESTABLISHING_S:
        actions = (Action.OPEN,)  # seen in the field: `established` stays false until the session is requested again
    return Session(state, observation, session.since if state is session.state else now, observed_since), actions


def observe_status(status: int, body: object) -> Observation:
    """What a response of `auth/status` shows.

    Args:
        status: the HTTP status.
        body: the parsed JSON, or None if the body was not JSON.
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
    return Observation.LOGIN_ONLY if connected else Observation.UNCLEAR
