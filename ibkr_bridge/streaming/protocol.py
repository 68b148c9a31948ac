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

MAX_COMMAND_BYTES = 8192  # bytes of one command; a hundred fields take less than a thousand
MAX_NAMES = 100  # keys of one subscription, and what all that read it want together; IBKR's summary has some hundred
MAX_FIELDS = 50  # of a contract's quotes, all readers together: so many IBKR takes in a snapshot
MAX_ARGS = 16
CONID = r"[0-9]{1,12}(?:@[A-Za-z0-9.]{1,16})?"
COMBO = r"[0-9]{1,12};;;[0-9/,-]{1,200}"  # a spread: its own conid, and those of its legs with their ratios
ACCOUNT = r"[A-Za-z0-9]{1,20}"

Args = Mapping[str, Any]


class TopicKind(Enum):
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

    kind: TopicKind
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
class Subscribe:
    """A caller wants a topic, with these arguments."""

    topic: Topic
    args: Args = field(default_factory=dict)


@dataclass(frozen=True)
class Unsubscribe:
    """A caller wants no more of it. Of `umh` the target is the server's id, of `ubd` the account alone."""

    kind: TopicKind
    target: str


@dataclass(frozen=True)
class Heartbeat:
    """A caller wants a sign of life: `tic` or `ech+hb`."""

    word: str


@dataclass(frozen=True)
class TopicSyntax:
    """How a kind is said, and how wishes for it are joined."""

    unsubscribe_word: str
    target: str
    """A pattern; empty where there is none."""
    leave_target: str
    merge: Callable[[Iterable[Args]], dict[str, Any]]


def noop(_: Iterable[Args]) -> dict[str, Any]:
    return {}


def _merge_names(wishes: Iterable[Args], name: str) -> list[str]:
    """All names that anybody wants; none where somebody wants all, which is what an empty list means."""
    lists = [list(args.get(name) or ()) for args in wishes]
    names = sorted({each for listed in lists for each in listed}) if all(lists) else []
    return names if len(names) <= MAX_NAMES else []  # the Gateway passes no command on that is too long


def _merge_fields(wishes: Iterable[Args]) -> dict[str, Any]:
    return {"fields": sorted({each for args in wishes for each in args.get("fields") or ()}, key=lambda f: (len(f), f))}


def _merge_days(wishes: Iterable[Args]) -> dict[str, Any]:
    """All trades of as many days as anybody wants; who wants only new ones is told no others."""
    return {"realtimeUpdatesOnly": False, "days": max((trade_days(args) for args in wishes), default=1)}


def trade_days(args: Args) -> int:
    """Of how many days trades are wanted; IBKR keeps a week's."""
    return min(max(1, int(args.get("days") or 1)), 7)


def _merge_rows(wishes: Iterable[Args]) -> dict[str, Any]:
    told = list(wishes)
    return {"keys": _merge_names(told, "keys"), "fields": _merge_names(told, "fields")}


def _take_first(wishes: Iterable[Args]) -> dict[str, Any]:
    return dict(next(iter(wishes), {}))


SYNTAX: Mapping[TopicKind, TopicSyntax] = {
    TopicKind.QUOTES: TopicSyntax("umd", f"(?:{CONID}|{COMBO})", f"(?:{CONID}|{COMBO})", _merge_fields),
    TopicKind.HISTORY: TopicSyntax("umh", CONID, r"[A-Za-z0-9_.-]{1,64}", _take_first),
    TopicKind.LADDER: TopicSyntax("ubd", rf"{ACCOUNT}\+[0-9]{{1,12}}(?:\+[A-Za-z0-9.]{{1,16}})?", ACCOUNT, noop),
    TopicKind.ORDERS: TopicSyntax("uor", "", "", noop),
    TopicKind.TRADES: TopicSyntax("utr", "", "", _merge_days),
    TopicKind.PNL: TopicSyntax("upl", "", "", noop),
    TopicKind.SUMMARY: TopicSyntax("usd", ACCOUNT, ACCOUNT, _merge_rows),
    TopicKind.LEDGER: TopicSyntax("uld", ACCOUNT, ACCOUNT, _merge_rows),
}
KIND_BY_WORD = {kind.value: kind for kind in SYNTAX}
KIND_BY_UNSUBSCRIBE_WORD = {form.unsubscribe_word: kind for kind, form in SYNTAX.items()}
HEARTBEATS = frozenset({"tic", "ech+hb"})
LISTS = ("fields", "keys", "filters")
COMMAND = re.compile(r"([a-z]{3})(?:\+([^{]*?))?\+?(\{.*)?", re.DOTALL)  # IBKR's pages write `upl{}`, too
NAME = re.compile(r"[A-Za-z0-9_:.-]{1,64}")
FIELD = re.compile(r"[0-9]{1,5}")
MAX_VALUE_LENGTH = 100  # characters of any other argument
COMMAND_HINT = 'say for instance smd+265598+{"fields":["31","84","86"]}, and umd+265598+{} to end it'


