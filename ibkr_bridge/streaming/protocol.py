"""IBKR's text protocol: what can be subscribed to, how it is asked for, and how the wishes of several become one. Pure.

A client says `smd+265598+{"fields":["31"]}` and hears messages whose topic is `smd+265598`; it says `umd+265598+{}` and
hears no more. What each kind of subscription is about, what ends it and what its arguments mean stands in one table.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from ibkr_bridge.errors import BadRequest

LONGEST = 8192  # bytes of one command; a hundred fields take less than a thousand
MOST_NAMES = 100  # keys of one subscription, and what all that read it want together; IBKR's summary has some hundred
MOST_FIELDS = 50  # of a contract's quotes, all readers together: so many IBKR takes in a snapshot
MOST_ARGS = 16
CONID = r"[0-9]{1,12}(?:@[A-Za-z0-9.]{1,16})?"
COMBO = r"[0-9]{1,12};;;[0-9/,-]{1,200}"  # a spread: its own conid, and those of its legs with their ratios
ACCOUNT = r"[A-Za-z0-9]{1,20}"

Args = Mapping[str, Any]


class Kind(Enum):
    """What can be subscribed to; the value is the word IBKR has for it."""

    QUOTES = "smd"
    HISTORY = "smh"
    LADDER = "sbd"
    ORDERS = "sor"
    TRADES = "str"
    PNL = "spl"
    SUMMARY = "ssd"
    LEDGER = "sld"
    SESSION = "session"  # the bridge's own


@dataclass(frozen=True)
class Topic:
    """One thing to subscribe to."""

    kind: Kind
    target: str = ""
    """A contract, an account, or an account with a contract; empty where there is only one of the kind."""

    @property
    def name(self) -> str:
        """As IBKR's messages bear it."""
        return f"{self.kind.value}+{self.target}" if self.target else self.kind.value

    @property
    def conid(self) -> str:
        """The contract of quotes, without its exchange."""
        return re.split("[@;]", self.target, maxsplit=1)[0]

    @property
    def account(self) -> str:
        """The account of a ladder."""
        return self.target.partition("+")[0]


@dataclass(frozen=True)
class Wish:
    """A caller wants a topic, with these arguments."""

    topic: Topic
    args: Args = field(default_factory=dict)


@dataclass(frozen=True)
class Leave:
    """A caller wants no more of it. Of `umh` the target is the server's id, of `ubd` the account alone."""

    kind: Kind
    target: str


@dataclass(frozen=True)
class Beat:
    """A caller wants a sign of life: `tic` or `ech+hb`."""

    word: str


@dataclass(frozen=True)
class Form:
    """How a kind is said, and how wishes for it are joined."""

    leave: str
    target: str
    """A pattern; empty where there is none."""
    leave_target: str
    join: Callable[[Iterable[Args]], dict[str, Any]]


def _nothing(_: Iterable[Args]) -> dict[str, Any]:
    return {}


def _names(wishes: Iterable[Args], name: str) -> list[str]:
    """All names that anybody wants; none where somebody wants all, which is what an empty list means."""
    lists = [list(args.get(name) or ()) for args in wishes]
    names = sorted({each for listed in lists for each in listed}) if all(lists) else []
    return names if len(names) <= MOST_NAMES else []  # the Gateway passes no command on that is too long


def _fields(wishes: Iterable[Args]) -> dict[str, Any]:
    return {"fields": sorted({each for args in wishes for each in args.get("fields") or ()}, key=lambda f: (len(f), f))}


def _days(wishes: Iterable[Args]) -> dict[str, Any]:
    """All trades of as many days as anybody wants; who wants only new ones is told no others."""
    return {"realtimeUpdatesOnly": False, "days": max((days_of(args) for args in wishes), default=1)}


def days_of(args: Args) -> int:
    """Of how many days trades are wanted; IBKR keeps a week's."""
    return min(max(1, int(args.get("days") or 1)), 7)


def _rows(wishes: Iterable[Args]) -> dict[str, Any]:
    told = list(wishes)
    return {"keys": _names(told, "keys"), "fields": _names(told, "fields")}


def _first(wishes: Iterable[Args]) -> dict[str, Any]:
    return dict(next(iter(wishes), {}))


FORMS: Mapping[Kind, Form] = {
    Kind.QUOTES: Form("umd", f"(?:{CONID}|{COMBO})", f"(?:{CONID}|{COMBO})", _fields),
    Kind.HISTORY: Form("umh", CONID, r"[A-Za-z0-9_.-]{1,64}", _first),
    Kind.LADDER: Form("ubd", rf"{ACCOUNT}\+[0-9]{{1,12}}(?:\+[A-Za-z0-9.]{{1,16}})?", ACCOUNT, _nothing),
    Kind.ORDERS: Form("uor", "", "", _nothing),
    Kind.TRADES: Form("utr", "", "", _days),
    Kind.PNL: Form("upl", "", "", _nothing),
    Kind.SUMMARY: Form("usd", ACCOUNT, ACCOUNT, _rows),
    Kind.LEDGER: Form("uld", ACCOUNT, ACCOUNT, _rows),
}
BY_WORD = {kind.value: kind for kind in FORMS}
BY_LEAVE = {form.leave: kind for kind, form in FORMS.items()}
BEATS = frozenset({"tic", "ech+hb"})
LISTS = ("fields", "keys", "filters")
COMMAND = re.compile(r"([a-z]{3})(?:\+([^{]*?))?\+?(\{.*)?", re.DOTALL)  # IBKR's pages write `upl{}`, too
NAME = re.compile(r"[A-Za-z0-9_:.-]{1,64}")
FIELD = re.compile(r"[0-9]{1,5}")
LONGEST_VALUE = 100  # characters of any other argument
HINT = 'say for instance smd+265598+{"fields":["31","84","86"]}, and umd+265598+{} to end it'


