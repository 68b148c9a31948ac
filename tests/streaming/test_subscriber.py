"""One who reads slowly, and what becomes of it."""

from __future__ import annotations

import pytest

from ibkr_bridge.streaming.subscriber import MOST_EVENTS, TOO_SLOW, Event, Reader


class Pipe:
    """A connection that takes what it is told to take."""

    def __init__(self) -> None:
        self.is_clear = True
        self.unsent = 0
        self.written: list[bytes] = []
        self.reason = ""

    def write(self, data: bytes) -> None:
        """See `readers.Outlet`."""
        self.written.append(data)

    def end(self, reason: str) -> None:
        """See `readers.Outlet`."""
        self.reason = reason


class Plain:
    """Each event as the text of its message."""

    def write(self, event: Event) -> bytes:
        """See `readers.Form`."""
        return str(event.message["text"]).encode()


@pytest.fixture
def pipe() -> Pipe:
    """A connection."""
    return Pipe()


@pytest.fixture
def reader(pipe: Pipe) -> Reader:
    """Its reader."""
    return Reader(pipe, Plain())


def event(text: str) -> Event:
    """Something that must not be lost."""
    return Event({"text": text})


def test_what_gathered_is_written_at_once_and_in_order(pipe: Pipe, reader: Reader) -> None:
    """Quotes that came before an event stand before it."""
    reader.quotes.append(b"q1")
    reader.put(event("e1"))
    reader.quotes.append(b"q2")

    assert reader.flush(0.0) is True
    assert reader.flush(0.0) is True
    assert pipe.written == [b"q1e1q2"]


def test_quotes_are_let_go_where_nothing_more_is_taken(pipe: Pipe, reader: Reader) -> None:
    """Events are kept."""
    pipe.is_clear = False
    reader.quotes.append(b"q1")
    reader.put(event("e1"))
    reader.quotes.append(b"q2")
    behind = reader.flush(7.0), reader.flush(9.0)
    pipe.is_clear = True
    reader.flush(10.0)

    assert behind == (False, False)
    assert (reader.is_behind, reader.stuck_since) == (True, 7.0)
    assert pipe.written == [b"q1e1"]


@pytest.mark.parametrize(("size", "count"), [(1, MOST_EVENTS), (1024 * 1024, 4)])
def test_who_takes_nothing_is_cut_off_with_a_reason(pipe: Pipe, reader: Reader, size: int, count: int) -> None:
    """Before an event would have to be dropped."""
    pipe.is_clear = False
    for _ in range(count):
        reader.put(event("x" * size))
    kept = reader.over
    reader.put(event("x"))
    reader.put(event("y"))

    assert (kept, reader.over, pipe.reason) == (None, TOO_SLOW, TOO_SLOW)
    assert reader.flush(0.0) is True


def test_a_burst_is_written_where_it_is_taken(pipe: Pipe, reader: Reader) -> None:
    """However many events come before the next round: nobody is cut off who reads."""
    for number in range(3 * MOST_EVENTS):
        reader.put(event(str(number % 10)))
    reader.flush(0.0)

    assert reader.over is None
    assert len(b"".join(pipe.written)) == 3 * MOST_EVENTS


def test_who_takes_something_is_slow_and_not_stuck(pipe: Pipe, reader: Reader) -> None:
    """Who takes nothing is, after a minute."""
    pipe.is_clear, pipe.unsent = False, 1000
    reader.flush(0.0)
    first = reader.is_stuck(1.0)
    pipe.unsent = 900
    slow = [reader.is_stuck(59.0), reader.is_stuck(110.0)]

    assert (first, slow) == (False, [False, False])
    assert reader.is_stuck(120.0) is True
    reader.is_behind = False
    assert reader.is_stuck(500.0) is False


def test_the_first_reason_counts(pipe: Pipe, reader: Reader) -> None:
    """It ends once."""
    reader.end("one")
    reader.end("other")

    assert (reader.over, pipe.reason) == ("one", "one")
