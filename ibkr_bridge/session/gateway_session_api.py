"""The session at the Client Portal Gateway: a person or IBeam signs in, and the bridge keeps what they began."""

from __future__ import annotations

from ibkr_bridge.session.backoff import GRACE_S
from ibkr_bridge.session.session_api import IbkrSessionApi, SessionUpstream
from ibkr_bridge.session.session_status import SessionHints
from ibkr_bridge.session.state_machine import Observation, SessionState

GATEWAY_HINTS = SessionHints(
    {
        Observation.SESSION: "nothing to do",
        Observation.ESTABLISHING: "wait a few seconds; IBKR is loading the accounts",
        Observation.LOGIN_ONLY: "wait a few seconds; the bridge is reopening the brokerage session",
        Observation.SESSION_UNUSABLE: "wait; IBKR reports a session but refuses brokerage calls, and the bridge "
        "requests the session again; if it lasts, sign in again at the Gateway",
        Observation.DISCONNECTED: "wait a few seconds; IBKR disconnected the brokerage session, and the bridge is "
        "reopening it; the login is alive",
        Observation.UNCLEAR: "wait; IBKR does not show whether the login is alive; if it lasts, sign in again",
        Observation.COMPETING: "sign out of TWS, IBKR Mobile or Client Portal with this user, or use another user",
        Observation.NO_LOGIN: "sign in at the Gateway: open its address in a browser, or start IBeam",
        Observation.NO_CONNECTION: "start the Gateway or IBeam, or correct IBKR_GATEWAY_URL",
        Observation.FORBIDDEN: "add the bridge's address to ips.allow in the Gateway's conf.yaml and restart it",
        Observation.TIMEOUT: "wait; the Gateway accepts calls and IBKR does not answer them: look at IBKR's system "
        "status page; a restart of the Gateway costs the login and helps only in the condition `gateway_stuck`",
        Observation.UNUSABLE_RESPONSE: "IBKR answers with errors; wait, and if it lasts, see its system status page",
        Observation.RATE_LIMITED: "IBKR limits this user's calls; wait",
    },
    yielding="the bridge leaves the session to the other program; the Gateway then logs itself out within 30 s, and "
    "IBeam, if it runs, signs in and competes: stop IBeam first, or set IBKR_COMPETE=reclaim",
    reclaims_exhausted="the bridge took the session back three times this hour and now leaves it to the other "
    "program: sign out there",
    openings_fail="the brokerage session did not open after several requests; usual causes: the login waits for an "
    "approval (look at IBKR Mobile), another login of this user is active (sign out there), or a permission or an "
    "agreement is missing (look at Client Portal); then sign in again at the Gateway",
    details={
        SessionState.UNREACHABLE: "there is no connection to the Gateway",
        SessionState.SILENT: "the Gateway sends no usable response",
        SessionState.SIGNED_OUT: "nobody is signed in at the Gateway",
    },
    forbidden="the Gateway answers Access Denied",
    needs_person=True,
)


class GatewaySessionApi(IbkrSessionApi):
    """The `SessionApi` of the Client Portal Gateway."""

    grace_s = GRACE_S

    def __init__(self, upstream: SessionUpstream) -> None:
        super().__init__(upstream, GATEWAY_HINTS)
