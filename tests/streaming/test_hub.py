"""Who reads what: the hub between an IBKR that says anything and readers of every kind."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ibkr_bridge.api.stream_encoding import SSE_ENCODING, WEBSOCKET_ENCODING
from ibkr_bridge.errors import BadRequest, Busy, MarketDataLimit
from ibkr_bridge.streaming import hub as hubs
from ibkr_bridge.streaming.hub import Hub
from ibkr_bridge.streaming.protocol import Heartbeat, Subscribe, TopicKind, Unsubscribe, read_command
from ibkr_bridge.streaming.subscriber import StreamEvent, Subscriber
from ibkr_bridge.streaming.upstream_subscriptions import QUARANTINE_S, RENEW_AFTER_S, UNUSED_GRACE_S
from tests.clocks import ManualClock
from tests.streaming.readers import WritableSink


class Heard:
    """Events as they are, for readers who note them."""

    def __init__(self, by_rows: bool) -> None:
        self.events: list[StreamEvent] = []
        self._encoding = SSE_ENCODING if by_rows else WEBSOCKET_ENCODING

    def encode(self, event: StreamEvent) -> bytes:
        """See `readers.Form`."""
        data = self._encoding.encode(event)
        if data:
            self.events.append(event)
        return data


class Desk:
    """A hub, what it tells IBKR, and readers that note what they hear."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.hub = Hub(self.clock)
        self.asked: list[str] = []
        self.heard: dict[Subscriber, Heard] = {}

    def up(self) -> None:
        """A new socket stands."""
        self.hub.mark_fresh(self.asked.append, "somebody")

    def reader(self, *commands: str, last: str | None = None, rows: bool = False) -> Subscriber:
        """Somebody reads these."""
        heard = Heard(rows)
        subscriber = Subscriber(WritableSink(), heard)
        self.heard[subscriber] = heard
        self.hub.add_subscriber(subscriber)
        for command in commands:
            self.say(subscriber, command, last)
        return subscriber

    def say(self, subscriber: Subscriber, command: str, last: str | None = None) -> None:
        """A reader says a command."""
        meant = read_command(command)
        assert not isinstance(meant, Heartbeat)
        if isinstance(meant, Subscribe):
            self.hub.subscribe(subscriber, meant, last)
        else:
            assert isinstance(meant, Unsubscribe)
            self.hub.unsubscribe(subscriber, meant)

    def told(self, subscriber: Subscriber) -> list[dict[str, Any]]:
        """What a reader was told since the last look, but for named events."""
        events, self.heard[subscriber].events = self.heard[subscriber].events, []
        return [event.message for event in events if not event.name]

    def new(self) -> list[str]:
        """What IBKR was told since the last look."""
        asked, self.asked[:] = list(self.asked), []
        return asked

    def later(self, seconds: float) -> None:
        """So much time passes, a second at a time at most matters."""
        self.clock.advance(seconds)
        self.hub.upstream_subscriptions.housekeep()


@pytest.fixture
async def desk() -> Desk:
    """A hub whose source is fresh."""
    made = Desk()
    made.up()
    return made


KINDS = (
    *('smd+7+{"fields":["31"]}', "sor+{}", "str+{}", "spl+{}", 'ssd+DU1+{"keys":["a"]}', 'sld+DU1+{"keys":["a"]}'),
    *('smh+7+{"period":"1d"}', "sbd+DU1+7", 'sor+{"filters":["filled"]}'),
)
NAMES = [
    "smd+7",
    "sor",
    "str",
    "spl",
    "ssd+DU1",
    "sld+DU1",
    "smh+7",
    "sbd+DU1+7",
    "act",
    "sts",
    "ntf",
    "error",
    "x",
    "",
]
MEMBERS = ["topic", "args", "result", "data", "key", "conid", "conidEx", "orderId", "execution_id", "serverId", "error"]
LEAF = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(max_size=4)
    | st.sampled_from(NAMES)
)
TREE = st.recursive(
    LEAF,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*MEMBERS, "31", "status"]), inner),
    max_leaves=12,
)
MESSAGE = st.dictionaries(st.sampled_from([*MEMBERS, "31", "_updated", "trade_time_r"]), TREE)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300)
@given(message=MESSAGE, topic=st.sampled_from(NAMES) | TREE)
async def test_ibkr_can_say_anything(message: dict[str, Any], topic: Any) -> None:
    """With every kind subscribed to, in both forms: it is told, or passed over."""
    desk = Desk()
    desk.up()
    subscribers = [desk.reader(*KINDS[:-1]), desk.reader(*KINDS[:-1], rows=True), desk.reader(KINDS[-1])]

    desk.hub.on_message({**message, "topic": topic})
    desk.reader(*KINDS[:-1], rows=True)

    assert all(subscriber.closed_reason is None for subscriber in subscribers)


