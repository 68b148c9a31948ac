"""How far a user is who connects to IBKR, and what he should do now. Pure.

The texts are for the user of an app, who has never heard of the bridge. The first rule that holds gives the step.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum

from ibkr_bridge.config.settings import RoadKind
from ibkr_bridge.profiles.credentials import KEYS_ONLY
from ibkr_bridge.session.state_machine import SessionState


class Step(Enum):
    """The steps, in the order in which a user meets them."""

    NOT_BEGUN = "not_begun"
    MAKING_KEYS = "making_keys"  # self-service
    UPLOAD = "upload"  # self-service: the user is on IBKR's page
    AUTHORIZE = "authorize"  # third party: the user is on IBKR's page
    SIGNING_IN = "signing_in"
    ACTIVATING = "activating"  # IBKR takes new keys over after a night
    REFUSED = "refused"
    CONNECTED = "connected"


@dataclass(frozen=True)
class ConnectionFacts:
    """What the rules look at."""

    road: RoadKind
    stored: str | None
    """The kind of what the vault has; None if it has nothing."""
    vault_problem: str | None
    """The reason of `NoCredential`, if the vault cannot be used."""
    is_making_keys: bool
    key_problem: str | None
    """Why the keys could not be made, in words for an operator."""
    has_request_token: bool
    state: SessionState
    reason: str
    """Of the session."""

    @property
    def has_credential(self) -> bool:
        """Whether there is all that a sign-in needs."""
        return self.road is RoadKind.GATEWAY or self.stored not in (None, KEYS_ONLY)


@dataclass(frozen=True)
class Advice:
    """What is the case, and what the user should do."""

    message: str
    todo: str


@dataclass(frozen=True)
class Rule:
    """A step, when it is reached, and what to say then."""

    step: Step
    holds: Callable[[ConnectionFacts], bool]
    advice: Callable[[ConnectionFacts], Advice]


OPERATOR = "Tell whoever runs this app"
MAKE_ANEW = (
    "Make a new access token on the page of Interactive Brokers, keep the keys, and enter token and secret here."
)
REFUSALS: Mapping[str, Advice] = {
    "credential_refused": Advice(
        "Interactive Brokers refuses the keys.",
        "Compare the files with those that you uploaded: the two keys are easily swapped. Keys that you have just "
        "changed count after a night.",
    ),
    "secret_lost": Advice("Interactive Brokers has no secret for your access token.", MAKE_ANEW),
    "revoked": Advice("Somebody ended the access of this app at Interactive Brokers.", MAKE_ANEW),
    "mismatch": Advice(
        "Interactive Brokers has another file of Diffie-Hellman parameters.",
        "Upload the file dhparam.pem of this page.",
    ),
    "vault_locked": Advice("Your connection cannot be opened at the moment.", f"{OPERATOR}: the vault is locked."),
    "credential_unreadable": Advice(
        "Your connection cannot be opened.", f"{OPERATOR}: the stored credential cannot be read."
    ),
    "gateway_forbidden": Advice("Interactive Brokers refuses this server.", f"{OPERATOR}, and wait some minutes."),
}
"""By the reason of the session, or of the vault."""
NOT_CONNECTED = Advice("Interactive Brokers is not connected.", "Begin the connection.")
ACTIVATING = Advice(
    "Interactive Brokers has not taken your keys over yet. It does so at night, at times only at the weekend.",
    "Wait, and change nothing on the page of Interactive Brokers: every change begins that time anew.",
)
SIGNING_IN = Advice("The connection is signing in at Interactive Brokers.", "Wait a few seconds.")
WAITING: Mapping[str, Advice] = {
    "competing": Advice(
        "You are signed in somewhere else with the same username.", "Sign out of TWS, IBKR Mobile and Client Portal."
    ),
    "gateway_unreachable": Advice("Interactive Brokers cannot be reached.", "Wait: it is tried again and again."),
    "gateway_timeout": Advice("Interactive Brokers does not answer.", "Wait: it is tried again and again."),
    "rate_limited": Advice("Interactive Brokers accepts no requests for some minutes.", "Wait."),
    "maintenance": Advice("Interactive Brokers is under maintenance.", "Wait."),
}


def _said(message: str, todo: str) -> Callable[[ConnectionFacts], Advice]:
    return lambda _: Advice(message, todo)


def _is_gateway_signed_out(facts: ConnectionFacts) -> bool:
    return facts.road is RoadKind.GATEWAY and facts.state is SessionState.SIGNED_OUT


RULES: tuple[Rule, ...] = (
    Rule(
        Step.AUTHORIZE,
        lambda facts: facts.has_request_token or _is_gateway_signed_out(facts),
        _said("Interactive Brokers asks you to sign in and agree.", "Go on at the page of Interactive Brokers."),
    ),
    Rule(
        Step.MAKING_KEYS,
        lambda facts: facts.is_making_keys,
        _said("Your keys are being made.", "Wait: this takes about a minute."),
    ),
    Rule(
        Step.REFUSED,
        lambda facts: facts.vault_problem is not None,
        lambda facts: REFUSALS.get(facts.vault_problem or "", REFUSALS["credential_unreadable"]),
    ),
    Rule(
        Step.REFUSED,
        lambda facts: facts.key_problem is not None and not facts.has_credential,
        lambda facts: Advice("Your keys could not be made.", f"{OPERATOR}: {facts.key_problem}."),
    ),
    Rule(
        Step.UPLOAD,
        lambda facts: facts.stored == KEYS_ONLY,
        _said(
            "Your keys are ready.",
            "Upload the three files on the page of Interactive Brokers, choose a consumer key of nine letters, and "
            "enter the access token and its secret here.",
        ),
    ),
    Rule(
        Step.NOT_BEGUN,
        lambda facts: not facts.has_credential,
        lambda _: NOT_CONNECTED,
    ),
    Rule(
        Step.CONNECTED,
        lambda facts: facts.state is SessionState.READY,
        _said("Interactive Brokers is connected.", "There is nothing to do."),
    ),
    Rule(
        Step.ACTIVATING,
        lambda facts: facts.state is SessionState.ACTIVATING,
        lambda _: ACTIVATING,
    ),
    Rule(Step.REFUSED, lambda facts: facts.reason in REFUSALS, lambda facts: REFUSALS[facts.reason]),
    Rule(Step.SIGNING_IN, lambda _: True, lambda facts: WAITING.get(facts.reason, SIGNING_IN)),
)
"""The last rule always holds."""


def step_of(facts: ConnectionFacts) -> tuple[Step, Advice]:
    """The step that a user has reached, and what to say to him."""
    rule = next(rule for rule in RULES if rule.holds(facts))
    return rule.step, rule.advice(facts)


ABOUT_CREDENTIAL: Mapping[str, Advice] = {
    **REFUSALS,
    "credential_missing": NOT_CONNECTED,
    "activating": ACTIVATING,
}
"""What to say of a session that fails for its credential, by its reason."""


def session_advice(state: SessionState, reason: str) -> Advice | None:
    """What to say of a session that has no access with its credential; None for any other."""
    is_about_credential = state in (SessionState.ACTIVATING, SessionState.CREDENTIAL_REFUSED)
    return ABOUT_CREDENTIAL.get(reason) if is_about_credential else None