def read_command(text: str) -> Subscribe | Unsubscribe | Heartbeat:
    """What a client says.

    Raises:
        BadRequest: it is nothing that IBKR's protocol knows; the text itself is not repeated.
    """
    if len(text) > MAX_COMMAND_BYTES:
        raise BadRequest(f"a command has at most {MAX_COMMAND_BYTES} characters", hint=COMMAND_HINT)
    said = text.strip()
    if said in HEARTBEATS:
        return Heartbeat(said)
    word, target, args = _split_command(said)
    if word in KIND_BY_WORD:
        return _check_subscribe(
            Subscribe(
                Topic(KIND_BY_WORD[word], _check_target(SYNTAX[KIND_BY_WORD[word]].target, target)), read_args(args)
            )
        )
    if word in KIND_BY_UNSUBSCRIBE_WORD:
        return Unsubscribe(
            KIND_BY_UNSUBSCRIBE_WORD[word], _check_target(SYNTAX[KIND_BY_UNSUBSCRIBE_WORD[word]].leave_target, target)
        )
    raise BadRequest("no such command", hint=COMMAND_HINT)


def _split_command(said: str) -> tuple[str, str, str]:
    found = COMMAND.fullmatch(said)
    return (found[1], found[2] or "", found[3] or "") if found else ("", "", "")


def _check_target(pattern: str, target: str) -> str:
    if re.fullmatch(pattern, target) is None:
        raise BadRequest(
            "this command is about something else" if pattern else "this command has no target", hint=COMMAND_HINT
        )
    return target


def read_args(text: str) -> dict[str, Any]:
    """The arguments of a subscription; none for an empty text.

    Raises:
        BadRequest: they are no JSON object, or a list in them is not one of names.
    """
    try:
        args = json.loads(text, parse_constant=_reject_constant) if text.strip() else {}
    except (ValueError, RecursionError) as exc:
        raise BadRequest("the arguments are no JSON", hint=COMMAND_HINT) from exc
    if not isinstance(args, dict) or len(args) > MAX_ARGS:
        raise BadRequest("the arguments are no JSON object of a few members", hint=COMMAND_HINT)
    for name, value in args.items():
        if not (_is_name_list(value) if name in LISTS else _is_plain_value(value)):
            raise BadRequest("an argument is neither a plain value nor one of the lists of names", hint=COMMAND_HINT)
    if not isinstance(args.get("days", 1), int):
        raise BadRequest("days is no whole number", hint=COMMAND_HINT)
    return args


def _reject_constant(text: str) -> float:
    raise ValueError(text)


def _is_plain_value(value: object) -> bool:
    """Whether it is nothing that could surprise those who write it on."""
    if isinstance(value, str):
        return len(value) <= MAX_VALUE_LENGTH
    return value is None or isinstance(value, bool | int | float)


def _check_subscribe(subscribe: Subscribe) -> Subscribe:
    fields = subscribe.args.get("fields", [])
    if subscribe.topic.kind is TopicKind.QUOTES and (len(fields) > MAX_FIELDS or not all(map(FIELD.fullmatch, fields))):
        raise BadRequest(f"fields is no list of IBKR's numbers, {MAX_FIELDS} at most", hint=COMMAND_HINT)
    return subscribe


def _is_name_list(told: object) -> bool:
    return (
        isinstance(told, list)
        and len(told) <= MAX_NAMES
        and all(isinstance(each, str) and NAME.fullmatch(each) for each in told)
    )


def merge_args(kind: TopicKind, wishes: Iterable[Args]) -> dict[str, Any]:
    """The arguments with which IBKR is asked, so that everybody gets at least what they want."""
    return SYNTAX[kind].merge(wishes)


def subscribe_text(topic: Topic, args: Args) -> str:
    """How IBKR is asked for a topic."""
    if topic.kind is TopicKind.LADDER:
        return topic.name
    return f"{topic.name}+{json.dumps(args, separators=(',', ':'))}"


def unsubscribe_text(topic: Topic, server: str = "") -> str:
    """How IBKR is told that nobody wants it any more; `server`: the id that it gave a history."""
    word = SYNTAX[topic.kind].unsubscribe_word
    target = {TopicKind.HISTORY: server, TopicKind.LADDER: topic.account}.get(topic.kind, topic.target)
    return "+".join(filter(None, (word, target, "" if topic.kind in (TopicKind.HISTORY, TopicKind.LADDER) else "{}")))


def unsubscribe_reply(leave: Unsubscribe) -> dict[str, Any] | None:
    """What IBKR answers to one who wants no more; None where it answers nothing."""
    name, text = UNSUBSCRIBE_REPLIES.get(leave.kind, ("", ""))
    return {name: text.format(leave.target)} if name else None


UNSUBSCRIBE_REPLIES: Mapping[TopicKind, tuple[str, str]] = {
    TopicKind.SUMMARY: ("result", "unsubscribed from summary"),
    TopicKind.LEDGER: ("result", "unsubscribed from ledger"),
    TopicKind.HISTORY: ("message", "Unsubscribed {}"),
}
