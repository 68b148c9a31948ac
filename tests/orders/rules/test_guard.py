"""The stage that refuses what the rules refuse: when a call enters, and once more when its connection is open."""

from __future__ import annotations

from decimal import Decimal

import pytest

from ibkr_bridge.calls.messages import Response
from ibkr_bridge.errors import OrderUnknown, ReadOnly, TradingPaused
from ibkr_bridge.orders.rules.guard import OrderGuard
from ibkr_bridge.orders.rules.rules import RuleContext
from tests.body_stream import FakeBodyStream
from tests.calls.stage_setup import OK, FakeUpstream, context_for

ORDERS, TICKET = "/iserver/account/DU1/orders", b'{"orders":[{"acctId":"DU1","conid":8,"quantity":1}]}'


class GuardSetup:
    """The rule context that the guard reads; a test changes it."""

    def __init__(self) -> None:
        self.read_only = self.paused = False
        self.context_count = 0

    def __call__(self) -> RuleContext:
        """See `OrderGuard`."""
        self.context_count += 1
        return RuleContext(
            read_only=self.read_only,
            paper_mode=False,
            paused=self.paused,
            allowed=frozenset(),
            max_quantity=None,
            max_value=None,
            paid_snapshots=False,
            session_accounts=frozenset({"DU1"}),
            session_is_paper=True,
            login_is_paper=True,
        )


@pytest.fixture
def guard_setup() -> GuardSetup:
    """A rule context that forbids nothing."""
    return GuardSetup()


async def test_an_order_that_no_rule_refuses_passes(guard_setup: GuardSetup) -> None:
    """The rules are checked when the order enters, and once more before its first byte."""
    upstream = FakeUpstream()

    response = await OrderGuard(guard_setup, None)(context_for("POST", ORDERS, TICKET), upstream)

    assert (response, upstream.sent, guard_setup.context_count) == (OK, 1, 2)


async def test_a_refused_order_does_not_reach_the_next_stage(guard_setup: GuardSetup) -> None:
    """The refusal comes before the next stage, and nothing is sent."""
    guard_setup.read_only, upstream = True, FakeUpstream()

    with pytest.raises(ReadOnly):
        await OrderGuard(guard_setup, None)(context_for("POST", ORDERS, TICKET), upstream)

    assert upstream.contexts == []


async def test_a_pause_stops_an_order_that_waits_for_its_connection(guard_setup: GuardSetup) -> None:
    """The precondition of the order reads the rule context of that moment."""
    upstream = FakeUpstream()
    upstream.while_connecting = lambda: setattr(guard_setup, "paused", True)

    with pytest.raises(TradingPaused):
        await OrderGuard(guard_setup, None)(context_for("POST", ORDERS, TICKET), upstream)

    assert (len(upstream.contexts), upstream.sent) == (1, 0)


async def test_a_read_is_not_checked(guard_setup: GuardSetup) -> None:
    """A read changes nothing and costs nothing."""
    guard_setup.read_only, upstream = True, FakeUpstream()
    context = context_for("GET", "/portfolio/accounts")

    assert await OrderGuard(guard_setup, None)(context, upstream) is OK
    assert (guard_setup.context_count, context.preconditions) == (0, [])


@pytest.mark.parametrize("body", [b"", b" \r\n"])
async def test_an_empty_503_to_a_change_leaves_it_unknown(guard_setup: GuardSetup, body: bytes) -> None:
    """IBKR's front end gives up after ten seconds, and the order may have passed it."""
    rest = FakeBodyStream()

    with pytest.raises(OrderUnknown):
        await OrderGuard(guard_setup, None)(
            context_for("POST", ORDERS, TICKET), FakeUpstream(Response(503, {}, body, rest))
        )

    assert rest.close_count == 1


@pytest.mark.parametrize(
    ("method", "path", "response"),
    [
        ("POST", ORDERS, Response(503, {}, b'{"error":"no bridge"}')),
        ("POST", ORDERS, Response(500, {}, b"")),
        ("GET", "/portfolio/accounts", Response(503, {}, b"")),
        ("POST", "/tickle", Response(503, {}, b"")),
    ],
)
async def test_any_other_response_is_passed_on(
    guard_setup: GuardSetup, method: str, path: str, response: Response
) -> None:
    """A 503 with a text says what is wrong, and a call that changes nothing has no outcome to lose."""
    assert await OrderGuard(guard_setup, None)(context_for(method, path, TICKET), FakeUpstream(response)) is response


def test_facts_are_checked_without_a_call(guard_setup: GuardSetup) -> None:
    """The bridge checks the facts of an order before it confirms a question by itself."""
    guard, facts = OrderGuard(guard_setup, None), context_for("POST", ORDERS, TICKET).facts

    guard.check(facts)
    guard_setup.paused = True

    with pytest.raises(TradingPaused):
        guard.check(facts)


@pytest.mark.parametrize(
    ("limit", "method", "path"),
    [(None, "POST", ORDERS), (Decimal(1), "DELETE", "/iserver/account/DU1/order/7")],
)
async def test_without_a_limit_no_value_is_estimated(
    guard_setup: GuardSetup, limit: Decimal | None, method: str, path: str
) -> None:
    """Quotes and rates are fetched only for an order whose value is limited."""
    context, upstream = context_for(method, path, TICKET if method == "POST" else b""), FakeUpstream()
    context.execute = upstream

    facts = await OrderGuard(guard_setup, limit).with_order_value(context, "DU1")

    assert (facts is context.facts, upstream.contexts) == (True, [])


async def test_the_value_of_an_order_is_estimated_for_the_limit(guard_setup: GuardSetup) -> None:
    """A value that is not known is None, and the rule refuses it."""
    context, upstream = context_for("POST", ORDERS, TICKET), FakeUpstream()
    context.execute = upstream

    facts = await OrderGuard(guard_setup, Decimal(1000)).with_order_value(context, "DU1")

    assert facts.order_values == (None,)
    assert upstream.contexts
    assert context.facts.order_values is None
