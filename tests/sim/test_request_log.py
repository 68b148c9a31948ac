"""The log of requests, and waiting for the next one."""

from __future__ import annotations

import asyncio

import pytest

from ibkr_bridge.sim.request_log import OWN_AGENT, ChangeSignal, LoggedRequest, RequestLog
from tests.harness import with_timeout


def logged_request(target: str = "/tickle", *headers: tuple[str, str], body: bytes = b"") -> LoggedRequest:
    """A request that arrived."""
    return LoggedRequest("POST", target, headers, body, 1.0)


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [("/a", "/a", ""), ("/a?", "/a", ""), ("/a?b=1?c", "/a", "b=1?c"), ("/a?%2F", "/a", "%2F")],
)
def test_a_target_is_split_without_decoding(target: str, path: str, query: str) -> None:
    """Tests check what really crossed the wire."""
    assert (logged_request(target).path, logged_request(target).query) == (path, query)


def test_a_header_is_found_in_any_case_and_the_first_counts() -> None:
    """Servers read headers this way."""
    request = logged_request("/", ("Cookie", "a"), ("COOKIE", "b"))

    assert (request.header("cookie"), request.header("Host")) == ("a", None)


def test_the_gateways_own_calls_are_distinguished_from_clients_calls() -> None:
    """They are not made for a client."""
    assert logged_request("/", ("user-agent", OWN_AGENT)).is_own_call
    assert not logged_request("/", ("User-Agent", "curl")).is_own_call
    assert not logged_request().is_own_call


def test_a_body_is_parsed_on_request() -> None:
    """A body that is not JSON is logged too."""
    assert logged_request(body=b'{"a": 1}').json() == {"a": 1}
    with pytest.raises(ValueError, match="Expecting"):
        logged_request(body=b"{").json()


async def test_calls_are_found_by_a_part_of_their_target_in_order() -> None:
    """The query is a part of the target."""
    log = RequestLog()
    for target in ("/a?x=1", "/b", "/a?x=2"):
        log.add(logged_request(target))

    assert [call.target for call in log.calls("/a")] == ["/a?x=1", "/a?x=2"]
    assert [call.target for call in log.calls("x=2")] == ["/a?x=2"]
    assert len(log.calls()) == 3


async def test_removed_requests_are_not_found() -> None:
    """Later ones are."""
    log = RequestLog()
    log.add(logged_request("/a"))

    log.clear()
    log.add(logged_request("/b"))

    assert [call.target for call in log.calls()] == ["/b"]


async def test_a_waiting_task_wakes_when_enough_requests_have_arrived() -> None:
    """It wakes neither earlier nor only at the next request."""
    log = RequestLog()
    waiting = asyncio.create_task(log.wait_for_calls("/a", 2))
    for target in ("/a?1", "/b"):
        log.add(logged_request(target))
        await asyncio.sleep(0)
    early = waiting.done()
    log.add(logged_request("/a?2"))

    assert [call.target for call in await with_timeout(waiting)] == ["/a?1", "/a?2"]
    assert not early


async def test_a_subscriber_gets_each_request_once_it_is_in_the_log() -> None:
    """It may then read the log."""
    log, heard = RequestLog(), list[int]()
    log.subscribe(lambda _: heard.append(len(log.calls())))

    log.add(logged_request())
    log.add(logged_request())

    assert heard == [1, 2]


async def test_a_change_wakes_all_tasks_and_each_checks_its_own_condition() -> None:
    """One task may wait for this change and another for a later one."""
    bell, woken = ChangeSignal(), set[str]()
    one = asyncio.create_task(bell.wait_until(lambda: "a" in woken))
    other = asyncio.create_task(bell.wait_until(lambda: "b" in woken))
    await asyncio.sleep(0)

    woken.add("a")
    bell.fire()
    await with_timeout(one)
    early = other.done()
    woken.add("b")
    bell.fire()
    await with_timeout(other)

    assert not early
