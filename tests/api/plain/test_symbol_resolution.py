"""How many reads it takes to find instruments, and what is remembered of them."""

from __future__ import annotations

import pytest

from ibkr_bridge.sim.simulator import Simulator
from tests.harness import Harness


def reads_of(sim: Simulator, path: str) -> list[str]:
    """The reads of a path that reached IBKR."""
    return [call.target for call in sim.calls() if f"/{path}?" in call.target]


async def test_several_stocks_are_found_with_one_read(harness: Harness, sim: Simulator) -> None:
    """And their definitions with another."""
    await harness.get("/quotes?symbols=AAPL,MSFT,IBM,NVDA")

    assert len(reads_of(sim, "trsrv/stocks")) == 1
    assert len(reads_of(sim, "trsrv/secdef")) == 1


async def test_what_was_found_is_not_looked_up_again(harness: Harness, sim: Simulator) -> None:
    """The harness has no cache of answers: the symbols themselves are remembered."""
    await harness.get("/quotes?symbols=AAPL,ES@CME")
    before = len(reads_of(sim, "trsrv/stocks") + reads_of(sim, "trsrv/futures") + reads_of(sim, "trsrv/secdef"))

    await harness.get("/quotes?symbols=ES@CME,AAPL")

    after = len(reads_of(sim, "trsrv/stocks") + reads_of(sim, "trsrv/futures") + reads_of(sim, "trsrv/secdef"))
    assert after == before


async def test_an_unknown_symbol_is_looked_up_each_time(harness: Harness, sim: Simulator) -> None:
    """A new listing must not stay unknown for hours."""
    for _ in range(2):
        await harness.get("/instruments?symbol=NOPE")

    assert len(reads_of(sim, "trsrv/stocks")) == 2


@pytest.mark.parametrize("path", ["/quotes?symbols=AAPL", "/history?symbol=AAPL", "/instruments?symbol=AAPL"])
async def test_while_ibkr_fails_the_error_is_ibkrs(harness: Harness, sim: Simulator, path: str) -> None:
    """The symbol is not called unknown."""
    sim.faults.add("status", path="/trsrv/stocks", status=503)

    reply = await harness.get(path)

    assert (reply.status, reply.code) == (502, "upstream_error")
