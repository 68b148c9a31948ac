"""What IBKR says unasked: who is signed in, the accounts, how the brokerage session is. Pure.

Each thing it says of the session, `sts`, comes in a message of its own.
"""

from __future__ import annotations

from typing import Any

from ibkr_bridge.sim.market.accounts import described
from ibkr_bridge.sim.market.feeds.feed import Message
from ibkr_bridge.sim.market.session_calls import NAME, SERVER
from ibkr_bridge.sim.market.world import World

WAITING: Message = {"message": "waiting for session"}
"""The first word where nobody is signed in."""
LOST: tuple[Message, ...] = ({"topic": "sts", "args": {"authenticated": False}},)
TAKEN: tuple[Message, ...] = (*LOST, {"topic": "sts", "args": {"competing": True}})


def greeting(world: World, now: float) -> list[Message]:
    """What a socket hears when it opens, where somebody is signed in."""
    stands = world.sessions.is_authenticated(now)
    told: dict[str, Any] = {"authenticated": stands, "competing": world.sessions.competing}
    told |= {"message": "", "fail": "", **SERVER, "username": NAME}
    success: Message = {"topic": "system", "success": NAME}
    return [success, *(_accounts(world) if stands else ()), *(_status(key, value) for key, value in told.items())]


def standing(world: World) -> list[Message]:
    """What every socket hears when the brokerage session stands again."""
    return [_status("authenticated", True), _status("competing", False), *_accounts(world)]


def _accounts(world: World) -> list[Message]:
    return [{"topic": "act", "args": described(world)}]


def _status(key: str, value: object) -> Message:
    return {"topic": "sts", "args": {key: value}}
