"""The plan of every order of the bench, drawn at random from one seed. Pure.

A trouble does not belong to its order: its fault is set up when the order begins and hits the next matching call,
whichever order that is for, as real faults do. So the plans decide how often each trouble occurs, but two runs differ
in which orders it hits.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any, TypeVar

T = TypeVar("T")
CHANGED_PRICE = 187.1
ACCOUNT = "DU1234567"
PLACEMENT_PATH = r"/account/DU\d+/orders$"
REPLY_PATH = r"/iserver/reply/"
CHANGE_PATH = r"/account/DU\d+/order/\d+$"
LIST_PATH = r"/iserver/account/(orders(\?|$)|trades)"
KILL = "kill -9 of the bridge"
HANDED_OVER = ("before", "after")
"""A kill in the step in which the bytes of an order are handed over to the kernel: just before it, or just after it."""
MAX_KILL_DELAY_S = 0.06


@dataclass(frozen=True)
class Trouble:
    """One kind of trouble: a fault of the simulator, its options, and how many of a thousand orders set it up."""

    name: str
    kind: str
    per_mille: float
    options: Mapping[str, Any] = field(default_factory=dict)
    duration_s: float = 0.0
    """For a fault that does not end by itself: after how many real seconds it is ended."""
    cuts_next_placement: bool = False
    """Whether, in addition, IBKR executes the next order and the connection is cut before the response."""


def _once(path: str, **options: Any) -> dict[str, Any]:
    return {"path": path, "times": 1, **options}


EMPTY_LIST = {"path": r"/account/orders(\?|$)", "status": 200, "body": '{"orders":[],"snapshot":false}'}


def make_troubles(clock_rate: float) -> tuple[Trouble, ...]:
    """Return every kind of trouble.

    Args:
        clock_rate: seconds of the simulator in one real second.
    """
    silent_s, slow_s, late_s = 1.5 * clock_rate, 0.3 * clock_rate, 1.3 * clock_rate  # seconds of the simulator
    very_late_s = 4.6 * clock_rate  # the bridge has recorded the order as not placed by then
    return (
        Trouble("the Gateway's port is closed for a moment", "refuse", 6, duration_s=0.2),
        Trouble("connection cut, not executed", "cut-before", 8, _once(PLACEMENT_PATH)),
        Trouble("connection cut before the response, executed", "done-cut-before", 12, _once(PLACEMENT_PATH)),
        Trouble("connection cut within the response, executed", "cut-in", 8, _once(PLACEMENT_PATH)),
        Trouble("connection cut within a response, not executed", "cut-in", 4, _once(PLACEMENT_PATH, done=False)),
        Trouble("response is not HTTP, executed", "garble", 4, _once(PLACEMENT_PATH, done=True)),
        Trouble("no response, not executed", "silence", 6, _once(PLACEMENT_PATH, seconds=silent_s)),
        Trouble("no response, executed", "done-silence", 6, _once(PLACEMENT_PATH, seconds=silent_s)),
        Trouble("half a response, then nothing", "die-in", 3, _once(PLACEMENT_PATH)),
        Trouble("empty 503 after ten seconds, not executed", "timeout-503", 6, _once(PLACEMENT_PATH)),
        Trouble("empty 503 after ten seconds, executed", "done-timeout-503", 6, _once(PLACEMENT_PATH)),
        Trouble("500 with an HTML page, executed", "html-500", 4, _once(PLACEMENT_PATH, done=True)),
        Trouble("slow response", "delay", 10, _once(PLACEMENT_PATH, seconds=slow_s)),
        Trouble("order sent on after its caller has left", "late", 6, _once(PLACEMENT_PATH, seconds=late_s)),
        Trouble("order sent on after it was given up", "late", 3, _once(PLACEMENT_PATH, seconds=very_late_s)),
        Trouble("Gateway restarts during an order, not executed", "restart-during", 4, _once(PLACEMENT_PATH)),
        Trouble("Gateway restarts during an order, executed", "done-restart-during", 5, _once(PLACEMENT_PATH)),
        Trouble("Gateway restarts between orders", "restart", 3),
        Trouble("brokerage session lost during an order, not executed", "lost-during", 3, _once(PLACEMENT_PATH)),
        Trouble("brokerage session lost during an order, executed", "done-lost-during", 4, _once(PLACEMENT_PATH)),
        Trouble("brokerage session lost between orders", "brokerage-lost", 3),
        Trouble("IBKR is unreachable for a moment", "ibkr-down", 2, duration_s=0.4),
        Trouble("confirmation: connection cut, executed", "done-cut-before", 6, _once(REPLY_PATH)),
        Trouble("confirmation: connection cut, not executed", "cut-before", 4, _once(REPLY_PATH)),
        Trouble("confirmation: no response, executed", "done-silence", 3, _once(REPLY_PATH, seconds=silent_s)),
        Trouble("cancel or change: connection cut, executed", "done-cut-before", 6, _once(CHANGE_PATH)),
        Trouble("cancel or change: connection cut, not executed", "cut-before", 4, _once(CHANGE_PATH)),
        Trouble("cancel or change: no response, executed", "done-silence", 2, _once(CHANGE_PATH, seconds=silent_s)),
        Trouble("cancel or change: sent on late", "late", 3, _once(CHANGE_PATH, seconds=late_s)),
        Trouble("a prompt instead of a response", "prompt", 5, _once(PLACEMENT_PATH)),
        Trouble("list with an error inside a 200", "hidden-error", 5, _once(LIST_PATH)),
        Trouble("list answered with 503", "empty-503", 5, _once(LIST_PATH)),
        Trouble(
            "connection cut before the response, executed, and a list that stays empty",
            "status",
            3,
            EMPTY_LIST,
            duration_s=6.0,
            cuts_next_placement=True,
        ),
        Trouble("list cut short", "cut-in", 5, _once(LIST_PATH)),
    )


class Caller(Enum):
    """How a caller places an order and repeats it; the values are shown in `orders.md`."""

    ONCE = "sends once and waits"
    HANGS_UP = "may hang up, does not repeat"
    REPEATS = "may hang up, repeats the same bytes if there was no response or a refusal"
    REPEATS_WITH_KEY = "may hang up, repeats with an Idempotency-Key, also after `unknown`"
    REPEATS_WITH_COID = "may hang up, repeats with a cOID of its own, also after `unknown`"


class Ticket(Enum):
    """What is placed, and how IBKR reacts."""

    PLAIN = "accepted at once"
    MARKET = "filled at once"
    ONE_QUESTION = "one question"
    TWO_QUESTIONS = "two questions, one after the other"
    BRACKET = "a parent and its two children"
    BRACKET_WITH_QUESTIONS = "a parent and its two children, with two questions about them"
    ORPHAN = "rejected: a child whose parent IBKR does not know; it has no cOID of its own"
    INVALID = "rejected: a ticket that IBKR cannot read"


class Confirmation(Enum):
    """How questions are answered."""

    BEFOREHAND = "confirmed by X-Bridge-Confirm"
    PARTLY_BEFOREHAND = "X-Bridge-Confirm lists the first question only"
    BY_REPLY = "confirmed by reply"
    DECLINED = "declined by reply"
    NONE = "not answered"


class FollowUp(Enum):
    """What a caller does with an order that was placed."""

    NOTHING = "nothing"
    CANCEL = "cancels it"
    CHANGE = "changes it"


CALLER_WEIGHTS = {
    Caller.ONCE: 30,
    Caller.HANGS_UP: 15,
    Caller.REPEATS: 20,
    Caller.REPEATS_WITH_KEY: 20,
    Caller.REPEATS_WITH_COID: 15,
}
TICKET_WEIGHTS = {
    Ticket.PLAIN: 58,
    Ticket.MARKET: 12,
    Ticket.ONE_QUESTION: 9,
    Ticket.TWO_QUESTIONS: 9,
    Ticket.BRACKET: 4,
    Ticket.BRACKET_WITH_QUESTIONS: 4,
    Ticket.ORPHAN: 2,
    Ticket.INVALID: 2,
}
FOLLOW_UP_WEIGHTS = {FollowUp.NOTHING: 80, FollowUp.CANCEL: 12, FollowUp.CHANGE: 8}
CONFIRMATION_WEIGHTS = {
    Confirmation.BEFOREHAND: 50,
    Confirmation.PARTLY_BEFOREHAND: 10,
    Confirmation.BY_REPLY: 25,
    Confirmation.DECLINED: 10,
    Confirmation.NONE: 5,
}
HANG_UPS = {  # the caller's timeout lies between these two seconds; whether it hangs up when IBKR has the order
    "at once": (0.0, 0.04, False),
    "when IBKR has the order": (1.2, 4.0, True),
    "early": (0.2, 1.2, False),
    "late": (1.2, 4.0, False),
}
HANG_UP_WEIGHTS = {"at once": 15, "when IBKR has the order": 25, "early": 20, "late": 40}
NO_HANG_UP_WEIGHTS = {"late": 1}
QUESTIONS = {
    Ticket.ONE_QUESTION: ("o383",),
    Ticket.TWO_QUESTIONS: ("o163", "o383"),
    Ticket.BRACKET_WITH_QUESTIONS: ("o163", "o383"),
}
BRACKETS = frozenset({Ticket.BRACKET, Ticket.BRACKET_WITH_QUESTIONS})


@dataclass(frozen=True)
class Plan:
    """One logical order: it must be placed at most once, whatever its caller does."""

    number: int
    tag: str
    """The ticket's `referrer`, which the book of the simulator stores."""
    caller: Caller
    ticket: Ticket
    confirmation: Confirmation
    timeout_s: float
    """How long the caller waits for the first response before it hangs up."""
    hangs_up_at_ibkr: bool
    """Whether the caller hangs up at its first attempt as soon as the order has reached IBKR."""
    sends_wait: bool
    """Whether the request has the header X-Bridge-Wait."""
    asks_together: bool = False
    """Whether IBKR asks all its questions in one from this order on; else one after the other."""
    follow_up: FollowUp = FollowUp.NOTHING
    trouble: Trouble | None = None
    kill_delay_s: float | None = None
    """From the beginning of the order until the bridge is killed; None if it is not."""
    kill_at_hand_over: str = ""
    """If the bridge is killed by the next order that it hands over: one of `HANDED_OVER`."""

    @property
    def is_confirmed(self) -> bool:
        """Whether the caller would confirm every question about the order."""
        questions = QUESTIONS.get(self.ticket, ())
        is_first_enough = self.confirmation is Confirmation.PARTLY_BEFOREHAND and len(questions) == 1
        confirms_all = self.confirmation in (Confirmation.BEFOREHAND, Confirmation.BY_REPLY)
        return not questions or is_first_enough or confirms_all

    @property
    def coid(self) -> str:
        """The caller's cOID; `""` if the bridge assigns one. The children of a bracket need one to refer to."""
        has_coid = self.caller is Caller.REPEATS_WITH_COID or self.ticket in BRACKETS
        return f"own-{self.tag}" if has_coid else ""

    @property
    def body(self) -> dict[str, Any]:
        """The body of the placement."""
        return {"orders": self._tickets}

    @property
    def changed_ticket(self) -> dict[str, Any]:
        """The body of a change: the first ticket with another price."""
        return self._tickets[0] | {"price": CHANGED_PRICE}

    @property
    def headers(self) -> dict[str, str]:
        """The headers that the plan adds to the placement."""
        questions = QUESTIONS.get(self.ticket, ())
        confirmed_by_plan = {Confirmation.BEFOREHAND: questions, Confirmation.PARTLY_BEFOREHAND: questions[:1]}
        headers = {}
        if self.caller is Caller.REPEATS_WITH_KEY:
            headers["Idempotency-Key"] = f"key-{self.tag}"
        if confirmed := confirmed_by_plan.get(self.confirmation, ()):
            headers["X-Bridge-Confirm"] = ",".join(confirmed)
        if self.sends_wait:
            headers["X-Bridge-Wait"] = "4"
        return headers

    @property
    def _tickets(self) -> list[dict[str, Any]]:
        first = {"acctId": ACCOUNT, "conid": 265598, "orderType": "LMT", "side": "BUY", "tif": "DAY", "price": 187.0}
        first |= {"quantity": 1 + self.number % 400, "referrer": self.tag}
        first |= {"cOID": self.coid} if self.coid and self.ticket is not Ticket.ORPHAN else {}
        first |= TICKET_FIELDS.get(self.ticket, {})
        if self.ticket in BRACKETS:
            child = first | {"side": "SELL", "parentId": self.coid}
            del child["cOID"]
            up, down = {"price": 196.0, "referrer": f"{self.tag}/up"}, {"price": 195.0, "referrer": f"{self.tag}/down"}
            return [first, child | up, child | down]
        return [first]


