"""The session, as an app shows it to its user, and what a user may do about a failure."""

from __future__ import annotations

from enum import Enum
from typing import Annotated

from msgspec import Meta

from ibkr_bridge.models.base import Model, UtcTime


class ActionKind(Enum):
    """What a user can do."""

    SIGN_IN = "sign_in"  # sign in at the page of `url`
    RETRY = "retry"  # send the same request again
    WAIT = "wait"  # nothing: it ends by itself
    NONE = "none"  # nothing that helps


class Action(Model, frozen=True):
    """What a user can do now."""

    kind: ActionKind
    url: Annotated[str | None, Meta(description="The page at which to sign in; null for every other kind.")]


class Mode(Enum):
    """Which accounts may trade."""

    PAPER = "paper"
    LIVE = "live"


class Condition(Model, frozen=True):
    """Something that a person may have to know now."""

    id: Annotated[str, Meta(description="What it is, as a code.")]
    severity: Annotated[str, Meta(description="`critical`, `warning` or `notice`.")]
    since: UtcTime
    text: Annotated[str, Meta(description="What is the case, for an operator.")]
    do: Annotated[str, Meta(description="What the operator should do.")]
    url: Annotated[str | None, Meta(description="Where to do it; null if there is no such place.")]


class Session(Model, frozen=True):
    """The session at IBKR, checked within the last five seconds."""

    state: Annotated[str, Meta(description="State of the session; `ready` alone lets brokerage calls through.")]
    ready: Annotated[bool, Meta(description="Whether quotes and orders work now.")]
    mode: Mode
    can_trade: Annotated[bool, Meta(description="Whether this key could place an order now.")]
    since: Annotated[UtcTime, Meta(description="When the session came into this state.")]
    reason: Annotated[str, Meta(description="Why it is in this state, as a code.")]
    message: Annotated[str, Meta(description="A sentence that an app may show to its user.")]
    action: Action
    retry_after: Annotated[
        float | None, Meta(description="Seconds after which to ask again; null while the session is ready.")
    ]
    next_reset: Annotated[UtcTime, Meta(description="When IBKR next ends every login.")]
    conditions: Annotated[list[Condition], Meta(description="What an operator may have to know, first things first.")]
