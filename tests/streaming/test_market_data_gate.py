"""The stage that counts market data lines, and answers what would close them for everybody."""

from __future__ import annotations

import json

import pytest

from ibkr_bridge.errors import MarketDataLimit
from ibkr_bridge.streaming.market_data_gate import MarketDataGate
from ibkr_bridge.streaming.market_data_lines import MAX_MARKET_DATA_LINES
from ibkr_bridge.streaming.protocol import Subscribe, Topic, TopicKind
from ibkr_bridge.streaming.subscriber import Subscriber
from ibkr_bridge.streaming.upstream_subscriptions import UpstreamSubscriptions
from tests.calls.stage_setup import OK, FakeUpstream, context_for
from tests.clocks import ManualClock
from tests.streaming.readers import RecordingEncoding, WritableSink

SNAPSHOT = "/iserver/marketdata/snapshot?fields=31&conids="


class Gate(MarketDataGate):
    """The stage, what IBKR is told, and a caller."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.subscriptions = UpstreamSubscriptions(ManualClock())
        self.subscriptions.on_socket_open(self.told.append)
        super().__init__(self.subscriptions)

    @property
    def lines(self) -> int:
        """How many lines calls use."""
        return len(self.subscriptions.line_usage)

    async def look(self, conids: str, key: str = "one") -> None:
        """A caller takes a snapshot."""
        await self(context_for("GET", SNAPSHOT + conids, key_label=key), FakeUpstream())

    async def say(self, path: str, body: bytes = b"{}", key: str = "one") -> object:
        """A caller gives something back; nothing of it is sent."""
        upstream = FakeUpstream()
        context = context_for("GET" if path.endswith("all") else "POST", path, body, key_label=key)
        response = await self(context, upstream)
        assert (upstream.contexts, context.source) == ([], "bridge")
        return json.loads(response.body)

    def stream(self, conid: str) -> None:
        """Somebody reads the quotes of a contract."""
        subscribe, reader = (
            Subscribe(Topic(TopicKind.QUOTES, conid), {"fields": ["31"]}),
            Subscriber(WritableSink(), RecordingEncoding()),
        )
        subscription = self.subscriptions.get_or_create(subscribe, reader)
        subscription.add(reader, subscribe, 0)
        self.subscriptions.ensure(subscription)


async def test_other_calls_pass_without_being_counted() -> None:
    """They use no line."""
    gate, upstream = Gate(), FakeUpstream()

    assert await gate(context_for("GET", "/portfolio/accounts"), upstream) is OK
    assert (len(upstream.contexts), gate.lines) == (1, 0)


@pytest.mark.parametrize(
    ("conids", "lines"), [("8", 1), ("8,9", 2), ("8@SMART,8", 1), ("8,x,", 1), ("", 0), ("8%2C9", 2)]
)
async def test_a_snapshot_opens_a_line_for_each_contract(conids: str, lines: int) -> None:
    """It is sent all the same; what is no contract opens none."""
    gate, upstream = Gate(), FakeUpstream()

    await gate(context_for("GET", SNAPSHOT + conids, key_label="one"), upstream)

    assert (gate.lines, len(upstream.contexts)) == (lines, 1)


async def test_the_oldest_line_of_calls_makes_room_for_a_new_one() -> None:
    """IBKR sends a hundred contracts at a time, whoever asked for them."""
    gate = Gate()
    for conid in range(MAX_MARKET_DATA_LINES):
        await gate.look(str(conid + 1))

    await gate.look("1")
    await gate.look("500")

    assert (gate.told, gate.lines) == (["umd+2+{}"], MAX_MARKET_DATA_LINES)


async def test_a_snapshot_is_refused_where_streams_use_every_line() -> None:
    """Nothing is sent: IBKR would answer without quotes, or end somebody's stream."""
    gate, upstream = Gate(), FakeUpstream()
    for conid in range(MAX_MARKET_DATA_LINES):
        gate.stream(str(conid + 1))

    with pytest.raises(MarketDataLimit):
        await gate(context_for("GET", f"{SNAPSHOT}500", key_label="one"), upstream)

    assert upstream.contexts == []


async def test_a_snapshot_of_what_is_streamed_needs_no_line_of_its_own() -> None:
    """The contract is open already."""
    gate = Gate()
    for conid in range(MAX_MARKET_DATA_LINES):
        gate.stream(str(conid + 1))

    await gate.look("7")

    assert gate.lines == 1


async def test_unsubscribe_closes_a_contract_for_its_caller_alone() -> None:
    """IBKR's own call would close it for everybody who looks at it."""
    gate = Gate()
    await gate.look("8", "one")
    await gate.look("8", "other")

    assert await gate.say("/iserver/marketdata/unsubscribe", b'{"conid":8}', "one") == {"success": True}
    assert gate.told == []
    await gate.say("/iserver/marketdata/unsubscribe", b'{"conid":"8"}', "other")

    assert gate.told == ["umd+8+{}"]


async def test_unsubscribe_all_closes_what_its_caller_opened() -> None:
    """And leaves the rest."""
    gate = Gate()
    await gate.look("8,9", "one")
    await gate.look("9,10", "other")

    assert await gate.say("/iserver/marketdata/unsubscribeall", key="one") == {"unsubscribed": True}

    assert (gate.told, gate.lines) == (["umd+8+{}"], 2)


async def test_a_contract_that_is_streamed_stays_open() -> None:
    """Its readers would go without quotes."""
    gate = Gate()
    gate.stream("8")
    gate.told.clear()
    await gate.look("8")

    await gate.say("/iserver/marketdata/unsubscribe", b'{"conid":8}')

    assert gate.told == []


@pytest.mark.parametrize("body", [b"", b"[]", b'{"conid":null}', b'{"conid":77}'])
async def test_what_nobody_opened_is_given_back_without_a_word(body: bytes) -> None:
    """The caller is told yes, as IBKR tells it."""
    gate = Gate()

    assert await gate.say("/iserver/marketdata/unsubscribe", body) == {"success": True}
    assert gate.told == []
