"""One who reads slowly, and what becomes of it."""

from __future__ import annotations

import pytest

from ibkr_bridge.streaming.subscriber import MAX_EVENTS, SLOW_CLIENT, StreamEvent, Subscriber


class Pipe:
    """A connection that takes what it is told to take."""

    def __init__(self) -> None:
        self.is_writable = True
        self.unsent_bytes = 0
        self.written: list[bytes] = []
        self.reason = ""

    def write(self, data: bytes) -> None:
        """See `readers.Outlet`."""
        self.written.append(data)

    def close(self, reason: str) -> None:
        """See `readers.Outlet`."""
        self.reason = reason


class Plain:
    """Each event as the text of its message."""

    def encode(self, event: StreamEvent) -> bytes:
        """See `readers.Form`."""
        return str(event.message["text"]).encode()


@pytest.fixture
def pipe() -> Pipe:
    """A connection."""
    return Pipe()


@pytest.fixture
def subscriber(pipe: Pipe) -> Subscriber:
    """Its reader."""
    return Subscriber(pipe, Plain())


def event(text: str) -> StreamEvent:
    """Something that must not be lost."""
    return StreamEvent({"text": text})


def test_what_gathered_is_written_at_once_and_in_order(pipe: Pipe, subscriber: Subscriber) -> None:
    """Quotes that came before an event stand before it."""
    subscriber.quotes.append(b"q1")
    subscriber.enqueue(event("e1"))
    subscriber.quotes.append(b"q2")

    assert subscriber.flush(0.0) is True
    assert subscriber.flush(0.0) is True
    assert pipe.written == [b"q1e1q2"]


def test_quotes_are_let_go_where_nothing_more_is_taken(pipe: Pipe, subscriber: Subscriber) -> None:
    """Events are kept."""
    pipe.is_writable = False
    subscriber.quotes.append(b"q1")
    subscriber.enqueue(event("e1"))
    subscriber.quotes.append(b"q2")
    behind = subscriber.flush(7.0), subscriber.flush(9.0)
    pipe.is_writable = True
    subscriber.flush(10.0)

    assert behind == (False, False)
    assert (subscriber.is_lagging, subscriber.stuck_since) == (True, 7.0)
    assert pipe.written == [b"q1e1"]


@pytest.mark.parametrize(("size", "count"), [(1, MAX_EVENTS), (1024 * 1024, 4)])
def test_who_takes_nothing_is_cut_off_with_a_reason(pipe: Pipe, subscriber: Subscriber, size: int, count: int) -> None:
    """Before an event would have to be dropped."""
    pipe.is_writable = False
    for _ in range(count):
        subscriber.enqueue(event("x" * size))
    kept = subscriber.closed_reason
    subscriber.enqueue(event("x"))
    subscriber.enqueue(event("y"))

    assert (kept, subscriber.closed_reason, pipe.reason) == (None, SLOW_CLIENT, SLOW_CLIENT)
    assert subscriber.flush(0.0) is True


def test_a_burst_is_written_where_it_is_taken(pipe: Pipe, subscriber: Subscriber) -> None:
    """However many events come before the next round: nobody is cut off who reads."""
    for number in range(3 * MAX_EVENTS):
        subscriber.enqueue(event(str(number % 10)))
    subscriber.flush(0.0)

    assert subscriber.closed_reason is None
    assert len(b"".join(pipe.written)) == 3 * MAX_EVENTS


def test_who_takes_something_is_slow_and_not_stuck(pipe: Pipe, subscriber: Subscriber) -> None:
    """Who takes nothing is, after a minute."""
    pipe.is_writable, pipe.unsent_bytes = False, 1000
    subscriber.flush(0.0)
    first = subscriber.is_stuck(1.0)
    pipe.unsent_bytes = 900
    slow = [subscriber.is_stuck(59.0), subscriber.is_stuck(110.0)]

    assert (first, slow) == (False, [False, False])
    assert subscriber.is_stuck(120.0) is True
    subscriber.is_lagging = False
    assert subscriber.is_stuck(500.0) is False


def test_the_first_reason_counts(pipe: Pipe, subscriber: Subscriber) -> None:
    """It ends once."""
    subscriber.close("one")
    subscriber.close("other")

    assert (subscriber.closed_reason, pipe.reason) == ("one", "one")
