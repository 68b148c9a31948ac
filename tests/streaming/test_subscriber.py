"""Subscribers: the queue of each connection, and what happens to one that reads slowly."""

from __future__ import annotations

import pytest

from ibkr_bridge.streaming.subscriber import MAX_EVENTS, SLOW_CLIENT, StreamEvent, Subscriber, above_budget


class FakeSink:
    """A connection that accepts data only while a test sets `is_writable`."""

    def __init__(self) -> None:
        self.is_writable = True
        self.unsent_bytes = 0
        self.written: list[bytes] = []
        self.reason = ""

    def write(self, data: bytes) -> None:
        """See `Sink`."""
        self.written.append(data)

    def close(self, reason: str) -> None:
        """See `Sink`."""
        self.reason = reason


class TextEncoding:
    """Encodes an event as the text of its message."""

    def encode(self, event: StreamEvent) -> bytes:
        """See `Encoding`."""
        return str(event.message["text"]).encode()


@pytest.fixture
def sink() -> FakeSink:
    """A connection."""
    return FakeSink()


@pytest.fixture
def subscriber(sink: FakeSink) -> Subscriber:
    """The subscriber on this connection."""
    return Subscriber(sink, TextEncoding())


def event(text: str) -> StreamEvent:
    """An event that must not be lost."""
    return StreamEvent({"text": text})


def test_queued_data_is_written_together_and_in_order(sink: FakeSink, subscriber: Subscriber) -> None:
    """Quotes that came before an event must also arrive before it."""
    subscriber.quotes.append(b"q1")
    subscriber.enqueue(event("e1"))
    subscriber.quotes.append(b"q2")

    assert subscriber.flush(0.0) is True
    assert subscriber.flush(0.0) is True
    assert sink.written == [b"q1e1q2"]


def test_quotes_are_dropped_while_the_connection_accepts_nothing(sink: FakeSink, subscriber: Subscriber) -> None:
    """Events stay in the queue; for quotes a snapshot follows later."""
    sink.is_writable = False
    subscriber.quotes.append(b"q1")
    subscriber.enqueue(event("e1"))
    subscriber.quotes.append(b"q2")
    is_accepted = subscriber.flush(7.0), subscriber.flush(9.0)
    sink.is_writable = True
    subscriber.flush(10.0)

    assert is_accepted == (False, False)
    assert (subscriber.is_lagging, subscriber.stuck_since) == (True, 7.0)
    assert sink.written == [b"q1e1"]


@pytest.mark.parametrize(("size", "count"), [(1, MAX_EVENTS), (1024 * 1024, 4)])
def test_a_subscriber_that_accepts_nothing_is_closed_with_a_reason(
    sink: FakeSink, subscriber: Subscriber, size: int, count: int
) -> None:
    """It is closed before an event would have to be dropped, so that it knows that it has to reconnect."""
    sink.is_writable = False
    for _ in range(count):
        subscriber.enqueue(event("x" * size))
    reason_before = subscriber.closed_reason
    subscriber.enqueue(event("x"))
    subscriber.enqueue(event("y"))

    assert (reason_before, subscriber.closed_reason, sink.reason) == (None, SLOW_CLIENT, SLOW_CLIENT)
    assert subscriber.flush(0.0) is True


def test_a_burst_is_written_while_the_connection_accepts_it(sink: FakeSink, subscriber: Subscriber) -> None:
    """A subscriber that reads is not closed, however many events come before the next round of writing."""
    for number in range(3 * MAX_EVENTS):
        subscriber.enqueue(event(str(number % 10)))
    subscriber.flush(0.0)

    assert subscriber.closed_reason is None
    assert len(b"".join(sink.written)) == 3 * MAX_EVENTS


def test_a_subscriber_that_accepts_some_bytes_is_not_stuck(sink: FakeSink, subscriber: Subscriber) -> None:
    """It is slow, but alive. One that accepts nothing for a minute is stuck and will be closed."""
    sink.is_writable, sink.unsent_bytes = False, 1000
    subscriber.flush(0.0)
    first = subscriber.is_stuck(1.0)
    sink.unsent_bytes = 900
    slow = [subscriber.is_stuck(59.0), subscriber.is_stuck(110.0)]

    assert (first, slow) == (False, [False, False])
    assert subscriber.is_stuck(120.0) is True
    subscriber.is_lagging = False
    assert subscriber.is_stuck(500.0) is False


def test_a_subscriber_is_closed_once_with_the_first_reason(sink: FakeSink, subscriber: Subscriber) -> None:
    """The reason of the second call is only a consequence of the first."""
    subscriber.close("one")
    subscriber.close("other")

    assert (subscriber.closed_reason, sink.reason) == ("one", "one")


def test_all_subscribers_share_a_budget() -> None:
    """256 of them could otherwise hold a gigabyte. Those with the most bytes are closed, as few as necessary."""
    sinks = [FakeSink() for _ in range(4)]
    subscribers = [Subscriber(sink, TextEncoding()) for sink in sinks]
    for sink, unsent in zip(sinks, (100, 5000, 3000, 900), strict=True):
        sink.is_writable, sink.unsent_bytes = False, unsent
    subscribers[3].enqueue(event("x" * 2900))

    assert above_budget(subscribers, 11_900) == []
    assert above_budget(subscribers, 11_899) == [subscribers[1]]
    assert above_budget(subscribers, 3_100) == [subscribers[1], subscribers[3]]
    subscribers[1].close(SLOW_CLIENT)
    assert above_budget(subscribers, 6_900) == []
