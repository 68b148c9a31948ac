"""IBKR's text protocol: the topics, their commands, and how the arguments of several subscribers are merged. Pure.

A client sends `smd+265598+{"fields":["31"]}` and gets messages whose topic is `smd+265598`; it sends `umd+265598+{}` to
end that. One table has the target, the end command and the meaning of the arguments for each kind of topic.
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
MAX_NAMES = 100  # keys of one subscription, merged ones included; IBKR's summary has about a hundred
MAX_FIELDS = 50  # fields of a contract's quotes for all subscribers together: IBKR accepts as many in a snapshot
MAX_ARGS = 16
CONID = r"[0-9]{1,12}(?:@[A-Za-z0-9.]{1,16})?"
COMBO = r"[0-9]{1,12};;;[0-9/,-]{1,200}"  # a spread: its own conid, and those of its legs with their ratios
ACCOUNT = r"[A-Za-z0-9]{1,20}"

Args = Mapping[str, Any]


class TopicKind(Enum):
    """The kinds of topics; the value is IBKR's word."""

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
    """One topic."""

    kind: TopicKind
    target: str = ""
    """A contract, an account, or an account with a contract; empty if the topic has no target."""

    @property
    def name(self) -> str:
        """The name in IBKR's messages."""
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
    """A command to subscribe to a topic with these arguments."""

    topic: Topic
    args: Args = field(default_factory=dict)


@dataclass(frozen=True)
class Unsubscribe:
    """A command to unsubscribe. The target of `umh` is the server's id, that of `ubd` the account only."""

    kind: TopicKind
    target: str


@dataclass(frozen=True)
class Heartbeat:
    """A heartbeat command: `tic` or `ech+hb`."""

    word: str


@dataclass(frozen=True)
class SessionMessage:
    """`{"session":…}`: the first message of a client whose websocket has no cookie."""


@dataclass(frozen=True)
class TopicSyntax:
    """The syntax of a kind's commands, and how the arguments of several subscribers are merged."""

    unsubscribe_word: str
    target: str
    """A pattern; empty if the kind has no target."""
    leave_target: str
    merge: Callable[[Iterable[Args]], dict[str, Any]]


def merge_none(_: Iterable[Args]) -> dict[str, Any]:
    """The merged arguments of a kind that has none."""
    return {}


def _merge_names(requested: Iterable[Args], name: str) -> list[str]:
    """All names that any subscriber requests; empty, which means all, if one of them requests all."""
    lists = [list(args.get(name) or ()) for args in requested]
    names = sorted({each for listed in lists for each in listed}) if all(lists) else []
    return names if len(names) <= MAX_NAMES else []  # the Gateway does not pass on a command that is too long


def _merge_fields(requested: Iterable[Args]) -> dict[str, Any]:
    return {
        "fields": sorted({each for args in requested for each in args.get("fields") or ()}, key=lambda f: (len(f), f))
    }


def _merge_days(requested: Iterable[Args]) -> dict[str, Any]:
    """All trades of the most days that any subscriber requests; one that wants only new ones gets no others."""
    return {"realtimeUpdatesOnly": False, "days": max((trade_days(args) for args in requested), default=1)}


def trade_days(args: Args) -> int:
    """The number of days of trades, 1 to 7; IBKR has those of a week."""
    return min(max(1, int(args.get("days") or 1)), 7)


def _merge_rows(requested: Iterable[Args]) -> dict[str, Any]:
    arguments = list(requested)
    return {"keys": _merge_names(arguments, "keys"), "fields": _merge_names(arguments, "fields")}


def _take_first(requested: Iterable[Args]) -> dict[str, Any]:
    return dict(next(iter(requested), {}))


SYNTAX: Mapping[TopicKind, TopicSyntax] = {
    TopicKind.QUOTES: TopicSyntax("umd", f"(?:{CONID}|{COMBO})", f"(?:{CONID}|{COMBO})", _merge_fields),
    TopicKind.HISTORY: TopicSyntax("umh", CONID, r"[A-Za-z0-9_.-]{1,64}", _take_first),
    TopicKind.LADDER: TopicSyntax("ubd", rf"{ACCOUNT}\+[0-9]{{1,12}}(?:\+[A-Za-z0-9.]{{1,16}})?", ACCOUNT, merge_none),
    TopicKind.ORDERS: TopicSyntax("uor", "", "", merge_none),
    TopicKind.TRADES: TopicSyntax("utr", "", "", _merge_days),
    TopicKind.PNL: TopicSyntax("upl", "", "", merge_none),
    TopicKind.SUMMARY: TopicSyntax("usd", ACCOUNT, ACCOUNT, _merge_rows),
    TopicKind.LEDGER: TopicSyntax("uld", ACCOUNT, ACCOUNT, _merge_rows),
}
KIND_BY_WORD = {kind.value: kind for kind in SYNTAX}
KIND_BY_UNSUBSCRIBE_WORD = {form.unsubscribe_word: kind for kind, form in SYNTAX.items()}
HEARTBEATS = frozenset({"tic", "ech+hb"})
LISTS = ("fields", "keys", "filters")
COMMAND = re.compile(r"([a-z]{3})(?:\+([^{]*?))?\+?(\{.*)?", re.DOTALL)  # IBKR's pages also write `upl{}`
NAME = re.compile(r"[A-Za-z0-9_:.-]{1,64}")
FIELD = re.compile(r"[0-9]{1,5}")
MAX_VALUE_LENGTH = 100  # characters of any other argument
COMMAND_HINT = 'send for example smd+265598+{"fields":["31","84","86"]}, and umd+265598+{} to end it'


