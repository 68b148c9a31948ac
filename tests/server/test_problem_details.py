"""An error as `application/problem+json`: its members and its headers."""

from __future__ import annotations

import json
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from ibkr_bridge.errors import (
    AmbiguousSymbol,
    BridgeError,
    Busy,
    Internal,
    InvalidKey,
    MethodNotAllowed,
    OrderUnknown,
    RateLimited,
    error_classes,
)
from ibkr_bridge.ibkr.endpoint import OrderOperation
from ibkr_bridge.orders.journal.order_record import OrderRecord
from ibkr_bridge.orders.journal.transitions import OrderState
from ibkr_bridge.server.app_keys import REQUEST_CONTEXT
from ibkr_bridge.server.problem_details import problem_response
from ibkr_bridge.server.request_context import RequestContext


@pytest.fixture
def request_() -> web.Request:
    """A request with an id."""
    request = make_mocked_request("GET", "/")
    request[REQUEST_CONTEXT] = RequestContext("this-request", 0.0)
    return request


def body_of(response: web.Response) -> dict[str, Any]:
    """The members of a problem."""
    assert isinstance(response.body, bytes)
    return dict(json.loads(response.body))


def test_a_problem_has_the_members_of_the_standard_and_our_own(request_: web.Request) -> None:
    """Programs switch on the code, people read the detail, and clients of IBKR read `error`."""
    response = problem_response(request_, Busy("all slots are taken", retry_after=2.0))

    assert (response.status, response.content_type) == (503, "application/problem+json")
    assert body_of(response) == {
        "type": "urn:ibkr-bridge:problem:busy",
        "title": "Busy",
        "status": 503,
        "detail": "all slots are taken",
        "error": "all slots are taken",
        "code": "busy",
        "hint": Busy.hint,
        "request_id": "this-request",
        "retryable": True,
        "field": None,
        "order_id": None,
        "user_message": "The trading connection is busy. Try again in a moment.",
        "action": {"kind": "retry", "url": None},
    }


def test_an_error_names_the_field_and_brings_its_own_members(request_: web.Request) -> None:
    """The candidates of a symbol, for example."""
    error = AmbiguousSymbol("two instruments", field="symbol", members={"candidates": [{"conid": 1}]})

    assert {name: body_of(problem_response(request_, error))[name] for name in ("field", "candidates")} == {
        "field": "symbol",
        "candidates": [{"conid": 1}],
    }


def test_an_error_of_an_order_call_names_the_order(request_: web.Request) -> None:
    """Its caller asks with it what became of the order; before the journal's first line there is nothing to ask for."""
    record = OrderRecord(id="o-1", operation=OrderOperation.PLACE)
    request_[REQUEST_CONTEXT].order_record = record
    assert body_of(problem_response(request_, Busy("full")))["order_id"] is None

    record.state = OrderState.UNKNOWN
    assert body_of(problem_response(request_, OrderUnknown("no response")))["order_id"] == "o-1"


@pytest.mark.parametrize(
    ("seconds", "header"), [(0.0, "1"), (0.01, "1"), (1.0, "1"), (1.01, "2"), (899.5, "900"), (-3.0, "1")]
)
def test_retry_after_is_whole_seconds_rounded_up(request_: web.Request, seconds: float, header: str) -> None:
    """A caller that comes too early is refused again, and zero would mean at once."""
    response = problem_response(request_, RateLimited("too often", retry_after=seconds))

    assert response.headers["Retry-After"] == header


def test_an_error_that_waiting_does_not_help_has_no_retry_after(request_: web.Request) -> None:
    """A client that obeys `Retry-After` would repeat a call that cannot succeed."""
    response = problem_response(request_, Internal("something went wrong"))

    assert "Retry-After" not in response.headers
    assert body_of(response)["retryable"] is False


@pytest.mark.parametrize(
    ("error", "header", "value"),
    [
        (InvalidKey("no key"), "WWW-Authenticate", 'Bearer realm="ibkr-bridge"'),
        (MethodNotAllowed("not with POST", "GET, HEAD"), "Allow", "GET, HEAD"),
    ],
)
def test_an_error_has_the_header_that_its_status_requires(
    request_: web.Request, error: BridgeError, header: str, value: str
) -> None:
    """HTTP requires a header with 401 and with 405."""
    assert problem_response(request_, error).headers[header] == value


def test_a_response_does_not_change_the_headers_of_its_class(request_: web.Request) -> None:
    """All errors of a class share one mapping of headers, which must not change."""
    problem_response(request_, InvalidKey("no key", retry_after=5.0))

    assert "Retry-After" not in problem_response(request_, InvalidKey("no key")).headers


def test_a_repeated_error_keeps_the_id_of_the_first_call(request_: web.Request) -> None:
    """The log has the cause under that id."""
    error = Internal("something went wrong")
    error.request_id = "the-first"

    assert body_of(problem_response(request_, error))["request_id"] == "the-first"


def test_the_request_context_gets_the_code(request_: web.Request) -> None:
    """The log line of the request has the code."""
    problem_response(request_, Busy("all slots are taken"))

    assert request_[REQUEST_CONTEXT].code == "busy"


@pytest.mark.parametrize("kind", [kind for kind in error_classes() if kind is not MethodNotAllowed])
def test_every_error_class_becomes_a_problem(request_: web.Request, kind: type[BridgeError]) -> None:
    """Each class has an error status, a code and a hint."""
    response = problem_response(request_, kind("it happened"))

    assert response.status == kind.status >= 400
    assert body_of(response)["code"] == kind.code
    assert body_of(response)["hint"]


def test_quotes_and_letters_outside_ascii_do_not_break_the_body(request_: web.Request) -> None:
    """An error text of the operating system may be in any language."""
    response = problem_response(request_, Internal('“Straße” said "no"\n'))

    assert body_of(response)["detail"] == '“Straße” said "no"\n'


def test_an_error_is_the_bridges_own_answer(request_: web.Request) -> None:
    """A client tells by `X-Bridge-Source` whose error it is; IBKR has answered only the reads before it."""
    request_[REQUEST_CONTEXT].source, request_[REQUEST_CONTEXT].age_s = "gateway", 3.0

    problem_response(request_, Busy("full"))

    assert (request_[REQUEST_CONTEXT].source, request_[REQUEST_CONTEXT].age_s) == ("bridge", None)
