"""The stage that counts market data lines, and answers the calls that would close them for all callers."""

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
    """The stage, the commands that it sends to IBKR, and the calls of its callers."""

    def __init__(self) -> None:
        self.commands: list[str] = []
        self.subscriptions = UpstreamSubscriptions(ManualClock())
        self.subscriptions.on_socket_open(self.commands.append)
        super().__init__(self.subscriptions)

    @property
    def lines(self) -> int:
        """How many market data lines the calls use."""
        return len(self.subscriptions.line_usage)

    async def fetch_snapshot(self, conids: str, key: str = "one") -> None:
        """Fetch a quote snapshot as the caller with this key."""
        await self(context_for("GET", SNAPSHOT + conids, key_label=key), FakeUpstream())

    async def unsubscribe(self, path: str, body: bytes = b"{}", key: str = "one") -> object:
        """Send an unsubscribe call as the caller with this key, and check that it is not sent to IBKR."""
        upstream = FakeUpstream()
        context = context_for("GET" if path.endswith("all") else "POST", path, body, key_label=key)
        response = await self(context, upstream)
        assert (upstream.contexts, context.source) == ([], "bridge")
        return json.loads(response.body)

    def add_stream(self, conid: str) -> None:
        """Subscribe a subscriber to the quotes of a contract."""
        subscribe = Subscribe(Topic(TopicKind.QUOTES, conid), {"fields": ["31"]})
        subscriber = Subscriber(WritableSink(), RecordingEncoding())
        subscription = self.subscriptions.get_or_create(subscribe, subscriber)
        subscription.add(subscriber, subscribe, 0)
        self.subscriptions.ensure(subscription)


async def test_other_calls_pass_without_being_counted() -> None:
    """Only quote snapshots use market data lines."""
    gate, upstream = Gate(), FakeUpstream()

    assert await gate(context_for("GET", "/portfolio/accounts"), upstream) is OK
    assert (len(upstream.contexts), gate.lines) == (1, 0)


@pytest.mark.parametrize(
    ("conids", "lines"), [("8", 1), ("8,9", 2), ("8@SMART,8", 1), ("8,x,", 1), ("", 0), ("8%2C9", 2)]
)
async def test_a_quote_snapshot_opens_a_line_for_each_contract(conids: str, lines: int) -> None:
    """A text that is not a contract opens no line. The call is sent in every case."""
    gate, upstream = Gate(), FakeUpstream()

    await gate(context_for("GET", SNAPSHOT + conids, key_label="one"), upstream)

    assert (gate.lines, len(upstream.contexts)) == (lines, 1)


async def test_the_least_recently_used_line_is_closed_for_a_new_one() -> None:
    """IBKR sends at most a hundred contracts at a time to all callers together."""
    gate = Gate()
    for conid in range(MAX_MARKET_DATA_LINES):
        await gate.fetch_snapshot(str(conid + 1))

    await gate.fetch_snapshot("1")
    await gate.fetch_snapshot("500")

    assert (gate.commands, gate.lines) == (["umd+2+{}"], MAX_MARKET_DATA_LINES)


async def test_a_quote_snapshot_is_refused_while_streams_use_every_line() -> None:
    """IBKR would answer without quotes, or end the quotes of a stream. So the call is not sent."""
    gate, upstream = Gate(), FakeUpstream()
    for conid in range(MAX_MARKET_DATA_LINES):
        gate.add_stream(str(conid + 1))

    with pytest.raises(MarketDataLimit):
        await gate(context_for("GET", f"{SNAPSHOT}500", key_label="one"), upstream)

    assert upstream.contexts == []


async def test_a_quote_snapshot_of_a_streamed_contract_needs_no_further_line() -> None:
    """The contract is open already, so the call is allowed although all lines are used."""
    gate = Gate()
    for conid in range(MAX_MARKET_DATA_LINES):
        gate.add_stream(str(conid + 1))

    await gate.fetch_snapshot("7")

    assert gate.lines == 1


async def test_unsubscribe_gives_up_a_contract_for_its_caller_only() -> None:
    """IBKR's own call would close the contract for all other callers too."""
    gate = Gate()
    await gate.fetch_snapshot("8", "one")
    await gate.fetch_snapshot("8", "other")

    assert await gate.unsubscribe("/iserver/marketdata/unsubscribe", b'{"conid":8}', "one") == {"success": True}
    assert gate.commands == []
    await gate.unsubscribe("/iserver/marketdata/unsubscribe", b'{"conid":"8"}', "other")

    assert gate.commands == ["umd+8+{}"]


async def test_unsubscribe_all_gives_up_the_contracts_of_its_caller_only() -> None:
    """Contracts that another caller uses stay open."""
    gate = Gate()
    await gate.fetch_snapshot("8,9", "one")
    await gate.fetch_snapshot("9,10", "other")

    assert await gate.unsubscribe("/iserver/marketdata/unsubscribeall", key="one") == {"unsubscribed": True}

    assert (gate.commands, gate.lines) == (["umd+8+{}"], 2)


async def test_a_streamed_contract_stays_open_after_unsubscribe() -> None:
    """The subscribers of the stream would get no more quotes."""
    gate = Gate()
    gate.add_stream("8")
    gate.commands.clear()
    await gate.fetch_snapshot("8")

    await gate.unsubscribe("/iserver/marketdata/unsubscribe", b'{"conid":8}')

    assert gate.commands == []


@pytest.mark.parametrize("body", [b"", b"[]", b'{"conid":null}', b'{"conid":77}'])
async def test_unsubscribe_succeeds_for_a_contract_that_is_not_open(body: bytes) -> None:
    """IBKR answers such a call with success too."""
    gate = Gate()

    assert await gate.unsubscribe("/iserver/marketdata/unsubscribe", body) == {"success": True}
    assert gate.commands == []
