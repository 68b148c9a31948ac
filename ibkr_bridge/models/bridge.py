"""The bridge itself: whether it runs, the trading pause, and tokens for pages."""

from __future__ import annotations

from enum import Enum
from typing import Annotated

from msgspec import UNSET, Meta, UnsetType

from ibkr_bridge.models.base import Model, RequestModel, UtcTime


class Health(Model, frozen=True):
    """Whether the process can serve."""

    status: Annotated[str, Meta(description="`ok`, or `stopping` while the process ends.")]
    bridge: Annotated[str, Meta(description="`running`, or `draining` while the process ends.")]


class AuthStatus(Model, frozen=True):
    """Whether the brokerage session is open. The members after the first one are sent only if they say something."""

    authenticated: Annotated[bool, Meta(description="Whether the brokerage session is open.")]
    reason: Annotated[str | UnsetType, Meta(description="Why it is not open, as a code.")] = UNSET
    hint: Annotated[str | UnsetType, Meta(description="What a person should do now.")] = UNSET
    since: Annotated[UtcTime | UnsetType, Meta(description="When the session came into this state.")] = UNSET
    ibkr_message: Annotated[
        str | UnsetType, Meta(description="IBKR's own words about the session; only with `verbose=1`.")
    ] = UNSET


class PausedTrading(Model, frozen=True, rename={"is_saved": "kept"}):
    """New orders are stopped."""

    paused: bool
    by: Annotated[str, Meta(description="Who stopped them.")]
    since: Annotated[str | None, Meta(description="When they were stopped; null if the pause file cannot be read.")]
    is_saved: Annotated[bool, Meta(description="Whether the pause will survive a restart.")]


class ResumedTrading(Model, frozen=True, rename={"is_saved": "kept"}):
    """New orders are allowed."""

    paused: bool
    is_saved: Annotated[bool, Meta(description="Whether this will survive a restart.")]


class Scope(Enum):
    """What a token allows."""

    READ = "read"
    TRADE = "trade"  # everything that the full key may do


class Audience(Enum):
    """What a token opens."""

    API = "api"
    PAGE = "page"  # the operator's page at /, and nothing of the API


class TokenOptions(RequestModel, frozen=True):
    """What a token is requested for. An empty body requests the defaults."""

    scope: Scope = Scope.READ
    expires_in: Annotated[int, Meta(description="Seconds.", ge=1, le=86_400)] = 1800
    audience: Audience = Audience.API


class IssuedToken(Model, frozen=True):
    """A token for a page."""

    token: Annotated[str, Meta(description="Send it as `Authorization: Bearer …`, or as `token` in the query.")]
    token_type: Annotated[str, Meta(description="Always `Bearer`.")]
    expires_in: Annotated[int, Meta(description="Seconds.")]
    expires: UtcTime
    scope: Scope
