"""What a person should do about the session of a profile that reaches IBKR without a Gateway."""

from __future__ import annotations

from ibkr_bridge.session.session_status import SessionHints
from ibkr_bridge.session.state_machine import Observation, SessionState

MAKE_ANEW = "generate the access token anew on IBKR's page, keep the keys, and import the credential again"
OAUTH_HINTS = SessionHints(
    {
        Observation.SESSION: "nothing to do",
        Observation.ESTABLISHING: "wait a few seconds; IBKR is loading the accounts",
        Observation.LOGIN_ONLY: "wait a few seconds; the bridge is reopening the brokerage session",
        Observation.SESSION_UNUSABLE: "wait; IBKR reports a session but refuses brokerage calls, and the bridge "
        "requests the session again",
        Observation.DISCONNECTED: "wait a few seconds; IBKR disconnected the brokerage session, and the bridge is "
        "reopening it",
        Observation.UNCLEAR: "wait; IBKR does not show whether the session is alive",
        Observation.COMPETING: "sign out of TWS, IBKR Mobile or Client Portal with this user, or use another user",
        Observation.NO_LOGIN: "wait; the bridge makes a new session itself. If it lasts, compare the clock of this "
        "machine with a good one, and look for another program that uses the same access token; after a sign-out the "
        "command reconnect signs in again",
        Observation.ACTIVATING: "wait, and change nothing: IBKR takes over a new consumer key after its nightly "
        "reset, or only after the weekend; every change begins that time anew. If it lasts two weeks, compare the "
        "consumer key with IBKR's page",
        Observation.CREDENTIAL_REFUSED: "compare the keys with those that were uploaded, and that the two were not "
        "swapped (profile check); keys that were changed count after IBKR's nightly reset; the bridge asks again once "
        "an hour",
        Observation.SECRET_LOST: MAKE_ANEW,
        Observation.REVOKED: f"somebody deleted the token or switched OAuth access off, or IBKR lost it: {MAKE_ANEW}",
        Observation.MISMATCH: "use the very file of DH parameters that was uploaded (profile check); if it is that "
        "file, somebody may be between this machine and IBKR",
        Observation.VAULT_LOCKED: "see that the file of keys is where IBKR_BRIDGE_VAULT_KEYS says, with every key that "
        "is in use (vault check); the bridge looks again once a minute",
        Observation.CREDENTIAL_MISSING: "import the tokens that IBKR's page shows (profile import)",
        Observation.CREDENTIAL_UNREADABLE: "the stored credential was changed or belongs elsewhere: look at vault "
        "check, and import it again (profile import)",
        Observation.NO_CONNECTION: "check this machine's connection to the Internet and IBKR_BRIDGE_API_URL",
        Observation.FORBIDDEN: "stop other programs at this address that call IBKR, and wait some minutes",
        Observation.TIMEOUT: "wait; IBKR does not answer: look at its system status page",
        Observation.UNUSABLE_RESPONSE: "IBKR answers with errors; wait, and if it lasts, see its system status page",
        Observation.RATE_LIMITED: "IBKR limits the calls of this address; wait",
    },
    yielding="the bridge leaves the session to the other program, as IBKR_COMPETE=yield says",
    reclaims_exhausted="the bridge took the session back three times this hour and now leaves it to the other "
    "program: sign out there",
    openings_fail="the brokerage session did not open after several requests; usual causes: another login of this "
    "user is active (sign out there), the user or the account is new or not approved yet (wait a day), or an agreement "
    "is missing (look at Client Portal); the bridge requests it once an hour, and at once with the command reconnect",
    details={
        SessionState.UNREACHABLE: "there is no connection to IBKR's Web API",
        SessionState.SILENT: "IBKR's Web API sends no usable response",
        SessionState.SIGNED_OUT: "there is no session at IBKR",
    },
    refused_hint="send it once more: the access to IBKR may just have been renewed; if it is refused again, this user "
    "may lack the permission or subscription for this call",
    forbidden="IBKR's Web API refuses the address of this machine",
    forbidden_hint="stop other programs at this address that call IBKR, and wait some minutes",
)
