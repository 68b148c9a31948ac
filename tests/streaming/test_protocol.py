"""IBKR's text protocol, read and written."""

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
    ("said", "meant"),
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
def test_what_is_said_is_understood(said: str, meant: object) -> None:
    """With and without arguments, as clients write it."""
    assert read_command(said) == meant


@pytest.mark.parametrize(
    "said",
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
def test_what_is_no_command_is_refused(said: str) -> None:
    """In words that repeat nothing of it."""
    with pytest.raises(BadRequest):
        read_command(said)


@given(st.text() | st.from_regex(r"[su][a-z]{2}\+.{0,40}(\+\{.{0,40}\})?"))
def test_no_text_is_more_than_a_command_or_a_refusal(said: str) -> None:
    """And what was understood can be said to IBKR without a character that it could read otherwise."""
    try:
        meant = read_command(said)
    except BadRequest:
        return
    if isinstance(meant, Subscribe):
        text = subscribe_text(meant.topic, merge_args(meant.topic.kind, [meant.args]))
        assert read_command(text).topic == meant.topic  # type: ignore[union-attr]


@pytest.mark.parametrize("kind", SYNTAX)
def test_every_kind_can_be_ended(kind: TopicKind) -> None:
    """By the word that its clients use, too."""
    target = {TopicKind.LADDER: "DU1+2", TopicKind.SUMMARY: "DU1", TopicKind.LEDGER: "DU1"}.get(kind, "7")
    target = "" if not SYNTAX[kind].target else target

    meant = read_command(unsubscribe_text(Topic(kind, target), server="9"))

    assert isinstance(meant, Unsubscribe) and meant.kind is kind


def test_ibkr_is_asked_for_what_anybody_wants() -> None:
    """Fields are joined; an empty list of keys means all of them."""
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
    assert merge_args(TopicKind.ORDERS, [{"filters": ["filled"]}]) == {}  # they would silence IBKR's stream


def test_what_ibkr_is_told() -> None:
    """As its reference has it."""
    assert subscribe_text(Topic(TopicKind.QUOTES, "7"), {"fields": ["31"]}) == 'smd+7+{"fields":["31"]}'
    assert subscribe_text(Topic(TopicKind.ORDERS), {}) == "sor+{}"
    assert subscribe_text(Topic(TopicKind.LADDER, "DU1+7"), {}) == "sbd+DU1+7"
    assert unsubscribe_text(Topic(TopicKind.QUOTES, "7")) == "umd+7+{}"
    assert unsubscribe_text(Topic(TopicKind.HISTORY, "7"), "20477") == "umh+20477"
    assert unsubscribe_text(Topic(TopicKind.LADDER, "DU1+7")) == "ubd+DU1"
    assert unsubscribe_text(Topic(TopicKind.TRADES)) == "utr+{}"


@pytest.mark.parametrize(
    ("leave", "told"),
    [
        (Unsubscribe(TopicKind.SUMMARY, "DU1"), {"result": "unsubscribed from summary"}),
        (Unsubscribe(TopicKind.LEDGER, "DU1"), {"result": "unsubscribed from ledger"}),
        (Unsubscribe(TopicKind.HISTORY, "20477"), {"message": "Unsubscribed 20477"}),
        (Unsubscribe(TopicKind.QUOTES, "7"), None),
    ],
)
def test_some_goodbyes_are_answered(leave: Unsubscribe, told: dict[str, Any] | None) -> None:
    """Those that IBKR answers."""
    assert unsubscribe_reply(leave) == told
    assert json.dumps(told)
