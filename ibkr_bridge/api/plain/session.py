"""`GET /session`: whether an app can read and trade now, and what its user can do if not."""

from __future__ import annotations

from collections.abc import Sequence

from aiohttp import web

from ibkr_bridge.api.plain.answers import answer
from ibkr_bridge.api.present_conditions import conditions_of
from ibkr_bridge.conditions import condition
from ibkr_bridge.errors import BridgeError
from ibkr_bridge.ibkr.endpoint import Effect
from ibkr_bridge.models.session import Action, ActionKind, Condition, Mode, Session
from ibkr_bridge.profiles.connection_steps import session_advice
from ibkr_bridge.profiles.profile import Profile
from ibkr_bridge.server.app_keys import REQUEST_CONTEXT, profile_of
from ibkr_bridge.server.user_messages import advice_on
from ibkr_bridge.session import state_machine
from ibkr_bridge.session.state_machine import SessionState
from ibkr_bridge.session.unavailable import unavailable_error

READY_MESSAGE = "Connected to Interactive Brokers."


async def get_session(request: web.Request) -> web.Response:
    """The session, checked within the last five seconds."""
    profile = profile_of(request)
    checked = await profile.keeper.current()
    principal = request[REQUEST_CONTEXT].principal
    may_trade = principal is not None and Effect.TRADE in principal.effects
    conditions = conditions_of(request, profile, checked)
    return answer(describe_session(profile, checked, conditions, may_trade=may_trade))


def describe_session(
    profile: Profile, checked: state_machine.Session, conditions: Sequence[condition.Condition], *, may_trade: bool
) -> Session:
    """The session for one caller.

    Args:
        checked: the session as it was last checked.
        conditions: what holds now.
        may_trade: whether the caller's key may trade.
    """
    is_ready = checked.state is SessionState.READY
    error = None if is_ready else unavailable_error(profile.keeper, checked)
    message, action = _message_and_action(profile, checked, error)
    is_stopped = any(each.stops for each in conditions)
    return Session(
        state=checked.state.value,
        ready=is_ready,
        mode=Mode(profile.settings.trading_mode.value),
        can_trade=is_ready and may_trade and not profile.settings.read_only and not is_stopped,
        since=profile.keeper.since,
        reason=checked.reason,
        message=message,
        action=action,
        retry_after=error.retry_after if error is not None else None,
        next_reset=profile.keeper.next_reset,
        conditions=[Condition(each.id, each.severity, each.since, each.text, each.do, each.url) for each in conditions],
    )


def _message_and_action(
    profile: Profile, checked: state_machine.Session, error: BridgeError | None
) -> tuple[str, Action]:
    if error is None:
        return READY_MESSAGE, Action(ActionKind.NONE, None)
    about_credential = session_advice(checked.state, checked.reason)
    if about_credential is not None:  # nothing is being restored: the user has to connect, or to wait for a night
        return about_credential.message, Action(ActionKind.NONE, None)
    advice = advice_on(error)
    url = str(profile.settings.gateway_url) if advice.kind is ActionKind.SIGN_IN else None
    return advice.user_message, Action(advice.kind, url)
