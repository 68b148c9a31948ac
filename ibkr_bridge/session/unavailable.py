"""The error for a call that cannot succeed in the present state of the session."""

from __future__ import annotations

from ibkr_bridge.errors import BridgeError, GatewayForbidden, GatewayUnreachable, Maintenance, SessionUnavailable
from ibkr_bridge.session.session_status import SessionStatus
from ibkr_bridge.session.state_machine import Observation, Session, SessionState

RETRY_AFTER_S = 5.0  # seconds; sent while the session is down for an unknown time
OPENING_RETRY_AFTER_S = 1.0  # seconds; while the session is being opened
STATE_DETAILS = {  # the upstream may have words of its own: `SessionHints.details`
    SessionState.STARTING: "the session has not been checked yet",
    SessionState.UNREACHABLE: "there is no connection to IBKR",
    SessionState.SILENT: "IBKR sends no usable response",
    SessionState.SIGNED_OUT: "there is no session at IBKR",
    SessionState.ACTIVATING: "IBKR does not know the consumer key yet",
    SessionState.CREDENTIAL_REFUSED: "IBKR gives no access with this credential",
    SessionState.OPENING: "the brokerage session is being opened",
    SessionState.COMPETING: "another session of the same user holds the brokerage session",
    SessionState.UNUSABLE: "IBKR refuses brokerage calls although it reports a brokerage session",
    SessionState.READY: "the session was lost",  # in the moment between a 401 and the check that explains it
}
SELF_HEALING = (
    SessionState.STARTING,
    SessionState.SILENT,
    SessionState.OPENING,
    SessionState.UNUSABLE,
    SessionState.UNREACHABLE,
)
"""States that end by themselves after a maintenance window; a lost login does not come back by itself."""


def unavailable_error(session_status: SessionStatus, checked: Session | None = None) -> BridgeError:
    """The error that fits the session.

    Args:
        session_status: what is known of the session.
        checked: the session, if it was checked for this call.
    """
    session = checked or session_status.session
    hint, words = session_status.hint(session), session_status.words
    what = words.details.get(session.state, STATE_DETAILS[session.state])
    if session.observation is Observation.FORBIDDEN:
        return GatewayForbidden(words.forbidden, hint=words.forbidden_hint, retry_after=RETRY_AFTER_S)
    if session.state is SessionState.UNREACHABLE:
        return GatewayUnreachable(what, hint=hint, retry_after=RETRY_AFTER_S)
    end = session_status.maintenance_end
    if end is not None and session.state in SELF_HEALING:
        remaining_s = (end - session_status.utc()).total_seconds()
        return Maintenance(f"IBKR maintenance until {end:%H:%M} UTC: {what}", retry_after=remaining_s)
    soon = session.state in (SessionState.OPENING, SessionState.UNUSABLE, SessionState.STARTING)
    quoted = f"; IBKR says: {session_status.ibkr_message}" if session_status.ibkr_message else ""
    error = SessionUnavailable(what + quoted, hint=hint, retry_after=OPENING_RETRY_AFTER_S if soon else RETRY_AFTER_S)
    error.needs_sign_in = words.needs_person and session.state is SessionState.SIGNED_OUT
    return error
