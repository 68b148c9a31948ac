"""The stage that lets calls pass while the session is up, and that learns from responses."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace

import pytest

from ibkr_bridge.calls.context import CallContext
from ibkr_bridge.calls.messages import Response
from ibkr_bridge.errors import (
    GatewayForbidden,
    GatewayUnreachable,
    OrderUnknown,
    SessionUnavailable,
    ShuttingDown,
    UpstreamRefused,
)
from ibkr_bridge.session.gate import SessionGate
from ibkr_bridge.session.state_machine import SessionState
from tests.body_stream import FakeBodyStream
from tests.calls.stage_setup import OK, FakeUpstream, context_for
from tests.harness import with_timeout
from tests.session.statuses import KnownStatus

BROKERAGE, LOGIN = "/iserver/accounts", "/portfolio/accounts"
ACCOUNTS_REQUIRED = b'{"error":"Please query /accounts first"}'


class Gate(SessionGate):
    """The stage, and how often it noticed another session at IBKR."""

    def __init__(self, state: SessionState = SessionState.READY) -> None:
        self.status = KnownStatus(state)
        self.other_session_count = 0
        super().__init__(self.status, self._count, str)

    def _count(self) -> None:
        self.other_session_count += 1


async def run_ready_tasks() -> None:
    """Let every task that is ready run."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_a_call_passes_while_its_layer_is_up() -> None:
    """No check is requested."""
    gate = Gate()

    assert await gate(context_for("GET", BROKERAGE), FakeUpstream()) is OK
    assert not gate.status.has_check_request


@pytest.mark.parametrize(
    ("state", "path", "is_sent"),
    [
        (SessionState.OPENING, LOGIN, True),
        (SessionState.COMPETING, LOGIN, True),
        (SessionState.OPENING, BROKERAGE, False),
        (SessionState.COMPETING, BROKERAGE, False),
        (SessionState.SIGNED_OUT, LOGIN, False),
        (SessionState.SILENT, LOGIN, False),
    ],
)
async def test_a_call_needs_only_the_layer_of_its_endpoint(state: SessionState, path: str, is_sent: bool) -> None:
    """The portfolio can be read while the brokerage session is being opened."""
    gate, upstream = Gate(state), FakeUpstream()

    with contextlib.suppress(SessionUnavailable):
        await gate(context_for("GET", path), upstream)

    assert bool(upstream.contexts) is is_sent


@pytest.mark.parametrize("wait_s", [None, 0.0])
async def test_a_call_that_would_not_wait_is_refused_at_once(wait_s: float | None) -> None:
    """Only a call with a positive `wait_s` waits for the session."""
    gate, upstream = Gate(SessionState.UNREACHABLE), FakeUpstream()

    with pytest.raises(GatewayUnreachable):
        await with_timeout(gate(context_for("GET", BROKERAGE, wait_s=wait_s), upstream), 1.0)

    assert upstream.contexts == []


async def test_a_waiting_call_is_sent_when_the_session_is_up() -> None:
    """The time of the wait is subtracted from the time that the call may still wait."""
    gate, upstream = Gate(SessionState.OPENING), FakeUpstream()
    context = context_for("GET", BROKERAGE, wait_s=5.0)
    task = asyncio.create_task(gate(context, upstream))
    await run_ready_tasks()
    assert not task.done()

    gate.status.set_state(SessionState.READY)

    assert await with_timeout(task) is OK
    assert 0.0 < context.timing.waited_s < 5.0


async def test_a_call_that_waited_in_vain_gets_the_reason() -> None:
    """The detail describes the state at the end of the wait."""
    gate, upstream = Gate(SessionState.OPENING), FakeUpstream()

    with pytest.raises(SessionUnavailable, match="being opened"):
        await gate(context_for("GET", BROKERAGE, wait_s=0.01), upstream)

    assert upstream.contexts == []


async def test_no_call_waits_for_a_session_while_the_bridge_stops() -> None:
    """A waiting call would delay the stop. The end of the next round releases it."""
    gate, is_stopping = Gate(SessionState.OPENING), False
    context = context_for("GET", BROKERAGE, wait_s=5.0, is_stopping=lambda: is_stopping)
    task = asyncio.create_task(gate(context, FakeUpstream()))
    await run_ready_tasks()

    is_stopping = True
    gate.status.end_round()

    with pytest.raises(ShuttingDown):
        await with_timeout(task)