def read_command(text: str) -> Wish | Leave | Beat:
    """What a client says.

    Raises:
        BadRequest: it is nothing that IBKR's protocol knows; the text itself is not repeated.
    """
    if len(text) > LONGEST:
        raise BadRequest(f"a command has at most {LONGEST} characters", hint=HINT)
    said = text.strip()
    if said in BEATS:
        return Beat(said)
    word, target, args = _parts(said)
    if word in BY_WORD:
        return _judge(Wish(Topic(BY_WORD[word], _target(FORMS[BY_WORD[word]].target, target)), read_args(args)))
    if word in BY_LEAVE:
        return Leave(BY_LEAVE[word], _target(FORMS[BY_LEAVE[word]].leave_target, target))
    raise BadRequest("no such command", hint=HINT)


def _parts(said: str) -> tuple[str, str, str]:
    found = COMMAND.fullmatch(said)
    return (found[1], found[2] or "", found[3] or "") if found else ("", "", "")


def _target(pattern: str, target: str) -> str:
    if re.fullmatch(pattern, target) is None:
        raise BadRequest("this command is about something else" if pattern else "this command has no target", hint=HINT)
    return target


def read_args(text: str) -> dict[str, Any]:
    """The arguments of a subscription; none for an empty text.

    Raises:
        BadRequest: they are no JSON object, or a list in them is not one of names.
    """
    try:
        args = json.loads(text, parse_constant=_no_number) if text.strip() else {}
    except (ValueError, RecursionError) as exc:
        raise BadRequest("the arguments are no JSON", hint=HINT) from exc
    if not isinstance(args, dict) or len(args) > MOST_ARGS:
        raise BadRequest("the arguments are no JSON object of a few members", hint=HINT)
    for name, value in args.items():
        if not (_is_names(value) if name in LISTS else _is_plain(value)):
            raise BadRequest("an argument is neither a plain value nor one of the lists of names", hint=HINT)
    if not isinstance(args.get("days", 1), int):
        raise BadRequest("days is no whole number", hint=HINT)
    return args


def _no_number(text: str) -> float:
    raise ValueError(text)


def _is_plain(value: object) -> bool:
    """Whether it is nothing that could surprise those who write it on."""
    if isinstance(value, str):
        return len(value) <= LONGEST_VALUE
    return value is None or isinstance(value, bool | int | float)


def _judge(wish: Wish) -> Wish:
    fields = wish.args.get("fields", [])
    if wish.topic.kind is Kind.QUOTES and (len(fields) > MOST_FIELDS or not all(map(FIELD.fullmatch, fields))):
        raise BadRequest(f"fields is no list of IBKR's numbers, {MOST_FIELDS} at most", hint=HINT)
    return wish


def _is_names(told: object) -> bool:
    return (
        isinstance(told, list)
        and len(told) <= MOST_NAMES
        and all(isinstance(each, str) and NAME.fullmatch(each) for each in told)
    )


def joined(kind: Kind, wishes: Iterable[Args]) -> dict[str, Any]:
    """The arguments with which IBKR is asked, so that everybody gets at least what they want."""
    return FORMS[kind].join(wishes)


def asks(topic: Topic, args: Args) -> str:
    """How IBKR is asked for a topic."""
    if topic.kind is Kind.LADDER:
        return topic.name
    return f"{topic.name}+{json.dumps(args, separators=(',', ':'))}"


def ends(topic: Topic, server: str = "") -> str:
    """How IBKR is told that nobody wants it any more; `server`: the id that it gave a history."""
    word = FORMS[topic.kind].leave
    target = {Kind.HISTORY: server, Kind.LADDER: topic.account}.get(topic.kind, topic.target)
    return "+".join(filter(None, (word, target, "" if topic.kind in (Kind.HISTORY, Kind.LADDER) else "{}")))


def farewell(leave: Leave) -> dict[str, Any] | None:
    """What IBKR answers to one who wants no more; None where it answers nothing."""
    name, text = FAREWELLS.get(leave.kind, ("", ""))
    return {name: text.format(leave.target)} if name else None


FAREWELLS: Mapping[Kind, tuple[str, str]] = {
    Kind.SUMMARY: ("result", "unsubscribed from summary"),
    Kind.LEDGER: ("result", "unsubscribed from ledger"),
    Kind.HISTORY: ("message", "Unsubscribed {}"),
}