async def test_fields_are_asked_for_together_and_shared_out(desk: Desk) -> None:
    """What somebody left behind is asked for until the renewal: coming and going makes no noise."""
    one = desk.reader('smd+7+{"fields":["31"]}')
    other = desk.reader('smd+7+{"fields":["84"]}')
    for _ in range(50):
        desk.say(one, 'smd+7+{"fields":["84"]}')
        desk.say(one, 'smd+7+{"fields":["31"]}')
    asked = desk.new()
    desk.say(one, "umd+7+{}")
    desk.hub.on_message({"topic": "smd+7", "conid": 7, "31": "1", "84": "2"})
    desk.later(RENEW_AFTER_S)

    assert asked == ['smd+7+{"fields":["31"]}', 'smd+7+{"fields":["31","84"]}']
    assert desk.told(other) == [{"topic": "smd+7", "conid": 7, "84": "2"}]
    assert desk.new() == ['smd+7+{"fields":["84"]}']


async def test_what_got_old_unseen_is_not_told(desk: Desk) -> None:
    """A field that nobody asked IBKR for in between."""
    first = desk.reader('smd+7+{"fields":["31"]}')
    second = desk.reader('smd+7+{"fields":["86"]}')
    desk.hub.on_message({"topic": "smd+7", "conid": 7, "31": "1", "86": "2"})
    desk.hub.remove_subscriber(second)
    desk.later(RENEW_AFTER_S)
    desk.hub.on_message({"topic": "smd+7", "conid": 7, "31": "3"})

    newcomer = desk.reader('smd+7+{"fields":["31","86"]}')

    assert desk.told(newcomer) == [{"topic": "smd+7", "conid": 7, "31": "3", "_age": 0.0}]
    assert desk.told(first)


async def test_a_contract_has_fifty_fields_for_all_its_readers(desk: Desk) -> None:
    """IBKR would drop the rest, of whomever they are."""
    first = desk.reader("smd+7+" + json.dumps({"fields": [str(number) for number in range(40)]}))
    with pytest.raises(MarketDataLimit):
        desk.reader("smd+7+" + json.dumps({"fields": [str(number) for number in range(30, 60)]}))
    desk.hub.remove_subscriber(first)
    desk.reader("smd+7+" + json.dumps({"fields": [str(number) for number in range(30, 60)]}))

    assert all(len(json.loads(frame.split("+", 2)[2])["fields"]) <= 50 for frame in desk.new())


async def test_the_last_to_leave_ends_it_after_a_grace(desk: Desk) -> None:
    """Who comes back in time finds it running."""
    subscriber = desk.reader("sor+{}")
    desk.say(subscriber, "uor+{}")
    desk.later(UNUSED_GRACE_S - 1)
    desk.say(subscriber, "sor+{}")
    desk.later(UNUSED_GRACE_S)
    kept = desk.new()
    desk.say(subscriber, "uor+{}")
    desk.later(UNUSED_GRACE_S)

    assert (kept, desk.new()) == (["sor+{}"], ["uor+{}"])


async def test_a_reopened_socket_is_asked_for_what_is_read(desk: Desk) -> None:
    """And for nothing that was left meanwhile."""
    subscriber = desk.reader("sor+{}", "spl+{}", 'smd+7+{"fields":["31"]}')
    desk.hub.mark_stale("stream_disconnected")
    desk.say(subscriber, "upl+{}")
    desk.reader('smd+8+{"fields":["31"]}')
    desk.new()
    desk.up()

    assert sorted(desk.new()) == ['smd+7+{"fields":["31"]}', 'smd+8+{"fields":["31"]}', "sor+{}"]