async def test_the_first_call_after_a_start_waits_for_the_first_check() -> None:
    """The state is unknown until then, and the check takes only a moment."""
    gate = Gate(SessionState.STARTING)
    gate.status.checked_at = float("-inf")
    task = asyncio.create_task(gate(context_for("GET", BROKERAGE), FakeUpstream()))
    await run_ready_tasks()
    assert (task.done(), gate.status.has_check_request) == (False, True)

    gate.status.set_state(SessionState.READY)

    assert await with_timeout(task) is OK


async def test_a_session_that_ends_while_a_call_waits_stops_the_call() -> None:
    """Nothing is sent if the session is known to be lost."""
    gate, upstream = Gate(), FakeUpstream()
    upstream.while_connecting = lambda: gate.status.set_state(SessionState.SIGNED_OUT)

    with pytest.raises(SessionUnavailable, match="nobody is signed in"):
        await gate(context_for("GET", BROKERAGE), upstream)

    assert (len(upstream.contexts), upstream.sent) == (1, 0)


@pytest.mark.parametrize(
    ("state", "error"), [(SessionState.READY, UpstreamRefused), (SessionState.SIGNED_OUT, SessionUnavailable)]
)
async def test_a_401_is_explained_by_a_check_that_begins_after_it(state: SessionState, error: type[Exception]) -> None:
    """With a session, IBKR refused this one call; without one, the session is lost."""
    gate, body_stream = Gate(), FakeBodyStream()
    task = asyncio.create_task(gate(context_for("GET", BROKERAGE), FakeUpstream(Response(401, {}, b"", body_stream))))
    await run_ready_tasks()
    assert not task.done()

    gate.status.set_state(state)

    with pytest.raises(error):
        await with_timeout(task)
    assert body_stream.close_count == 1


async def test_access_denied_is_a_refusal_of_the_gateway_itself() -> None:
    """The Gateway sends it as 404, and the keeper must check at once."""
    gate = Gate()

    with pytest.raises(GatewayForbidden):
        await gate(context_for("GET", BROKERAGE), FakeUpstream(Response(404, {}, b"Access Denied")))

    assert gate.status.has_check_request


PAGE = b"<!DOCTYPE html><html><body>We are performing maintenance</body></html>"
PAGES = [
    Response(503, {}, PAGE),
    Response(500, {}, b""),
    Response(302, {"Location": "/sso/Login"}, b""),
    Response(200, {}, b"\n" + PAGE),
    Response(404, {}, PAGE),
]


async def answer_while_session_ends(gate: Gate, context: CallContext, response: Response) -> Response:
    """Send a call that gets this response, after which the check finds nobody signed in."""
    task = asyncio.create_task(gate(context, FakeUpstream(response)))
    await run_ready_tasks()
    gate.status.set_state(SessionState.SIGNED_OUT)
    return await with_timeout(task)


@pytest.mark.parametrize("page", [each for each in PAGES if each.status != 404])
async def test_a_page_in_place_of_a_read_becomes_the_reason_when_the_session_is_gone(page: Response) -> None:
    """A program cannot read the page."""
    with pytest.raises(SessionUnavailable):
        await answer_while_session_ends(Gate(), context_for("GET", LOGIN), page)


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/iserver/watchlist"),
        ("POST", "/iserver/account"),
        ("DELETE", "/iserver/account/DU1/alert/5"),
        ("PUT", "/iserver/account/allocation/group"),
    ],
)
async def test_a_page_in_place_of_a_change_is_an_unknown_outcome_when_the_session_is_gone(
    method: str, path: str, page: Response
) -> None:
    """IBKR may have made the change before the maintenance began."""
    body_stream = FakeBodyStream()

    with pytest.raises(OrderUnknown, match=r"nobody is signed in.*may have happened") as caught:
        await answer_while_session_ends(Gate(), context_for(method, path), replace(page, body_stream=body_stream))

    assert "look whether it happened" in caught.value.hint
    assert (body_stream.close_count, caught.value.retryable) == (1, False)


@pytest.mark.parametrize("page", PAGES)
async def test_a_page_in_place_of_an_order_is_left_to_the_journal(page: Response) -> None:
    """The page decides the state of the order there, without waiting for a check."""
    context = context_for("POST", "/iserver/account/DU1/orders", b'{"orders":[{"conid":1}]}')

    assert await Gate()(context, FakeUpstream(page)) is page


async def test_a_page_that_refuses_a_read_costs_no_check() -> None:
    """The Gateway answers a path that it does not have with a page."""
    gate, page = Gate(), Response(404, {}, PAGE)

    assert await with_timeout(gate(context_for("GET", LOGIN), FakeUpstream(page))) is page
    assert not gate.status.has_check_request


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_page_is_passed_on_while_the_session_is_up(method: str) -> None:
    """Then it is IBKR's answer to this one call."""
    gate, page = Gate(), Response(503, {}, PAGE)
    task = asyncio.create_task(gate(context_for(method, "/iserver/watchlist"), FakeUpstream(page)))
    await run_ready_tasks()

    gate.status.end_round()

    assert await with_timeout(task) is page


