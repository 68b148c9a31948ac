"""The stage that lets calls pass while the session is up, and learns from responses."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace

import pytest

from ibkr_bridge.calls.messages import Response
from ibkr_bridge.errors import (
    GatewayForbidden,
    GatewayUnreachable,
    SessionUnavailable,
    ShuttingDown,
    UpstreamRefused,
)
from ibkr_bridge.session.gate import SessionGate
from ibkr_bridge.session.state_machine import SessionState
from tests.body_stream import FakeBodyStream
from tests.calls.road import OK, FakeUpstream, context_for
from tests.harness import within
from tests.session.statuses import KnownStatus

BROKERAGE, LOGIN = "/iserver/accounts", "/portfolio/accounts"
ACCOUNTS_FIRST = b'{"error":"Please query /accounts first"}'


class Gate(SessionGate):
    """The stage, and what it was told of other sessions."""

    def __init__(self, state: SessionState = SessionState.READY) -> None:
        self.status = KnownStatus(state)
        self.other_sessions = 0
        super().__init__(self.status, self._count)

    def _count(self) -> None:
        self.other_sessions += 1


async def turns() -> None:
    """Let everything that is due happen."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_a_call_passes_while_its_layer_is_up() -> None:
    """Nobody is asked for a look."""
    gate = Gate()

    assert await gate(context_for("GET", BROKERAGE), FakeUpstream()) is OK
    assert not gate.status.is_doubted


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
    """Waiting is for those who ask for it."""
    gate, upstream = Gate(SessionState.UNREACHABLE), FakeUpstream()

    with pytest.raises(GatewayUnreachable):
        await within(gate(context_for("GET", BROKERAGE, wait_s=wait_s), upstream), 1.0)

    assert upstream.contexts == []


async def test_a_call_that_waits_leaves_when_the_session_is_up() -> None:
    """The time that it waited is no longer its own."""
    gate, upstream = Gate(SessionState.OPENING), FakeUpstream()
    context = context_for("GET", BROKERAGE, wait_s=5.0)
    task = asyncio.create_task(gate(context, upstream))
    await turns()
    assert not task.done()

    gate.status.set_state(SessionState.READY)

    assert await within(task) is OK
    assert 0.0 < context.timing.waited_s < 5.0


async def test_a_call_that_waited_in_vain_is_told_why() -> None:
    """In the words for the state that the session is in then."""
    gate, upstream = Gate(SessionState.OPENING), FakeUpstream()

    with pytest.raises(SessionUnavailable, match="being opened"):
        await gate(context_for("GET", BROKERAGE, wait_s=0.01), upstream)

    assert upstream.contexts == []


async def test_no_call_waits_for_a_session_while_the_bridge_ends() -> None:
    """It would keep the bridge from ending; the next look lets it go."""
    gate, stopping = Gate(SessionState.OPENING), False
    context = context_for("GET", BROKERAGE, wait_s=5.0, is_stopping=lambda: stopping)
    task = asyncio.create_task(gate(context, FakeUpstream()))
    await turns()

    stopping = True
    gate.status.end_round()

    with pytest.raises(ShuttingDown):
        await within(task)


async def test_the_first_call_after_a_start_waits_for_the_first_look() -> None:
    """Nothing is known yet, and it is known in a moment."""
    gate = Gate(SessionState.STARTING)
    gate.status.checked_at = float("-inf")
    task = asyncio.create_task(gate(context_for("GET", BROKERAGE), FakeUpstream()))
    await turns()
    assert (task.done(), gate.status.is_doubted) == (False, True)

    gate.status.set_state(SessionState.READY)

    assert await within(task) is OK


async def test_a_session_that_ends_while_a_call_waits_for_its_turn_stops_it() -> None:
    """Nothing is sent into a session that is known to be gone."""
    gate, upstream = Gate(), FakeUpstream()
    upstream.while_connecting = lambda: gate.status.set_state(SessionState.SIGNED_OUT)

    with pytest.raises(SessionUnavailable, match="nobody is signed in"):
        await gate(context_for("GET", BROKERAGE), upstream)

    assert (len(upstream.contexts), upstream.sent) == (1, 0)


@pytest.mark.parametrize(
    ("state", "error"), [(SessionState.READY, UpstreamRefused), (SessionState.SIGNED_OUT, SessionUnavailable)]
)
async def test_a_401_is_explained_by_a_look_that_begins_after_it(state: SessionState, error: type[Exception]) -> None:
    """With a session it is IBKR's refusal of this one call; without one, the session is gone."""
    gate, rest = Gate(), FakeBodyStream()
    task = asyncio.create_task(gate(context_for("GET", BROKERAGE), FakeUpstream(Response(401, {}, b"", rest))))
    await turns()
    assert not task.done()

    gate.status.set_state(state)

    with pytest.raises(error):
        await within(task)
    assert rest.close_count == 1


async def test_access_denied_is_the_gateways_own_refusal() -> None:
    """It comes as a 404, and the keeper must look at once."""
    gate = Gate()

    with pytest.raises(GatewayForbidden):
        await gate(context_for("GET", BROKERAGE), FakeUpstream(Response(404, {}, b"Access Denied")))

    assert gate.status.is_doubted


@pytest.mark.parametrize("response", [Response(404, {}, b'{"error":"no such"}'), Response(403, {}, b""), OK])
async def test_any_other_response_is_passed_on(response: Response) -> None:
    """IBKR's own words reach the caller."""
    assert await Gate()(context_for("GET", BROKERAGE), FakeUpstream(response)) is response


@pytest.mark.parametrize(
    ("response", "is_doubted", "others"),
    [
        (OK, False, 0),
        (Response(401, {}, b""), True, 0),
        (Response(500, {}, ACCOUNTS_FIRST), True, 1),
        (replace(OK, body=ACCOUNTS_FIRST), True, 0),
        (Response(400, {}, b'{"error":"no bridge"}'), True, 0),
        (Response(500, {}, b'{"error":"no such contract"}'), False, 0),
    ],
)
def test_what_a_response_says_of_the_session_is_noticed(response: Response, is_doubted: bool, others: int) -> None:
    """Accounts that have to be asked again mean that IBKR has another session than the one we know."""
    gate = Gate()

    gate.observe(context_for("GET", BROKERAGE), response)

    assert (gate.status.is_doubted, gate.other_sessions) == (is_doubted, others)


async def test_a_login_is_required_by_a_fresh_look() -> None:
    """A page that shows whether somebody is signed in must not show what was known a minute ago."""
    gate = Gate()
    await gate.require_login()
    gate.status.set_state(SessionState.SIGNED_OUT)

    with pytest.raises(SessionUnavailable):
        await gate.require_login()
