"""The reads that the plain API is made of."""

from __future__ import annotations

import pytest

from ibkr_bridge.ibkr import reads
from ibkr_bridge.ibkr.catalogue import endpoint_of
from ibkr_bridge.ibkr.endpoint import OrderOperation
from ibkr_bridge.ibkr.reads import IbkrRead, OrderPath

ALL = [
    *(reads.account_list(), reads.account_summary("DU1"), reads.ledger("DU1"), reads.profit_and_loss()),
    *(reads.positions("DU1"), reads.trades(1), reads.trades(7), reads.order_list(), reads.order_status("1")),
    *(reads.stocks("AAPL"), reads.futures("ES"), reads.currency_pairs("USD"), reads.contract_search("X")),
    *(reads.definitions([1, 2]), reads.quote_snapshot([1], ["31"]), reads.trading_schedule("STK", "AAPL")),
    reads.price_history(1, "1d", "1h", outside_hours=False),
]


@pytest.mark.parametrize("read", ALL, ids=lambda read: read.target)
def test_each_is_a_listed_read(read: IbkrRead) -> None:
    """So it has its rate limit, its cache and its prerequisites."""
    endpoint = endpoint_of("GET", read.target)

    assert endpoint.is_listed
    assert endpoint.is_repeatable


@pytest.mark.parametrize(
    ("path", "operation"),
    [
        (reads.placement("DU1"), OrderOperation.PLACE),
        (reads.preview("DU1"), OrderOperation.PREVIEW),
        (reads.modification("DU1", "5"), OrderOperation.MODIFY),
        (reads.cancel("DU1", "5"), OrderOperation.CANCEL),
        (reads.reply("a-b"), OrderOperation.REPLY),
    ],
)
def test_each_order_call_is_listed(path: OrderPath, operation: OrderOperation) -> None:
    """So the rules and the journal know it."""
    assert endpoint_of(path.method, path.target).operation is operation


def test_what_a_caller_wrote_stays_inside_its_segment_and_its_parameter() -> None:
    """A symbol or an account cannot become another path or another parameter."""
    assert reads.account_summary("../x?y").target == "/v1/api/portfolio/..%2Fx%3Fy/summary"
    assert reads.stocks("A&B=C#").target == "/v1/api/trsrv/stocks?symbols=A%26B%3DC%23"