async def test_lines_are_given_back_when_they_can_be(desk: Desk) -> None:
    """Not while nothing can be told: the books would say other than IBKR does."""
    desk.hub.upstream_subscriptions.line_usage.opened_by_call("me", [str(number) for number in range(100)], frozenset())
    desk.hub.mark_stale("stream_disconnected")
    desk.reader('smd+7000+{"fields":["31"]}')
    desk.up()

    assert desk.new() == ["umd+0+{}", 'smd+7000+{"fields":["31"]}']


async def test_quotes_nobody_reads_make_room_for_snapshots(desk: Desk) -> None:
    """At once, and not after the grace alone."""
    subscribers = [desk.reader(f"smd+{number}+{{}}") for number in range(100)]
    for subscriber in subscribers:
        desk.hub.remove_subscriber(subscriber)
    desk.new()
    desk.hub.upstream_subscriptions.free_market_data_lines(["7000"])
    desk.hub.upstream_subscriptions.line_usage.opened_by_call(
        "me", ["7000"], desk.hub.upstream_subscriptions.streamed_conids
    )

    assert desk.new() == ["umd+0+{}"]


# -- trades


def trades(*names: str) -> dict[str, Any]:
    """A message of trades."""
    return {"topic": "str", "args": [{"execution_id": name, "trade_time_r": 1_781_712_000_000} for name in names]}


async def test_a_trade_is_told_once(desk: Desk) -> None:
    """Whatever others ask for, and after an outage too."""
    first = desk.reader('str+{"days":1}')
    desk.hub.on_message(trades("1", "2"))
    desk.reader('str+{"days":7}')
    desk.hub.on_message(trades("1", "2", "3"))
    desk.hub.mark_stale("stream_disconnected")
    desk.up()
    desk.hub.on_message(trades("1", "2", "3"))

    told = [row["execution_id"] for message in desk.told(first) for row in message["args"]]
    assert told == ["1", "2", "3"]


async def test_who_wants_only_new_trades_gets_no_others(desk: Desk) -> None:
    """Although another reader has IBKR tell them."""
    only_new = desk.reader('str+{"realtimeUpdatesOnly":true}')
    desk.reader('str+{"days":7}')
    late = {"execution_id": "4", "trade_time_r": desk.clock.utc().timestamp() * 1000 + 5}
    desk.hub.on_message({"topic": "str", "args": [{"execution_id": "1", "trade_time_r": 1_781_000_000_000}]})
    desk.hub.on_message({"topic": "str", "args": [late]})

    assert desk.told(only_new) == [{"topic": "str", "args": [late]}]


async def test_no_trade_is_told_twice_however_many_outages(desk: Desk) -> None:
    """Also where the list comes in pieces, and the source is lost in the middle of it."""
    subscriber = desk.reader("str+{}")
    desk.hub.on_message(trades("1", "2", "3"))
    for names in (["4"], ["1"], ["1", "2", "3", "4", "5"]):
        desk.hub.mark_stale("stream_disconnected")
        desk.up()
        desk.hub.on_message(trades(*names))

    assert [row["execution_id"] for message in desk.told(subscriber) for row in message["args"]] == [
        "1",
        "2",
        "3",
        "4",
        "5",
    ]


async def test_a_long_days_trades_are_told_once(desk: Desk) -> None:
    """More than a picture holds."""
    subscriber = desk.reader("str+{}")
    names = [str(number) for number in range(1500)]
    for wish in ("str+{}", 'str+{"days":7}'):
        desk.reader(wish)
        for start in range(0, 1500, 100):
            desk.hub.on_message(trades(*names[start : start + 100]))

    assert [row["execution_id"] for message in desk.told(subscriber) for row in message["args"]] == names


async def test_who_comes_back_after_everybody_had_left_hears_what_is_new(desk: Desk) -> None:
    """By its last id: a page is closed for a minute, and nothing is told again."""
    subscriber = desk.reader("str+{}", rows=True)
    desk.hub.on_message(trades("1", "2"))
    last = desk.hub.replay_buffer.last_id
    desk.hub.remove_subscriber(subscriber)
    desk.later(60)

    again = desk.reader("str+{}", last=last, rows=True)
    newcomer = desk.reader("str+{}")
    desk.hub.on_message(trades("1", "2", "3"))

    told = [row["execution_id"] for event in desk.heard[again].events for _, row in event.rows]
    assert told == ["3"]
    assert [row["execution_id"] for message in desk.told(newcomer) for row in message["args"]] == ["1", "2", "3"]