TICKET_FIELDS: Mapping[Ticket, dict[str, Any]] = {
    Ticket.MARKET: {"orderType": "MKT"},
    Ticket.ONE_QUESTION: {"quantity": 600},
    Ticket.TWO_QUESTIONS: {"quantity": 600, "price": 150.0},
    Ticket.BRACKET_WITH_QUESTIONS: {"quantity": 600, "price": 150.0},
    Ticket.ORPHAN: {"parentId": "nobody", "orderType": "MKT", "conid": 900_000_001},  # no other order is like it
    Ticket.INVALID: {"side": "buy"},
}


def make_plans(orders: int, seed: int, clock_rate: float, kills: int) -> list[Plan]:
    """Return the plans of so many orders; every kind of trouble occurs at least once, and so many kills."""
    rng = random.Random(seed)  # noqa: S311  # it must be reproducible; it is not a secret
    troubles: list[Trouble | None] = [
        trouble
        for trouble in make_troubles(clock_rate)
        for _ in range(max(1, round(trouble.per_mille * orders / 1000)))
    ]
    troubles += [None] * (orders - len(troubles))
    rng.shuffle(troubles)
    killed_orders = rng.sample(range(orders), kills)
    plans = [_make_plan(rng, seed, number, troubles[number], number in killed_orders) for number in range(orders)]
    for place, number in enumerate(killed_orders):  # of three kills, one is at any moment, two at the handing over
        if place % 3:
            plans[number] = replace(plans[number], kill_delay_s=None, kill_at_hand_over=HANDED_OVER[place % 3 - 1])
    return plans


