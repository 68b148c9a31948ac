"""Which word starts a feed, which word ends it, and what IBKR says at the end.

IBKR answers the word that starts a feed with the feed's first message. It ignores a word that is not in these tables.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ibkr_bridge.sim.market.feeds.charts import begin_chart
from ibkr_bridge.sim.market.feeds.feed import Feed, FeedContext, Message
from ibkr_bridge.sim.market.feeds.ladders import begin_ladder
from ibkr_bridge.sim.market.feeds.money import begin_ledger, begin_profit, begin_summary
from ibkr_bridge.sim.market.feeds.orders import begin_orders, begin_trades
from ibkr_bridge.sim.market.feeds.protocol import FeedRequest
from ibkr_bridge.sim.market.feeds.quotes import begin_quote, release_line

Begin = Callable[[FeedContext, FeedRequest, float], Feed | None]


@dataclass(frozen=True)
class End:
    """How a word ends the feeds of `topic` that belong to its target.

    `confirmation` is the member of the response and its text; `{target}` in the text is the target. `extra_action` is
    called too, whether there was such a feed or not.
    """

    topic: str
    confirmation: tuple[str, str] | None = None
    extra_action: Callable[[FeedContext, FeedRequest], None] = lambda context, request: None

    def messages(self, request: FeedRequest) -> list[Message]:
        """IBKR's response to the word."""
        if self.confirmation is None:
            return []
        member, text = self.confirmation
        return [{member: text.format(target=request.target)}]


BEGINS: Mapping[str, Begin] = {
    "smd": begin_quote,
    "smh": begin_chart,
    "sbd": begin_ladder,
    "sor": begin_orders,
    "str": begin_trades,
    "spl": begin_profit,
    "ssd": begin_summary,
    "sld": begin_ledger,
}

ENDS: Mapping[str, End] = {
    "umd": End("smd", extra_action=release_line),
    "umh": End("smh", ("message", "Unsubscribed {target}")),
    "ubd": End("sbd"),
    "uor": End("sor"),
    "utr": End("str"),
    "upl": End("spl"),
    "usd": End("ssd", ("result", "unsubscribed from summary")),
    "uld": End("sld", ("result", "unsubscribed from ledger")),
}
