"""A service that hangs, with a service that a test holds and lets go."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from ibkr_bridge.alerts.bounded_service import BoundedService
from ibkr_bridge.alerts.messages import INFO, Message

FIRST, SECOND = Message(INFO, "first", ""), Message(INFO, "second", "")


class HeldService:
    """Takes a message when the test says so."""

    name = "Held"

    def __init__(self) -> None:
        self.may_end, self.ended = threading.Event(), threading.Semaphore(0)
        self.result = True
        self.begun: list[str] = []

    def send(self, message: Message) -> bool:
        """See `Service`."""
        self.begun.append(message.title)
        self.may_end.wait()
        self.ended.release()
        return self.result


@pytest.fixture
def held() -> Iterator[HeldService]:
    service = HeldService()
    yield service
    service.may_end.set()


def let_end(service: HeldService, bounded: BoundedService) -> None:
    """Let the attempt end, and wait until its outcome is known."""
    service.may_end.set()
    assert service.ended.acquire(timeout=5)
    assert bounded._under_way is not None
    bounded._under_way[1].result(timeout=5)


def test_a_service_that_answers_is_used_as_it_is(held: HeldService) -> None:
    """Its word counts."""
    held.may_end.set()
    bounded = BoundedService(held)

    assert bounded.send(FIRST)
    held.result = False
    assert not bounded.send(SECOND)
    assert bounded.name == "Held"


def test_a_message_that_hangs_is_not_sent_again_beside_that(held: HeldService) -> None:
    """Each further attempt returns at once."""
    bounded = BoundedService(held, timeout_s=0.01)

    assert [bounded.send(FIRST) for _ in range(3)] == [False] * 3
    assert not bounded.send(SECOND)
    assert held.begun == ["first"]


def test_a_message_that_was_taken_late_counts_as_taken(held: HeldService) -> None:
    """It would come twice else."""
    bounded = BoundedService(held, timeout_s=0.01)
    bounded.send(FIRST)
    let_end(held, bounded)

    assert bounded.send(FIRST)
    assert held.begun == ["first"]


@pytest.mark.parametrize(("result", "message"), [(False, FIRST), (True, SECOND)])
def test_what_was_not_taken_late_is_sent(held: HeldService, result: bool, message: Message) -> None:
    """That the former message was taken says nothing of another one."""
    held.result = result
    bounded = BoundedService(held, timeout_s=0.01)
    bounded.send(FIRST)
    let_end(held, bounded)

    bounded.send(message)

    assert held.begun == ["first", message.title]
