"""What every order of the story goes through, drawn from one number. Pure.

A fault does not follow its order about: it is set to work when its order begins, and meets whichever order comes next,
as trouble does. So the deck says how often each thing happens, and no two runs are alike in what happens to whom.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, TypeVar

T = TypeVar("T")
CHANGED_PRICE = 187.1
ACCOUNT = "DU1234567"
PLACING = r"/account/DU\d+/orders$"
REPLYING = r"/iserver/reply/"
CHANGING = r"/account/DU\d+/order/\d+$"
LISTING = r"/iserver/account/(orders(\?|$)|trades)"
KILL = "kill -9 of the bridge"


@dataclass(frozen=True)
class Trouble:
    """One sort of trouble: a fault of the simulator, how it is told, and how many of a thousand orders it meets."""

    name: str
    kind: str
    per_mille: float
    told: Mapping[str, Any] = field(default_factory=dict)
    lasts: float = 0.0
    """For what has to be ended: seconds on the bridge's clock."""
    cuts: bool = False
    """Whether the next order is carried out and its answer cut besides."""


def _at(path: str, **told: Any) -> dict[str, Any]:
    return {"path": path, "times": 1, **told}


EMPTY = {"path": r"/account/orders(\?|$)", "status": 200, "body": '{"orders":[],"snapshot":false}'}


def troubles(rate: float) -> tuple[Trouble, ...]:
    """Every sort there is.

    Args:
        rate: how many seconds of the simulator pass in one of the bridge's.
    """
    stuck, slow = 1.5 * rate, 0.3 * rate  # seconds of the simulator's
    return (
        Trouble("the Gateway's port closed for a moment", "refuse", 6, lasts=0.2),
        Trouble("cut, not carried out", "cut-before", 8, _at(PLACING)),
        Trouble("cut before the answer", "done-cut-before", 12, _at(PLACING)),
        Trouble("cut in the answer", "cut-in", 8, _at(PLACING)),
        Trouble("cut in an answer, not carried out", "cut-in", 4, _at(PLACING, done=False)),
        Trouble("no HTTP at all, carried out", "garble", 4, _at(PLACING, done=True)),
        Trouble("silence, not carried out", "silence", 6, _at(PLACING, seconds=stuck)),
        Trouble("silence, carried out", "done-silence", 6, _at(PLACING, seconds=stuck)),
        Trouble("half an answer, then silence", "die-in", 3, _at(PLACING)),
        Trouble("empty 503 after ten seconds", "timeout-503", 6, _at(PLACING)),
        Trouble("empty 503 after ten seconds, carried out", "done-timeout-503", 6, _at(PLACING)),
        Trouble("500 with a page, carried out", "html-500", 4, _at(PLACING, done=True)),
        Trouble("slow answer", "delay", 10, _at(PLACING, seconds=slow)),
        Trouble("late: sent when its sender has gone", "late", 6, _at(PLACING, seconds=1.3 * rate)),
        Trouble("late: after it was given up", "late", 3, _at(PLACING, seconds=4.6 * rate)),
        Trouble("Gateway restarts, not carried out", "restart-during", 4, _at(PLACING)),
        Trouble("Gateway restarts, carried out", "done-restart-during", 5, _at(PLACING)),
        Trouble("Gateway restarts in between", "restart", 3),
        Trouble("brokerage session lost, not carried out", "lost-during", 3, _at(PLACING)),
        Trouble("brokerage session lost, carried out", "done-lost-during", 4, _at(PLACING)),
        Trouble("brokerage session lost in between", "brokerage-lost", 3),
        Trouble("IBKR down for a moment", "ibkr-down", 2, lasts=0.4),
        Trouble("a confirmation cut, carried out", "done-cut-before", 6, _at(REPLYING)),
        Trouble("a confirmation cut, not carried out", "cut-before", 4, _at(REPLYING)),
        Trouble("silence after a confirmation, carried out", "done-silence", 3, _at(REPLYING, seconds=stuck)),
        Trouble("a cancel or change cut, carried out", "done-cut-before", 6, _at(CHANGING)),
        Trouble("a cancel or change cut, not carried out", "cut-before", 4, _at(CHANGING)),
        Trouble("silence after a cancel or change, carried out", "done-silence", 2, _at(CHANGING, seconds=stuck)),
        Trouble("a late cancel or change", "late", 3, _at(CHANGING, seconds=1.3 * rate)),
        Trouble("a prompt instead of an answer", "prompt", 5, _at(PLACING)),
        Trouble("a list with an error inside", "hidden-error", 5, _at(LISTING)),
        Trouble("a list answered 503", "empty-503", 5, _at(LISTING)),
        Trouble("cut before the answer, and a list that stays empty", "status", 3, EMPTY, lasts=6.0, cuts=True),
        Trouble("a list cut short", "cut-in", 5, _at(LISTING)),
    )