async def test_orders_that_may_be_old_are_not_shown_for_new_ones(desk: Desk) -> None:
    """Where the whole list is on its way; while the source is lost they are all there is."""
    subscriber = desk.reader("sor+{}")
    desk.hub.on_message({"topic": "sor", "args": [{"orderId": 1, "status": "Submitted"}]})
    desk.hub.remove_subscriber(subscriber)
    desk.later(60)

    newcomer = desk.reader("sor+{}")
    at_once = desk.told(newcomer)
    desk.hub.on_message({"topic": "sor", "args": [{"orderId": 1, "status": "Filled"}]})
    desk.hub.mark_stale("stream_disconnected")

    assert at_once == []
    assert [row["status"] for told in desk.told(newcomer) for row in told["args"]] == ["Filled"]
    assert [row["status"] for told in desk.told(desk.reader("sor+{}")) for row in told["args"]] == ["Filled"]


# -- lines and suspects


async def test_no_line_is_lost_with_a_socket(desk: Desk) -> None:
    """Who leaves while nothing can be told leaves a debt; another session has no debts."""
    for session_is_lost in (False, True):
        subscriber = desk.reader('smd+7+{"fields":["31"]}', 'smd+8+{"fields":["31"]}')
        desk.hub.on_socket_closed(was_cut=False)
        desk.say(subscriber, "umd+7+{}")
        desk.later(UNUSED_GRACE_S)
        desk.hub.remove_subscriber(subscriber)
        if session_is_lost:
            desk.hub.upstream_subscriptions.reset_session()
        desk.new()
        desk.up()

        assert desk.new() == ([] if session_is_lost else ["umd+7+{}", "umd+8+{}"])


async def test_an_exchange_beside_the_contract_goes_on(desk: Desk) -> None:
    """Nobody knows what IBKR ends with the contract; and each message goes to whom it names."""
    plain, exchange = desk.reader("smd+7+{}"), desk.reader("smd+7@NYSE+{}")
    desk.hub.on_message({"topic": "smd+7", "conidEx": "7@NYSE", "conid": 7, "31": "1"})
    told = len(desk.told(plain)), len(desk.told(exchange))
    desk.hub.remove_subscriber(plain)
    desk.new()
    desk.later(UNUSED_GRACE_S)

    assert told == (0, 1)
    assert desk.new() == ["umd+7+{}", 'smd+7@NYSE+{"fields":[]}']


async def test_what_ends_the_socket_each_time_is_found_out(desk: Desk) -> None:
    """One wish does not keep everybody in the dark: the others go on, and whoever wished for it is told."""
    good, bad = desk.reader("sor+{}", 'smd+7+{"fields":["31"]}'), desk.reader('smh+7+{"period":"1w"}')
    asked, trials = [], []
    for _ in range(3):
        desk.new()
        desk.hub.on_message({"topic": "sor", "args": []})
        desk.hub.on_message({"topic": "smd+7", "conid": 7, "31": "1"})
        desk.clock.advance(0.5)
        desk.hub.on_socket_closed(was_cut=True)
        desk.up()
        asked.append(desk.new())
        desk.clock.advance(1.0)
        desk.hub.housekeep()
        trials.append(desk.new())

    assert asked == [["sor+{}", 'smd+7+{"fields":["31"]}']] * 3
    assert trials == [['smh+7+{"period":"1w"}'], ['smh+7+{"period":"1w"}'], []]
    (told,) = (event for event in desk.heard[bad].events if event.name == "problem")
    assert told.message["code"] == "subscription_quarantined"
    assert not [event for event in desk.heard[good].events if event.name == "problem"]
    with pytest.raises(BadRequest):
        desk.say(bad, 'smh+7+{"period":"1w"}')
    desk.clock.advance(QUARANTINE_S)
    desk.say(bad, 'smh+7+{"period":"1d"}')


