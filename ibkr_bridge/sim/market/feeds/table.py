"""Which word begins a feed and which ends it, and what IBKR says to the end; to a beginning it says the first message.

A word that is not in here is passed over in silence.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ibkr_bridge.sim.market.feeds.charts import begin_chart
from ibkr_bridge.sim.market.feeds.feed import Feed, Floor, Message
from ibkr_bridge.sim.market.feeds.ladders import ladder
from ibkr_bridge.sim.market.feeds.money import ledger, profit, summary
from ibkr_bridge.sim.market.feeds.orders import orders, trades
from ibkr_bridge.sim.market.feeds.protocol import FeedRequest
from ibkr_bridge.sim.market.feeds.quotes import give_back, quote

Begin = Callable[[Floor, FeedRequest, float], Feed | None]


@dataclass(frozen=True)
class End:
    """The feeds of a topic that go by the target end; `{target}` in the answer is that target.

    `also` is done besides, whether there was such a feed or not.
    """

    topic: str
    answer: tuple[str, str] | None = None
    also: Callable[[Floor, FeedRequest], None] = lambda floor, asked: None

    def said(self, asked: FeedRequest) -> list[Message]:
        """What is answered."""
        return [] if self.answer is None else [{self.answer[0]: self.answer[1].format(target=asked.target)}]


BEGINS: Mapping[str, Begin] = {
    "smd": quote,
    "smh": begin_chart,
    "sbd": ladder,
    "sor": orders,
    "str": trades,
    "spl": profit,
    "ssd": summary,
    "sld": ledger,
}

ENDS: Mapping[str, End] = {
    "umd": End("smd", also=give_back),
    "umh": End("smh", ("message", "Unsubscribed {target}")),
    "ubd": End("sbd"),
    "uor": End("sor"),
    "utr": End("str"),
    "upl": End("spl"),
    "usd": End("ssd", ("result", "unsubscribed from summary")),
    "uld": End("sld", ("result", "unsubscribed from ledger")),
}
