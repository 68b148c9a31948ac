"""The state of one connection, put together from the vault, the session and what runs in the background."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from ibkr_bridge.config.settings import RoadKind, Settings
from ibkr_bridge.oauth.credential import FIRST_PARTY
from ibkr_bridge.oauth.ibkr_pages import authorize_page, upload_page
from ibkr_bridge.profiles.connection_steps import Advice, ConnectionFacts, Step, step_of
from ibkr_bridge.profiles.credentials import KEY_MEMBERS, KEYS_ONLY, Stored
from ibkr_bridge.profiles.key_making import KeyJob
from ibkr_bridge.profiles.profile import Profile
from ibkr_bridge.profiles.request_tokens import RequestToken

GATEWAY = "gateway"
"""The kind of a connection that needs no credential."""
ON_UPLOAD_PAGE = (Step.UPLOAD, Step.ACTIVATING, Step.REFUSED)


@dataclass(frozen=True)
class ConnectionState:
    """How far a connection is."""

    step: Step
    advice: Advice
    kind: str | None
    """`GATEWAY` or the kind of the credential; None before anything is stored."""
    kinds: tuple[str, ...]
    """What can be begun."""
    page: str | None
    """The page for this step: IBKR's, or the Gateway's."""
    since: datetime
    next_try: datetime | None
    files: Mapping[str, str] = field(default_factory=dict)
    """The public files by name."""


def describe(
    profile: Profile,
    stored: Stored,
    vault_problem: str | None,
    kinds: tuple[str, ...],
    job: KeyJob | None,
    token: RequestToken | None,
    *,
    now: float,
) -> ConnectionState:
    """The state of a profile's connection.

    Args:
        stored: what the vault has.
        vault_problem: the reason of `NoCredential`, if it cannot be used.
        kinds: what can be begun.
        job: makes the keys, or could not.
        token: the connection waits for its user.
        now: seconds of the clock.
    """
    keeper, settings = profile.keeper, profile.settings
    step, advice = step_of(
        ConnectionFacts(
            road=settings.road,
            stored=stored.kind,
            vault_problem=vault_problem,
            is_making_keys=job is not None and job.is_running,
            key_problem=job.problem if job is not None else None,
            has_request_token=token is not None,
            state=keeper.session.state,
            reason=keeper.session.reason,
        )
    )
    kind = _kind(settings, stored)
    since = job.began if job is not None else keeper.since
    if token is not None:
        since = keeper.utc() - timedelta(seconds=now - token.made_at)
    next_try = keeper.next_access if step is Step.ACTIVATING else None
    page = _page(settings, step, kind, token)
    return ConnectionState(step, advice, kind, kinds, page, since, next_try, _public_files(kind, stored))


def _kind(settings: Settings, stored: Stored) -> str | None:
    if settings.road is RoadKind.GATEWAY:
        return GATEWAY
    return FIRST_PARTY if stored.kind == KEYS_ONLY else stored.kind


def _page(settings: Settings, step: Step, kind: str | None, token: RequestToken | None) -> str | None:
    if step is Step.AUTHORIZE:
        return authorize_page(settings.api_url, token.token) if token is not None else str(settings.gateway_url)
    return upload_page(settings.api_url) if kind == FIRST_PARTY and step in ON_UPLOAD_PAGE else None


def _public_files(kind: str | None, stored: Stored) -> dict[str, str]:
    """The public halves of the keys of a user's own."""
    keys = [text for name in KEY_MEMBERS if isinstance(text := stored.members.get(name), str)]
    if kind != FIRST_PARTY or len(keys) != len(KEY_MEMBERS):
        return {}
    from ibkr_bridge.oauth.new_keys import NewKeys  # loads cryptography

    try:
        return NewKeys(*keys).public_files
    except ValueError:  # imported keys are read only when they are used
        return {}
