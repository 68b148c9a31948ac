"""Why a call makes no sense now, as its caller is told."""

from __future__ import annotations

from ibkr_bridge.errors import BridgeError, GatewayDeniesUs, GatewayUnreachable, Maintenance, SessionDown
from ibkr_bridge.session.session_status import View
from ibkr_bridge.session.state_machine import Saw, Session, State

LOOK_AGAIN_IN = 5.0  # seconds: told to callers while the session is down and nobody knows for how long
SOON = 1.0  # seconds: while the session is being opened
DOWN = {
    State.STARTING: "the session has not been looked at yet",
    State.UNREACHABLE: "there is no connection to the Gateway",
    State.SILENT: "the Gateway does not answer sensibly",
    State.SIGNED_OUT: "nobody is signed in at the Gateway",
    State.OPENING: "the brokerage session is being opened",
    State.COMPETING: "another session of the same user holds the brokerage session",
    State.READY: "the session was lost",  # in the moment between a 401 and the look that explains it
}
HEALS = (State.STARTING, State.SILENT, State.OPENING, State.UNREACHABLE)
"""States that end by themselves when a maintenance window does; a login does not come back by itself."""


def down(view: View, told: Session | None = None) -> BridgeError:
    """The error that fits the session as it is, or as it was told.

    Args:
        view: what is known of the session.
        told: the session, where it was looked at for this call.
    """
    session = told or view.session
    hint = view.hint(session)
    if session.saw is Saw.DENIED:
        return GatewayDeniesUs("the Gateway answers Access Denied", retry_after=LOOK_AGAIN_IN)
    if session.state is State.UNREACHABLE:
        return GatewayUnreachable(DOWN[session.state], hint=hint, retry_after=LOOK_AGAIN_IN)
    end = view.maintenance_end
    if end is not None and session.state in HEALS:
        left = (end - view.utc()).total_seconds()
        return Maintenance(f"IBKR maintenance until {end:%H:%M} UTC: {DOWN[session.state]}", retry_after=left)
    soon = session.state in (State.OPENING, State.STARTING)
    return SessionDown(DOWN[session.state], hint=hint, retry_after=SOON if soon else LOOK_AGAIN_IN)
