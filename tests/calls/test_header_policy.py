"""Which headers cross the bridge, each way."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from multidict import CIMultiDict

from ibkr_bridge.calls.header_policy import MAX_HEADER_LENGTH, USER_AGENT, request_headers, response_headers


def test_a_call_goes_up_with_type_and_taste_and_our_own_name() -> None:
    """IBKR's edge answers 403 to calls without a User-Agent."""
    up = request_headers(
        [("content-type", "application/json"), ("ACCEPT", "application/json"), ("User-Agent", "curl/8")]
    )

    assert up == (("Accept", "application/json"), ("Content-Type", "application/json"), ("User-Agent", USER_AGENT))


def test_what_a_caller_leaves_out_is_put_in_where_it_is_needed() -> None:
    """A bare call is a call like any other; a type is invented for nobody."""
    assert request_headers(()) == (("Accept", "*/*"), ("User-Agent", USER_AGENT))


@pytest.mark.parametrize(
    "name",
    [
        *("Cookie", "Authorization", "X-Bridge-Key", "Host", "Origin", "Referer", "X-Forwarded-For", "Forwarded"),
        *("Connection", "Transfer-Encoding", "Content-Length", "Content-Encoding", "Accept-Encoding", "Expect"),
        *("Upgrade", "Via", "X-Request-ID", "X-Bridge-Confirm", "Idempotency-Key", "Range", "If-None-Match", "TE"),
    ],
)
def test_everything_else_about_a_caller_stays_below(name: str) -> None:
    """Keys and cookies of callers are nobody's business at IBKR."""
    assert request_headers([(name, "a-secret")]) == request_headers(())


def test_the_first_of_repeated_headers_counts() -> None:
    """Only one goes on, so that nobody has to choose."""
    up = dict(request_headers([("Accept", "text/csv"), ("accept", "image/png")]))

    assert up["Accept"] == "text/csv"


@pytest.mark.parametrize("value", ["ü", "\udcff", "x" * (MAX_HEADER_LENGTH + 1)])
def test_a_value_the_gateway_could_stumble_over_is_left_out(value: str) -> None:
    """It takes 8 kB of headers, and stays silent at more."""
    assert request_headers([("Accept", value), ("Content-Type", value)]) == request_headers(())


def test_the_longest_value_passes() -> None:
    """The limit that is written is the limit."""
    assert dict(request_headers([("Content-Type", "x" * MAX_HEADER_LENGTH)]))["Content-Type"] == "x" * MAX_HEADER_LENGTH


@settings(deadline=None)
@given(st.lists(st.tuples(st.one_of(st.text(), st.sampled_from(["accept", "Content-Type"])), st.text())))
def test_whatever_is_sent_only_three_names_go_up(given: list[tuple[str, str]]) -> None:
    """Each at most once, each short, each in ASCII: the Gateway stays silent at anything else."""
    up = request_headers(given)

    names = [name for name, _ in up]
    assert set(names) <= {"Accept", "Content-Type", "User-Agent"}
    assert len(set(names)) == len(names)
    assert all(value.isascii() and len(value) <= MAX_HEADER_LENGTH for _, value in up)


def test_an_answer_comes_down_with_what_describes_its_body() -> None:
    """Nothing about IBKR's edge, no cookie, no cache advice of theirs."""
    given = CIMultiDict(
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

    assert response_headers(given) == {
        "Content-Type": "application/json;charset=utf-8",
        "Content-Encoding": "gzip",
        "Content-Language": "en",
        "Retry-After": "7",
    }


def test_an_answer_without_headers_gets_none() -> None:
    """A type is invented for nobody."""
    assert response_headers(CIMultiDict()) == {}
