"""IBKR's text protocol: commands of clients are parsed, and commands for IBKR are written."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ibkr_bridge.errors import BadRequest
from ibkr_bridge.streaming.protocol import (
    SYNTAX,
    Heartbeat,
    Subscribe,
    Topic,
    TopicKind,
    Unsubscribe,
    merge_args,
    read_command,
    subscribe_text,
    unsubscribe_reply,
    unsubscribe_text,
)


@pytest.mark.parametrize(
    ("text", "command"),
    [
        ('smd+265598+{"fields":["31"]}', Subscribe(Topic(TopicKind.QUOTES, "265598"), {"fields": ["31"]})),
        ("smd+265598@ARCA+{}", Subscribe(Topic(TopicKind.QUOTES, "265598@ARCA"), {})),
        ("smd+28812380;;;8314/1,265598/-1+{}", Subscribe(Topic(TopicKind.QUOTES, "28812380;;;8314/1,265598/-1"), {})),
        ("umd+265598+{}", Unsubscribe(TopicKind.QUOTES, "265598")),
        ("umd+265598", Unsubscribe(TopicKind.QUOTES, "265598")),
        ("sor", Subscribe(Topic(TopicKind.ORDERS), {})),
        ("sor+{}", Subscribe(Topic(TopicKind.ORDERS), {})),
        ('sor+{"filters":["filled"]}', Subscribe(Topic(TopicKind.ORDERS), {"filters": ["filled"]})),
        ("uor+{}", Unsubscribe(TopicKind.ORDERS, "")),
        ('str+{"realtimeUpdatesOnly":true}', Subscribe(Topic(TopicKind.TRADES), {"realtimeUpdatesOnly": True})),
        ("utr", Unsubscribe(TopicKind.TRADES, "")),
        ("spl+{}", Subscribe(Topic(TopicKind.PNL), {})),
        ("upl{}", Unsubscribe(TopicKind.PNL, "")),
        ("ssd+DU1234567+{}", Subscribe(Topic(TopicKind.SUMMARY, "DU1234567"), {})),
        ("usd+DU1234567+{}", Unsubscribe(TopicKind.SUMMARY, "DU1234567")),
        ("sld+DU1234567+{}", Subscribe(Topic(TopicKind.LEDGER, "DU1234567"), {})),
        ("uld+DU1234567", Unsubscribe(TopicKind.LEDGER, "DU1234567")),
        ('smh+265598+{"period":"1d"}', Subscribe(Topic(TopicKind.HISTORY, "265598"), {"period": "1d"})),
        ("umh+20477", Unsubscribe(TopicKind.HISTORY, "20477")),
        ("sbd+DU1234567+265598+NASDAQ", Subscribe(Topic(TopicKind.LADDER, "DU1234567+265598+NASDAQ"), {})),
        ("ubd+DU1234567", Unsubscribe(TopicKind.LADDER, "DU1234567")),
        ("tic", Heartbeat("tic")),
        (" ech+hb\n", Heartbeat("ech+hb")),
    ],
)
def test_a_command_is_parsed(text: str, command: object) -> None:
    """Clients of IBKR write commands with and without arguments."""
    assert read_command(text) == command


@pytest.mark.parametrize(
    "text",
    [
        *("", "smd", "smd+", "smd+AAPL+{}", "smd+1+2+{}", "smd+1+{", "smd+1+{} {}", "smd+1+[]", "sor+1", "SMD+1+{}"),
        *(
            'smd+1+{"x":[1]}',
            'smh+1+{"x":{}}',
            'smh+1+{"x":NaN}',
            'smd+1+{"fields":["x"]}',
            'smh+1+{"x":"' + "y" * 101 + '"}',
        ),
        *(
            "smd+1+" + json.dumps({"fields": [str(n) for n in range(51)]}),
            "sor+" + json.dumps(dict.fromkeys("abcdefghijklmnopq")),
        ),
        *('smd+1+{"fields":"31"}', 'smd+1+{"fields":[31]}', 'smd+1+{"fields":["a b"]}', 'str+{"days":"3"}', "umd+{}"),
        *("shs+exercise", "inp+exercise", "sbd+DU1", "ssd+{}", "smd+1+{}" + " " * 9000, "smd+" + "1" * 13 + "+{}"),
    ],
)
def test_a_text_that_is_not_a_command_is_refused(text: str) -> None:
    """The bridge never sends a text to IBKR that it could not parse."""
    with pytest.raises(BadRequest):
        read_command(text)


@given(st.text() | st.from_regex(r"[su][a-z]{2}\+.{0,40}(\+\{.{0,40}\})?"))
def test_every_text_is_parsed_or_refused(text: str) -> None:
    """A parsed command is written again for IBKR, and IBKR must read the topic that the bridge read."""
    try:
        command = read_command(text)
    except BadRequest:
        return
    if isinstance(command, Subscribe):
        ibkr_text = subscribe_text(command.topic, merge_args(command.topic.kind, [command.args]))
        assert read_command(ibkr_text).topic == command.topic  # type: ignore[union-attr]


@pytest.mark.parametrize("kind", SYNTAX)
def test_the_unsubscribe_command_of_every_kind_can_be_parsed(kind: TopicKind) -> None:
    """Clients send the same commands to the bridge that the bridge sends to IBKR."""
    target = {TopicKind.LADDER: "DU1+2", TopicKind.SUMMARY: "DU1", TopicKind.LEDGER: "DU1"}.get(kind, "7")
    target = "" if not SYNTAX[kind].target else target

    command = read_command(unsubscribe_text(Topic(kind, target), server="9"))

    assert isinstance(command, Unsubscribe) and command.kind is kind


def test_the_arguments_of_all_subscribers_are_merged() -> None:
    """IBKR gets one subscription for all of them. An empty list of keys means all keys."""
    assert merge_args(TopicKind.QUOTES, [{"fields": ["84", "31"]}, {}, {"fields": ["7295"]}]) == {
        "fields": ["31", "84", "7295"]
    }
    assert merge_args(TopicKind.SUMMARY, [{"keys": ["a"]}, {"keys": ["b"], "fields": ["x"]}]) == {
        "keys": ["a", "b"],
        "fields": [],
    }
    assert merge_args(TopicKind.SUMMARY, [{"keys": ["a"]}, {}]) == {"keys": [], "fields": []}
    assert merge_args(TopicKind.TRADES, [{"days": 2, "realtimeUpdatesOnly": True}, {}]) == {
        "realtimeUpdatesOnly": False,
        "days": 2,
    }
    assert merge_args(TopicKind.ORDERS, [{"filters": ["filled"]}]) == {}  # a filter stops IBKR's stream of orders


def test_commands_are_written_as_in_ibkrs_reference() -> None:
    """The expected texts are those of IBKR's reference."""
    assert subscribe_text(Topic(TopicKind.QUOTES, "7"), {"fields": ["31"]}) == 'smd+7+{"fields":["31"]}'
    assert subscribe_text(Topic(TopicKind.ORDERS), {}) == "sor+{}"
    assert subscribe_text(Topic(TopicKind.LADDER, "DU1+7"), {}) == "sbd+DU1+7"
    assert unsubscribe_text(Topic(TopicKind.QUOTES, "7")) == "umd+7+{}"
    assert unsubscribe_text(Topic(TopicKind.HISTORY, "7"), "20477") == "umh+20477"
    assert unsubscribe_text(Topic(TopicKind.LADDER, "DU1+7")) == "ubd+DU1"
    assert unsubscribe_text(Topic(TopicKind.TRADES)) == "utr+{}"


@pytest.mark.parametrize(
    ("unsubscribe", "reply"),
    [
        (Unsubscribe(TopicKind.SUMMARY, "DU1"), {"result": "unsubscribed from summary"}),
        (Unsubscribe(TopicKind.LEDGER, "DU1"), {"result": "unsubscribed from ledger"}),
        (Unsubscribe(TopicKind.HISTORY, "20477"), {"message": "Unsubscribed 20477"}),
        (Unsubscribe(TopicKind.QUOTES, "7"), None),
    ],
)
def test_the_unsubscribe_commands_that_ibkr_answers_are_answered(
    unsubscribe: Unsubscribe, reply: dict[str, Any] | None
) -> None:
    """Clients wait for the message that they know from IBKR."""
    assert unsubscribe_reply(unsubscribe) == reply
    assert json.dumps(reply)