async def test_who_was_near_when_the_socket_was_cut_is_soon_free(desk: Desk) -> None:
    """A Gateway that is restarted in that moment makes nobody guilty."""
    subscriber = desk.reader('smd+999+{"fields":["31"]}')
    desk.hub.on_socket_closed(was_cut=True)
    desk.up()
    desk.new()
    for _ in range(6):
        desk.clock.advance(1.0)
        desk.hub.housekeep()
    asked = desk.new()
    desk.hub.on_socket_closed(was_cut=True)
    desk.up()

    assert asked == ['smd+999+{"fields":["31"]}'] == desk.new()
    assert subscriber.closed_reason is None


# -- charts


async def test_another_period_is_another_chart(desk: Desk) -> None:
    """The one before it is ended, and not told in its place."""
    subscriber = desk.reader('smh+7+{"period":"1d"}')
    desk.hub.on_message({"topic": "smh+7", "serverId": "1", "timePeriod": "1d", "data": [1]})
    desk.told(subscriber), desk.new()

    desk.say(subscriber, 'smh+7+{"period":"1w"}')
    between = desk.told(subscriber)
    desk.hub.on_message({"topic": "smh+7", "serverId": "2", "timePeriod": "1w", "data": [2]})

    assert desk.new() == ["umh+1", 'smh+7+{"period":"1w"}']
    assert (between, [told["data"] for told in desk.told(subscriber)]) == ([], [[2]])


async def test_a_chart_that_others_read_is_not_changed_under_them(desk: Desk) -> None:
    """IBKR tells two charts of a contract by their contract alone."""
    desk.reader('smh+7+{"period":"1d"}')
    with pytest.raises(MarketDataLimit):
        desk.reader('smh+7+{"period":"1w"}')


async def test_two_charts_of_a_contract_are_not_taken_for_one_while_the_source_is_away(desk: Desk) -> None:
    """Nothing has been asked for yet; only one of them will be."""
    desk.hub.mark_stale("stream_disconnected")
    desk.reader('smh+7+{"period":"1d"}')
    with pytest.raises(MarketDataLimit):
        desk.reader('smh+7+{"period":"1w"}')


async def test_a_newcomer_gets_the_chart_and_no_scrap(desk: Desk) -> None:
    """Follow-ups bear the chart's id as well."""
    desk.reader('smh+7+{"period":"1d"}')
    desk.hub.on_message({"topic": "smh+7", "serverId": "1", "timePeriod": "1d", "data": [1, 2]})
    desk.hub.on_message({"topic": "smh+7", "serverId": "1", "data": [3]})

    newcomer = desk.reader('smh+7+{"period":"1d"}')

    assert [told["data"] for told in desk.told(newcomer)] == [[1, 2]]


async def test_a_chart_is_ended_by_any_id_its_reader_knows(desk: Desk) -> None:
    """Also one that it had on the socket before."""
    subscriber = desk.reader('smh+7+{"period":"1d"}')
    desk.hub.on_message({"topic": "smh+7", "serverId": "1", "timePeriod": "1d"})
    desk.hub.mark_stale("stream_disconnected")
    desk.up()
    desk.hub.on_message({"topic": "smh+7", "serverId": "2", "timePeriod": "1d"})
    desk.new()

    desk.say(subscriber, "umh+1")
    desk.later(UNUSED_GRACE_S)

    assert desk.new() == ["umh+2"]


async def test_a_chart_that_comes_when_nobody_wants_it_is_ended(desk: Desk) -> None:
    """Its id was not known before; it would keep one of five places for ever."""
    subscriber = desk.reader('smh+7+{"period":"1d"}')
    desk.hub.remove_subscriber(subscriber)
    desk.later(UNUSED_GRACE_S)
    desk.new()

    desk.hub.on_message({"topic": "smh+7", "serverId": "1", "timePeriod": "1d"})

    assert desk.new() == ["umh+1"]


async def test_a_refused_chart_takes_no_place(desk: Desk) -> None:
    """Who asked for it is told, and nobody else."""
    subscriber, other = desk.reader('smh+7+{"period":"1d"}'), desk.reader("sor+{}")
    desk.hub.on_message({"topic": "smh+7", "error": "no such chart"})

    (event,) = (event for event in desk.heard[subscriber].events if event.name)
    assert (event.name, event.message["error"]) == ("problem", "no such chart")
    assert desk.told(other) == []
    assert desk.hub.counts["topics"] == 1