def read_command(text: str) -> Subscribe | Unsubscribe | Heartbeat | SessionMessage:
    """Parse a command of a client.

    Raises:
        BadRequest: it is not a command of IBKR's protocol; the error does not repeat the text.
    """
    if len(text) > MAX_COMMAND_BYTES:
        raise BadRequest(f"a command has at most {MAX_COMMAND_BYTES} characters", hint=COMMAND_HINT)
    command = text.strip()
    if command in HEARTBEATS:
        return Heartbeat(command)
    if _is_session_message(command):
        return SessionMessage()
    word, target, args = _split_command(command)
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
    raise BadRequest("unknown command", hint=COMMAND_HINT)


def _is_session_message(command: str) -> bool:
    if not command.startswith("{"):
        return False
    try:
        message = json.loads(command)
    except (ValueError, RecursionError):
        return False
    return isinstance(message, dict) and isinstance(message.get("session"), str)


def _split_command(command: str) -> tuple[str, str, str]:
    parts = COMMAND.fullmatch(command)
    return (parts[1], parts[2] or "", parts[3] or "") if parts else ("", "", "")


def _check_target(pattern: str, target: str) -> str:
    if re.fullmatch(pattern, target) is None:
        raise BadRequest(
            "this command needs another target" if pattern else "this command has no target", hint=COMMAND_HINT
        )
    return target


def read_args(text: str) -> dict[str, Any]:
    """Parse the arguments of a subscription; an empty text means none.

    Raises:
        BadRequest: they are not a JSON object, or a list in them is not one of names.
    """
    try:
        args = json.loads(text, parse_constant=_reject_constant) if text.strip() else {}
    except (ValueError, RecursionError) as exc:
        raise BadRequest("the arguments must be JSON", hint=COMMAND_HINT) from exc
    if not isinstance(args, dict) or len(args) > MAX_ARGS:
        raise BadRequest("the arguments must be a JSON object with at most 16 members", hint=COMMAND_HINT)
    for name, value in args.items():
        if not (_is_name_list(value) if name in LISTS else _is_plain_value(value)):
            raise BadRequest(
                "each argument must be a plain value, or a list of names in fields, keys or filters", hint=COMMAND_HINT
            )
    if not isinstance(args.get("days", 1), int):
        raise BadRequest("days must be a whole number", hint=COMMAND_HINT)
    return args


def _reject_constant(text: str) -> float:
    raise ValueError(text)


def _is_plain_value(value: object) -> bool:
    """Whether it is a short text, a number, a boolean or null."""
    if isinstance(value, str):
        return len(value) <= MAX_VALUE_LENGTH
    return value is None or isinstance(value, bool | int | float)


def _check_subscribe(subscribe: Subscribe) -> Subscribe:
    fields = subscribe.args.get("fields", [])
    if subscribe.topic.kind is TopicKind.QUOTES and (len(fields) > MAX_FIELDS or not all(map(FIELD.fullmatch, fields))):
        raise BadRequest(f"fields must be a list of at most {MAX_FIELDS} of IBKR's field numbers", hint=COMMAND_HINT)
    return subscribe


def _is_name_list(value: object) -> bool:
    return (
        isinstance(value, list)
        and len(value) <= MAX_NAMES
        and all(isinstance(each, str) and NAME.fullmatch(each) for each in value)
    )


def merge_args(kind: TopicKind, requested: Iterable[Args]) -> dict[str, Any]:
    """The arguments for IBKR, so that every subscriber gets at least what it requested."""
    return SYNTAX[kind].merge(requested)


def subscribe_text(topic: Topic, args: Args) -> str:
    """The command that subscribes to a topic."""
    if topic.kind is TopicKind.LADDER:
        return topic.name
    return f"{topic.name}+{json.dumps(args, separators=(',', ':'))}"


def unsubscribe_text(topic: Topic, server: str = "") -> str:
    """The command that ends a topic; `server` is the id that IBKR gave a chart."""
    word = SYNTAX[topic.kind].unsubscribe_word
    target = {TopicKind.HISTORY: server, TopicKind.LADDER: topic.account}.get(topic.kind, topic.target)
    return "+".join(filter(None, (word, target, "" if topic.kind in (TopicKind.HISTORY, TopicKind.LADDER) else "{}")))


def unsubscribe_reply(unsubscribe: Unsubscribe) -> dict[str, Any] | None:
    """IBKR's reply to an unsubscribe command; None if it sends none."""
    name, text = UNSUBSCRIBE_REPLIES.get(unsubscribe.kind, ("", ""))
    return {name: text.format(unsubscribe.target)} if name else None


UNSUBSCRIBE_REPLIES: Mapping[TopicKind, tuple[str, str]] = {
    TopicKind.SUMMARY: ("result", "unsubscribed from summary"),
    TopicKind.LEDGER: ("result", "unsubscribed from ledger"),
    TopicKind.HISTORY: ("message", "Unsubscribed {}"),
}