@pytest.mark.parametrize("response", [Response(404, {}, b'{"error":"no such"}'), Response(403, {}, b""), OK])
async def test_any_other_response_is_passed_on(response: Response) -> None:
    """IBKR's own text reaches the caller."""
    assert await Gate()(context_for("GET", BROKERAGE), FakeUpstream(response)) is response


@pytest.mark.parametrize(
    ("response", "has_check_request", "other_session_count"),
    [
        (OK, False, 0),
        (Response(401, {}, b""), True, 0),
        (Response(500, {}, ACCOUNTS_REQUIRED), True, 1),
        (replace(OK, body=ACCOUNTS_REQUIRED), True, 0),
        (Response(400, {}, b'{"error":"no bridge"}'), True, 0),
        (Response(500, {}, b'{"error":"no such contract"}'), False, 0),
    ],
)
def test_a_response_that_hints_at_a_session_loss_requests_a_check(
    response: Response, has_check_request: bool, other_session_count: int
) -> None:
    """If IBKR requires the accounts again, it has another session than the one we know."""
    gate = Gate()

    gate.observe(context_for("GET", BROKERAGE), response)

    assert (gate.status.has_check_request, gate.other_session_count) == (has_check_request, other_session_count)


@pytest.mark.parametrize(
    ("response", "refusal_count"),
    [
        (Response(400, {}, b'{"error":"Bad Request: no bridge"}'), 1),
        (Response(500, {}, b'{"error":"Init session first"}'), 1),
        (Response(200, {}, b'{"error":"no session"}'), 1),
        (Response(400, {"Content-Type": "text/plain"}, b"no bridge\n"), 1),
        (Response(500, {"Content-Type": "text/html"}, b"<html><body><h1>No bridge</h1></body></html>"), 1),
        (Response(503, {}, b'{"statusCode":503,"message":"not authenticated"}'), 1),
        (Response(400, {}, b'{"trace":"' + b"-" * 5000 + b'","error":"no bridge"}'), 1),
        (Response(400, {}, b"Please query /accounts first"), 0),
        (Response(500, {}, ACCOUNTS_REQUIRED), 0),  # the preflight meets this demand
        (Response(401, {}, b'{"error":"not authenticated"}'), 0),  # may concern this one call
        (Response(500, {}, b'{"error":"no such contract"}'), 0),
    ],
)
def test_a_refusal_with_the_words_of_a_lost_session_is_counted(response: Response, refusal_count: int) -> None:
    """Enough of them make the session unusable, whatever its flags say."""
    gate = Gate()

    gate.observe(context_for("GET", BROKERAGE), response)
    gate.observe(context_for("GET", LOGIN), response)  # no brokerage call: it shows nothing

    assert gate.status.refused_calls._unchecked == refusal_count


@pytest.mark.parametrize(
    ("target", "body"),
    [
        ("/iserver/account/DU1/orders", b'{"orders":[{"cOID":"No Session"}]}'),
        ("/iserver/secdef/search?symbol=no%20session", b""),
    ],
)
def test_words_that_the_call_itself_contains_are_not_counted(target: str, body: bytes) -> None:
    """IBKR repeats parts of a call in its errors, and a caller must not end the session of all others by them."""
    gate = Gate()

    gate.observe(context_for("POST", target, body), Response(400, {}, b'{"error":"bad value: No Session"}'))

    assert gate.status.refused_calls._unchecked == 0


@pytest.mark.parametrize(
    ("state", "is_sent"),
    [(SessionState.SILENT, True), (SessionState.OPENING, False), (SessionState.SIGNED_OUT, False)],
)
async def test_a_cancel_is_tried_while_the_gateway_is_silent(state: SessionState, is_sent: bool) -> None:
    """A cancel has priority. Without a session it could not succeed."""
    gate, upstream = Gate(state), FakeUpstream()

    with contextlib.suppress(SessionUnavailable):
        await gate(context_for("DELETE", "/iserver/account/DU1/order/7"), upstream)

    assert bool(upstream.contexts) is is_sent


async def test_require_login_makes_a_new_check() -> None:
    """A page that shows the login must not use a state that is a minute old."""
    gate = Gate()
    await gate.require_login()
    gate.status.set_state(SessionState.SIGNED_OUT)

    with pytest.raises(SessionUnavailable):
        await gate.require_login()