# -- what is told to everybody


async def test_a_newcomer_is_told_who_is_signed_in_now(desk: Desk) -> None:
    """Not who was before the source was lost."""
    desk.hub.on_message({"topic": "act", "args": {"accounts": ["DU1"]}})
    with_it = [message.get("topic") for message in desk.hub.greeting()]
    desk.hub.mark_stale("signed_out")
    without = desk.hub.greeting()
    desk.up()

    assert with_it == ["system", "act", "sts"]
    assert without == [{"message": "waiting for session"}]
    assert [message.get("topic") for message in desk.hub.greeting()] == ["system", "sts"]


async def test_a_replay_at_its_bound_cuts_nobody_off(desk: Desk) -> None:
    """A thousand rows are one event."""
    desk.reader("sor+{}")
    start = desk.hub.replay_buffer.last_id
    for number in range(1000):
        desk.hub.on_message({"topic": "sor", "args": [{"orderId": number}]})

    subscriber = desk.reader("sor+{}", last=start, rows=True)

    assert subscriber.closed_reason is None
    assert sum(len(event.rows) for event in desk.heard[subscriber].events) == 1000


async def test_the_days_orders_fill_the_ring_once(desk: Desk) -> None:
    """However often the source comes back and tells all of them."""
    subscriber = desk.reader("sor+{}")
    for _ in range(5):
        desk.hub.mark_stale("stream_disconnected")
        desk.up()
        desk.hub.on_message({"topic": "sor", "args": [{"orderId": number} for number in range(300)]})

    assert (
        len(
            desk.hub.replay_buffer.since(TopicKind.ORDERS, f"{desk.hub.replay_buffer.last_id.rpartition('-')[0]}-0")
            or ()
        )
        == 300
    )
    assert len(desk.told(subscriber)) == 5  # the whole picture follows each `fresh`


async def test_updates_are_of_the_states_that_were_asked_for(desk: Desk) -> None:
    """Although they say the state only where it changed."""
    working = desk.reader('sor+{"filters":["submitted"]}')
    desk.hub.on_message(
        {"topic": "sor", "args": [{"orderId": 1, "status": "Submitted"}, {"orderId": 2, "status": "Filled"}]}
    )
    desk.hub.on_message({"topic": "sor", "args": [{"orderId": 1, "price": "5"}, {"orderId": 2, "price": "6"}]})

    assert [[row["orderId"] for row in told["args"]] for told in desk.told(working)] == [[1], [1]]


async def test_one_who_catches_up_gets_the_newest_of_all(desk: Desk) -> None:
    """Orders first, which fill the connection again; the newest quote is not lost over that."""
    subscriber = desk.reader("sor+{}", 'smd+7+{"fields":["31"]}')
    paper = subscriber.sink
    desk.hub._flush_all()
    paper.is_writable = False  # type: ignore[misc]
    desk.hub.on_message({"topic": "sor", "args": [{"orderId": 1}]})
    desk.hub._flush_all()
    desk.hub.on_message({"topic": "smd+7", "conid": 7, "31": "newest"})
    desk.hub._flush_all()
    paper.is_writable, written = True, []  # type: ignore[misc]

    def write(data: bytes) -> None:
        written.append(data)
        paper.is_writable = len(written) != 1  # type: ignore[misc]  # the orders fill it

    paper.write = write  # type: ignore[method-assign]
    desk.hub._flush_all()
    desk.hub._flush_all()
    paper.is_writable = True  # type: ignore[misc]
    desk.hub._flush_all()

    assert b"newest" not in written[0] and b"newest" in written[1]
    assert subscriber.is_lagging is False


async def test_there_is_room_for_others_beside_those_who_read(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Streams never end, so the door could make none."""
    monkeypatch.setattr(hubs, "MAX_SUBSCRIBERS", 2)
    desk.reader()
    desk.hub.check_capacity()
    desk.reader()
    with pytest.raises(Busy):
        desk.hub.check_capacity()


@pytest.fixture(autouse=True)
def no_rounds(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing is written: readers note what they are told."""
    monkeypatch.setattr("ibkr_bridge.streaming.subscriber.FlushScheduler.schedule", lambda _: None)
    yield
