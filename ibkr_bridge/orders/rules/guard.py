"""Stage `OrderGuard`: the rules that refuse a call before anything is sent.

The rules are checked when the call enters, and once more when the connection is open: a pause, an account list or the
kind of login can change while a call waits.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal

from ibkr_bridge.calls.context import CallContext
from ibkr_bridge.calls.facts import RequestFacts
from ibkr_bridge.calls.messages import Response, discard
from ibkr_bridge.calls.stage import Proceed
from ibkr_bridge.errors import unknown_change
from ibkr_bridge.ibkr.endpoint import Effect, OrderOperation
from ibkr_bridge.orders.rules.order_value_inputs import StreamedQuote, estimate_order_values, no_streamed_quote
from ibkr_bridge.orders.rules.rules import RuleContext, first_refusal, rules_for

CHANGING_EFFECTS = (Effect.TRADE, Effect.CHANGE)
VALUED_OPERATIONS = (OrderOperation.PLACE, OrderOperation.MODIFY)


class OrderGuard:
    """Refuses what the rules refuse.

    Args:
        rule_context: returns the settings and states that the rules depend on now.
        max_order_value: the largest value of one order, in the base currency of its account; None for no limit.
        streamed_quote: see `estimate_order_values`.
    """

    def __init__(
        self,
        rule_context: Callable[[], RuleContext],
        max_order_value: Decimal | None,
        streamed_quote: StreamedQuote = no_streamed_quote,
    ) -> None:
        self._rule_context = rule_context
        self._streamed_quote = streamed_quote
        self._max_order_value = max_order_value

    async def __call__(self, context: CallContext, proceed: Proceed) -> Response:
        """See `Stage`.

        Raises:
            Refused: a rule refuses; nothing was sent.
            OrderUnknown: IBKR gave up on a change after it had accepted it.
        """
        if not rules_for(context.facts):
            return await proceed(context)
        self.check(context.facts)
        context.preconditions.append(lambda sent: self.check(sent.facts))
        response = await proceed(context)
        if _is_given_up(context, response):
            discard(response)
            raise unknown_change("IBKR answered with an empty 503")
        return response

    def check(self, facts: RequestFacts) -> None:
        """Apply the rules to the facts of a call.

        Raises:
            Refused: a rule refuses; the error names it.
        """
        if rules_for(facts) and (refusal := first_refusal(facts, self._rule_context())) is not None:
            raise refusal.as_error()

    async def with_order_value(self, context: CallContext, account: str | None) -> RequestFacts:
        """The facts of an order, with its value if there is a limit; what the value depends on is fetched from IBKR."""
        if self._max_order_value is None or context.endpoint.operation not in VALUED_OPERATIONS:
            return context.facts
        values = await estimate_order_values(context, account, streamed_quote=self._streamed_quote)
        return replace(context.facts, order_values=values)


def _is_given_up(context: CallContext, response: Response) -> bool:
    """Whether a response is an empty 503: IBKR's edge gives up after ten seconds, and an order may have passed it."""
    return response.status == 503 and not response.body.strip() and context.endpoint.effect in CHANGING_EFFECTS
