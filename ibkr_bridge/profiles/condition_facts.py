"""The facts of one profile from which its conditions are found."""

from __future__ import annotations

from datetime import datetime

from ibkr_bridge.conditions.condition import Condition, Found, write_condition
from ibkr_bridge.conditions.rules import ProfileFacts, profile_conditions
from ibkr_bridge.orders.journal.transitions import OrderState
from ibkr_bridge.profiles.profile import Profile
from ibkr_bridge.session.state_machine import Session, SessionState


def find_conditions(profile: Profile) -> list[Found]:
    """The conditions of a profile now."""
    return profile_conditions(facts_of(profile))


def facts_of(profile: Profile) -> ProfileFacts:
    """What is known of a profile now."""
    keeper, stream, journal = profile.keeper, profile.streaming.status(), profile.orders.status()
    needs_person = keeper.words.needs_person
    slots, penalty = profile.admission.status(profile.upstream.abandoned).slots, profile.penalty_box.status()
    return ProfileFacts(
        now=keeper.utc(),
        reason=keeper.session.reason,
        session_since=keeper.since,
        hint=keeper.hint(),
        is_alone=not needs_person,
        losses=profile.session_losses.last_hour,
        maintenance_until=keeper.maintenance_end,
        login_ends=keeper.next_reset if needs_person and keeper.session.has_login else None,
        remind_before=profile.settings.remind_before,
        ghost_calls=slots.ghost_calls,
        slots=slots.total,
        penalty_s=penalty.box_s,
        closed_paths=tuple(penalty.endpoints),
        paused_by=profile.trading_pause.by,
        paused_since=profile.trading_pause.since,
        journal_problem=journal.problem,
        unknown_orders=journal.orders.get(OrderState.UNKNOWN.value, 0),
        has_question=journal.question is not None,
        is_stream_up=stream.up or not profile.upstream.traits.has_stream,
        stream_reason=stream.reason,
        stream_since=datetime.fromisoformat(stream.since),
        silent_topics=stream.silent_topics,
        clock_skew_s=stream.clock_skew_s or 0.0,
    )


def session_condition(profile: Profile, checked: Session) -> Condition | None:
    """The condition of a session that was checked for one request; None if it is ready.

    It differs from the conditions of the board if the last good check is too old to be believed.
    """
    if checked.state is SessionState.READY:
        return None
    keeper = profile.keeper
    found = Found(checked.reason, None, {"hint": keeper.hint(checked)}, is_alone=not keeper.words.needs_person)
    return write_condition(found, profile.name, keeper.utc(), str(profile.settings.gateway_url))