class Caller(Enum):
    """Who places an order."""

    ONCE = "asks once"
    HASTY = "may hang up, and never comes back"
    AGAIN = "may hang up, and sends the same bytes again when unanswered"
    KEYED = "the same with an Idempotency-Key, and when told `unknown`"
    NAMED = "the same with a cOID of its own"


class Ticket(Enum):
    """What is placed, and what IBKR says to it."""

    PLAIN = "taken at once"
    MARKET = "filled at once"
    ASKED = "one question"
    ASKED_TWICE = "two questions, one after the other"
    BRACKET = "a parent and its two children"
    ORPHAN = "turned down: a child whose parent IBKR does not know; it has no name of its own"
    WRONG = "turned down: no ticket that IBKR can read"


class Yes(Enum):
    """How questions are answered."""

    BEFOREHAND = "confirmed by X-Bridge-Confirm"
    IN_PART = "confirmed by X-Bridge-Confirm, the first of them alone"
    REPLIES = "confirmed by reply"
    NO = "declined by reply"
    SILENCE = "left unanswered"


class Then(Enum):
    """What a caller does with an order that was placed."""

    NOTHING = "left as it is"
    CANCEL = "cancelled"
    CHANGE = "changed"


CALLERS = {Caller.ONCE: 30, Caller.HASTY: 15, Caller.AGAIN: 20, Caller.KEYED: 20, Caller.NAMED: 15}
TICKETS = {
    Ticket.PLAIN: 62,
    Ticket.MARKET: 12,
    Ticket.ASKED: 9,
    Ticket.ASKED_TWICE: 9,
    Ticket.BRACKET: 4,
    Ticket.ORPHAN: 2,
    Ticket.WRONG: 2,
}
THEN = {Then.NOTHING: 80, Then.CANCEL: 12, Then.CHANGE: 8}
ANSWERS = {Yes.BEFOREHAND: 50, Yes.IN_PART: 10, Yes.REPLIES: 25, Yes.NO: 10, Yes.SILENCE: 5}
LEAVES = {  # seconds until a caller hangs up at the latest, between these two; and whether it does so at IBKR's sight
    "at once": (0.0, 0.04, False),
    "when IBKR has the order": (1.2, 4.0, True),
    "after a moment": (0.2, 1.2, False),
    "in the end": (1.2, 4.0, False),
}
HASTE = {"at once": 15, "when IBKR has the order": 25, "after a moment": 20, "in the end": 40}
CALM = {"in the end": 1}
QUESTIONS = {Ticket.ASKED: ("o383",), Ticket.ASKED_TWICE: ("o163", "o383")}


