"""What IBKR sends without a request: who is signed in, the accounts, the brokerage session. Pure.

Each member of the session's status, `sts`, comes in a message of its own.
"""

from __future__ import annotations

from typing import Any

from ibkr_bridge.sim.market.accounts import describe_accounts
from ibkr_bridge.sim.market.feeds.feed import Message
from ibkr_bridge.sim.market.session_calls import NAME, SERVER
from ibkr_bridge.sim.market.world import World

WAITING_FOR_SESSION: Message = {"message": "waiting for session"}
"""The first message if nobody is signed in."""
SESSION_LOST: tuple[Message, ...] = ({"topic": "sts", "args": {"authenticated": False}},)
SESSION_TAKEN: tuple[Message, ...] = (*SESSION_LOST, {"topic": "sts", "args": {"competing": True}})


def greeting_messages(world: World, now: float) -> list[Message]:
    """The messages to a socket that opens while somebody is signed in."""
    is_authenticated = world.sessions.is_authenticated(now)
    members: dict[str, Any] = {"authenticated": is_authenticated, "competing": world.sessions.is_competing}
    members |= {"message": "", "fail": "", **SERVER, "username": NAME}
    success: Message = {"topic": "system", "success": NAME}
    return [
        success,
        *(_account_messages(world) if is_authenticated else ()),
        *(_status_message(key, value) for key, value in members.items()),
    ]


def session_opened_messages(world: World) -> list[Message]:
    """The messages to every socket when a brokerage session is authenticated."""
    return [_status_message("authenticated", True), _status_message("competing", False), *_account_messages(world)]


def _account_messages(world: World) -> list[Message]:
    return [{"topic": "act", "args": describe_accounts(world)}]


def _status_message(key: str, value: object) -> Message:
    return {"topic": "sts", "args": {key: value}}