def _make_plan(rng: random.Random, seed: int, number: int, trouble: Trouble | None, is_killed: bool) -> Plan:
    caller, ticket = _choose(rng, CALLER_WEIGHTS), _choose(rng, TICKET_WEIGHTS)
    follow_up = _choose(rng, FOLLOW_UP_WEIGHTS)
    trouble_path = trouble.options.get("path") if trouble is not None else None
    if trouble_path == REPLY_PATH:
        ticket = Ticket.ONE_QUESTION
    if trouble_path == CHANGE_PATH:  # only an order that is placed can be changed
        caller, ticket, follow_up = Caller.ONCE, Ticket.PLAIN, rng.choice((FollowUp.CANCEL, FollowUp.CHANGE))
    hang_up = _choose(rng, HANG_UP_WEIGHTS if caller is not Caller.ONCE else NO_HANG_UP_WEIGHTS)
    min_timeout_s, max_timeout_s, hangs_up_at_ibkr = HANG_UPS[hang_up]
    timeout_s = rng.uniform(min_timeout_s, max_timeout_s)
    confirmation = _choose(rng, CONFIRMATION_WEIGHTS)
    if trouble_path == REPLY_PATH and confirmation in (Confirmation.NONE, Confirmation.DECLINED):
        confirmation = Confirmation.BEFOREHAND
    return Plan(
        number=number,
        tag=f"{seed}-{number}",
        caller=caller,
        ticket=ticket,
        confirmation=confirmation,
        timeout_s=timeout_s,
        hangs_up_at_ibkr=hangs_up_at_ibkr,
        kill_delay_s=rng.uniform(0.0, MAX_KILL_DELAY_S) if is_killed else None,
        sends_wait=rng.random() < 0.5,
        asks_together=rng.random() < 0.5,
        follow_up=follow_up,
        trouble=trouble,
    )


def _choose(rng: random.Random, weights: Mapping[T, int]) -> T:
    return rng.choices(list(weights), list(weights.values()))[0]
