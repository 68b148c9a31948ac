"""The headers that cross the bridge, in each direction."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from ibkr_bridge.calls.header_policy import MAX_HEADER_LENGTH, USER_AGENT, request_headers, response_headers


def test_a_call_has_content_type_accept_and_our_user_agent() -> None:
    """IBKR's edge answers 403 to calls without a User-Agent."""
    headers = request_headers(
        [("content-type", "application/json"), ("ACCEPT", "application/json"), ("User-Agent", "curl/8")]
    )

    assert headers == (("Accept", "application/json"), ("Content-Type", "application/json"), ("User-Agent", USER_AGENT))


def test_missing_accept_and_user_agent_are_added() -> None:
    """A Content-Type is never added."""
    assert request_headers(()) == (("Accept", "*/*"), ("User-Agent", USER_AGENT))


@pytest.mark.parametrize(
    "name",
    [
        *("Cookie", "Authorization", "X-Bridge-Key", "Host", "Origin", "Referer", "X-Forwarded-For", "Forwarded"),
        *("Connection", "Transfer-Encoding", "Content-Length", "Content-Encoding", "Accept-Encoding", "Expect"),
        *("Upgrade", "Via", "X-Request-ID", "X-Bridge-Confirm", "Idempotency-Key", "Range", "If-None-Match", "TE"),
    ],
)
def test_other_headers_of_a_caller_are_not_sent(name: str) -> None:
    """Keys and cookies of callers must not reach IBKR."""
    assert request_headers([(name, "a-secret")]) == request_headers(())


def test_the_first_of_repeated_headers_is_sent() -> None:
    """Only one is sent, so that IBKR need not choose."""
    headers = dict(request_headers([("Accept", "text/csv"), ("accept", "image/png")]))

    assert headers["Accept"] == "text/csv"


@pytest.mark.parametrize("value", ["ü", "\udcff", "x" * (MAX_HEADER_LENGTH + 1)])
def test_a_value_that_the_gateway_may_not_answer_is_left_out(value: str) -> None:
    """The Gateway accepts 8 kB of headers, and does not respond to more."""
    assert request_headers([("Accept", value), ("Content-Type", value)]) == request_headers(())


def test_a_value_of_the_maximum_length_passes() -> None:
    """`MAX_HEADER_LENGTH` is the largest length, not the first that is too long."""
    assert dict(request_headers([("Content-Type", "x" * MAX_HEADER_LENGTH)]))["Content-Type"] == "x" * MAX_HEADER_LENGTH


@given(st.lists(st.tuples(st.one_of(st.text(), st.sampled_from(["accept", "Content-Type"])), st.text())))
def test_at_most_three_headers_are_sent(caller_headers: list[tuple[str, str]]) -> None:
    """Each once, short and in ASCII: the Gateway does not respond to anything else."""
    headers = request_headers(caller_headers)

    names = [name for name, _ in headers]
    assert set(names) <= {"Accept", "Content-Type", "User-Agent"}
    assert len(set(names)) == len(names)
    assert all(value.isascii() and len(value) <= MAX_HEADER_LENGTH for _, value in headers)


def test_a_response_keeps_the_headers_that_describe_its_body() -> None:
    """Cookies, cache headers and headers of IBKR's edge are removed."""
    ibkr_headers = CIMultiDict(
        {
            "content-type": "application/json;charset=utf-8",
            "Content-Encoding": "gzip",
            "content-language": "en",
            "retry-after": "7",
            "Set-Cookie": "x=secret",
            "Server": "edge",
            "Transfer-Encoding": "chunked",
            "Content-Length": "5",
            "Cache-Control": "max-age=60",
            "Access-Control-Allow-Origin": "*",
            "Location": "https://elsewhere",
            "Vary": "Origin",
        }
    )

    assert response_headers(ibkr_headers) == {
        "Content-Type": "application/json;charset=utf-8",
        "Content-Encoding": "gzip",
        "Content-Language": "en",
        "Retry-After": "7",
    }


def test_a_response_without_headers_gets_none() -> None:
    """A Content-Type is never added."""
    assert response_headers(CIMultiDict()) == {}
