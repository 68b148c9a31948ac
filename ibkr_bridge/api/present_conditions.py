"""The conditions that a request shows: of the bridge and of its profile, with the session as it was just checked."""

from __future__ import annotations

from aiohttp import web

from ibkr_bridge.conditions.condition import Condition
from ibkr_bridge.profiles.condition_facts import session_condition
from ibkr_bridge.profiles.profile import Profile
from ibkr_bridge.server.app_keys import CONDITIONS
from ibkr_bridge.session.state_machine import Session, SessionState


def conditions_of(request: web.Request, profile: Profile, checked: Session) -> tuple[Condition, ...]:
    """The conditions, the most important first.

    Args:
        checked: the session, as it was checked for this request.
    """
    present = request.app[CONDITIONS].current(profile.name)
    if checked.state is SessionState.READY or profile.keeper.session.state is not SessionState.READY:
        return present
    outdated = session_condition(profile, checked)  # the last good check is too old to be believed
    return (outdated, *present) if outdated is not None else present