@dataclass(frozen=True)
class Plan:
    """One logical order: placed at most once, whatever its caller does."""

    number: int
    tag: str
    """In the ticket's `referrer`, which the simulator's book keeps."""
    caller: Caller
    ticket: Ticket
    yes: Yes
    max_wait_s: float
    """Seconds until the caller hangs up, the first time."""
    leaves_at_ibkr: bool
    """Whether it hangs up, the first time, as soon as the order has reached IBKR."""
    waits: bool
    """Whether it sends X-Bridge-Wait."""
    then: Then = Then.NOTHING
    trouble: Trouble | None = None
    killed_after: float | None = None
    """Seconds from its beginning to the bridge's end."""

    @property
    def is_confirmed(self) -> bool:
        """Whether anybody ever says yes to all its questions."""
        asked = QUESTIONS.get(self.ticket, ())
        partly = self.yes is Yes.IN_PART and len(asked) == 1
        return not asked or partly or self.yes in (Yes.BEFOREHAND, Yes.REPLIES)

    @property
    def coid(self) -> str:
        """Its own name at IBKR, `""` where the bridge is to give one; a bracket's children need one to point to."""
        return f"own-{self.tag}" if self.caller is Caller.NAMED or self.ticket is Ticket.BRACKET else ""

    @property
    def body(self) -> dict[str, Any]:
        """What is posted."""
        return {"orders": self._tickets}

    @property
    def changed(self) -> dict[str, Any]:
        """Its first ticket as it is to be changed: the price alone."""
        return self._tickets[0] | {"price": CHANGED_PRICE}

    @property
    def headers(self) -> dict[str, str]:
        """What the request says besides."""
        asked = QUESTIONS.get(self.ticket, ())
        listed = {Yes.BEFOREHAND: asked, Yes.IN_PART: asked[:1]}.get(self.yes, ())
        keyed = {"Idempotency-Key": f"key-{self.tag}"} if self.caller is Caller.KEYED else {}
        confirmed = {"X-Bridge-Confirm": ",".join(listed)} if listed else {}
        return {**keyed, **confirmed, **({"X-Bridge-Wait": "4"} if self.waits else {})}

    @property
    def _tickets(self) -> list[dict[str, Any]]:
        first = {"acctId": ACCOUNT, "conid": 265598, "orderType": "LMT", "side": "BUY", "tif": "DAY", "price": 187.0}
        first |= {"quantity": 1 + self.number % 400, "referrer": self.tag}
        first |= {"cOID": self.coid} if self.coid and self.ticket is not Ticket.ORPHAN else {}
        if self.ticket is Ticket.BRACKET:
            child = first | {"side": "SELL", "parentId": self.coid}
            del child["cOID"]
            up, down = {"price": 196.0, "referrer": f"{self.tag}/up"}, {"price": 195.0, "referrer": f"{self.tag}/down"}
            return [first, child | up, child | down]
        return [first | SHAPES.get(self.ticket, {})]


SHAPES: Mapping[Ticket, dict[str, Any]] = {
    Ticket.MARKET: {"orderType": "MKT"},
    Ticket.ASKED: {"quantity": 600},
    Ticket.ASKED_TWICE: {"quantity": 600, "price": 150.0},
    Ticket.ORPHAN: {"parentId": "nobody", "orderType": "MKT", "conid": 900_000_001},  # nothing like it is ever placed
    Ticket.WRONG: {"side": "buy"},
}


def plans(orders: int, seed: int, rate: float, kills: int) -> list[Plan]:
    """So many orders; every sort of trouble meets at least one of them, and the bridge is killed so many times."""
    dice = random.Random(seed)  # noqa: S311  # the same story again, not a secret
    deck: list[Trouble | None] = [
        each for each in troubles(rate) for _ in range(max(1, round(each.per_mille * orders / 1000)))
    ]
    deck += [None] * (orders - len(deck))
    dice.shuffle(deck)
    ends = set(dice.sample(range(orders), kills))
    return [_plan(dice, seed, number, deck[number], number in ends) for number in range(orders)]


def _plan(dice: random.Random, seed: int, number: int, trouble: Trouble | None, is_killed: bool) -> Plan:
    caller, ticket, then = _drawn(dice, CALLERS), _drawn(dice, TICKETS), _drawn(dice, THEN)
    where = trouble.told.get("path") if trouble is not None else None
    if where == REPLYING:
        ticket = Ticket.ASKED
    if where == CHANGING:  # it has to be placed before anything can be changed
        caller, ticket, then = Caller.ONCE, Ticket.PLAIN, dice.choice((Then.CANCEL, Then.CHANGE))
    low, high, leaves_at_ibkr = LEAVES[_drawn(dice, HASTE if caller is not Caller.ONCE else CALM)]
    max_wait_s = dice.uniform(low, high)
    yes = _drawn(dice, ANSWERS)
    if where == REPLYING and yes in (Yes.SILENCE, Yes.NO):
        yes = Yes.BEFOREHAND
    killed_after = dice.uniform(0.0, 0.06) if is_killed else None
    waits, tag = dice.random() < 0.5, f"{seed}-{number}"
    return Plan(number, tag, caller, ticket, yes, max_wait_s, leaves_at_ibkr, waits, then, trouble, killed_after)


def _drawn(dice: random.Random, weights: Mapping[T, int]) -> T:
    return dice.choices(list(weights), list(weights.values()))[0]
