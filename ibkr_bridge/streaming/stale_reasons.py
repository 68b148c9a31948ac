"""All reasons of the event `stale`, each with a text for a person. Pure.

A reason is a code, which programs switch on. Some are the feed's own, some are codes of the session or of a websocket
that could not be opened; those are repeated here, since the text says what they mean for a stream.
"""

from __future__ import annotations

from collections.abc import Mapping

STREAM_TIMEOUT, STREAM_DISCONNECTED, SESSION_LOST = "stream_timeout", "stream_disconnected", "brokerage_lost"
TOPIC_SILENT, NO_STREAM = "topic_silent", "no_stream"
UNKNOWN_REASON_TEXT = "The source is lost. The data is old until `fresh` comes."

# fmt: off
STALE_REASONS: Mapping[str, str] = {
    # the feed and its topics
    TOPIC_SILENT:             "IBKR does not answer the request for this one topic. All other topics go on.",
    STREAM_TIMEOUT:           "IBKR sends nothing on the websocket. The bridge opens another one.",
    STREAM_DISCONNECTED:      "The websocket to IBKR ended. The bridge opens another one.",
    NO_STREAM:                "This profile is portfolio only and has no stream. Read the portfolio instead.",
    # the session
    "starting":               "The bridge has just started and has not checked the session yet.",
    "establishing":           "IBKR is still opening the brokerage session.",
    SESSION_LOST:             "The brokerage session is lost. The bridge requests it again.",
    "brokerage_disconnected": "IBKR disconnected the brokerage session. The bridge requests it again.",
    "brokerage_unusable":     "IBKR reports a session but refuses its calls. The bridge requests it again.",
    "login_unclear":          "IBKR does not show whether the login is still valid.",
    "competing":              "Another program uses the same IBKR username and has the brokerage session.",
    "signed_out":             "Nobody is signed in. At a Gateway a person or IBeam must sign in; else the bridge does.",
    "activating":             "IBKR does not know the consumer key of this profile yet.",
    "credential_refused":     "IBKR gives no access with the credential of this profile. A person must correct it.",
    "secret_lost":            "IBKR has no secret for the access token of this profile. A person must make another.",
    "revoked":                "IBKR no longer knows the access token of this profile. A person must make another.",
    "mismatch":               "The handshake with IBKR gave two different tokens. A person must find out why.",
    "vault_locked":           "The key that opens the credential of this profile is missing.",
    "credential_missing":     "No complete credential was imported for this profile.",
    "credential_unreadable":  "The stored credential of this profile cannot be opened.",
    "ibkr_unavailable":       "IBKR answers the check of the session with an error, as in its maintenance.",
    "rate_limited":           "IBKR refuses the check of the session for now, since there were too many calls.",
    # the way to IBKR: of the session, and of a websocket that cannot be opened
    "gateway_unreachable":    "No connection to the Gateway, or to IBKR, is possible.",
    "gateway_forbidden":      "The Gateway, or IBKR, does not accept calls from the bridge's address.",
    "gateway_timeout":        "The Gateway, or IBKR, accepts connections and does not answer.",
    "gateway_protocol_error": "The Gateway's answer is not what the protocol demands.",
}
# fmt: on


def stale_text(reason: str) -> str:
    """The text for a person."""
    return STALE_REASONS.get(reason, UNKNOWN_REASON_TEXT)
