"""Quotes, candles, accounts, positions, and the smaller groups of calls."""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal

import pytest

from ibkr_bridge.sim import Simulator
from ibkr_bridge.sim.market.dispatch import Route
from ibkr_bridge.sim.market.instruments import SMALL_COMPANIES
from ibkr_bridge.sim.market.pacing import LIMITS, PENALTY_S, Limit, Pacing
from ibkr_bridge.sim.market.quote_calls import COMPUTED_DELAY_S, FIRST_PRICE_DELAY_S
from ibkr_bridge.sim.market.quotes import Quotes
from ibkr_bridge.sim.market.table import ROUTES
from tests.clocks import ManualClock
from tests.sim.wire import Wire, connect

API = "/v1/api"
SNAPSHOT = f"{API}/iserver/marketdata/snapshot"
AAPL, ES = 265598, 495512563


async def test_the_first_snapshots_are_empty(wire: Wire, clock: ManualClock) -> None:
    """The first snapshot opens a line. Later ones have the fields as text, computed ones last."""
    path = f"{SNAPSHOT}?conids={AAPL},8314&fields=31,84,86,7283"
    first, second = [(await wire.call("GET", path)).json() for _ in range(2)]
    clock.advance(2 * FIRST_PRICE_DELAY_S)
    third = (await wire.call("GET", path)).json()
    clock.advance(COMPUTED_DELAY_S)
    last = (await wire.call("GET", path)).json()

    assert [set(row) for row in first] == [{"conid", "conidEx"}] * 2
    assert second == first
    assert all({"31", "84", "86", "_updated", "6509"} <= set(row) and "7283" not in row for row in third)
    assert all("7283" in row for row in last)
    assert isinstance(third[0]["31"], str)


async def test_a_derivative_has_no_quotes_before_its_underlying_was_searched_for(
    wire: Wire, clock: ManualClock
) -> None:
    """Each session needs a new search."""
    path = f"{SNAPSHOT}?conids={ES}&fields=31"
    for _ in range(2):
        assert "31" not in (await wire.call("GET", path)).json()[0]
        clock.advance(60)
    await wire.call("GET", f"{API}/iserver/secdef/search?symbol=ES")
    await wire.call("GET", path)
    clock.advance(2 * FIRST_PRICE_DELAY_S)

    assert "31" in (await wire.call("GET", path)).json()[0]


async def test_the_hundred_and_first_line_stays_empty(wire: Wire, clock: ManualClock) -> None:
    """It gets the response of a first snapshot until a line is released."""
    many = ",".join(str(conid) for conid in SMALL_COMPANIES[:100])
    extra = f"{SNAPSHOT}?conids={AAPL}&fields=31"
    await wire.call("GET", f"{SNAPSHOT}?conids={many}&fields=31")
    for _ in range(3):
        assert "31" not in (await wire.call("GET", extra)).json()[0]
        clock.advance(60)

    await wire.call("POST", f"{API}/iserver/marketdata/unsubscribe", {"conid": SMALL_COMPANIES[0]})
    await wire.call("GET", extra)
    clock.advance(2 * FIRST_PRICE_DELAY_S)

    assert "31" in (await wire.call("GET", extra)).json()[0]


async def test_releasing_a_line_that_is_not_open_is_a_server_error(wire: Wire) -> None:
    """Releasing all lines is never an error."""
    path = f"{API}/iserver/marketdata/unsubscribe"

    assert (await wire.call("POST", path, {"conid": AAPL})).json() == {"error": "unknown"}
    assert (await wire.call("GET", f"{path}all")).json() == {"unsubscribed": True}


def test_prices_depend_only_on_clock_and_seed() -> None:
    """The same moment gives the same price on every machine."""
    prices = [Quotes(1).last_price(AAPL, float(moment)) for moment in range(50)]

    assert prices == [Quotes(1).last_price(AAPL, float(moment)) for moment in range(50)]
    assert len(set(prices)) > 10
    assert prices != [Quotes(2).last_price(AAPL, float(moment)) for moment in range(50)]
    assert all(price % Decimal("0.01") == 0 for price in prices)


async def test_candles_fill_the_period(wire: Wire) -> None:
    """Volumes must be multiplied by `volumeFactor`."""
    path = f"{API}/iserver/marketdata/history?conid={AAPL}&period=1d&bar=1h"

    chart = (await wire.call("GET", path)).json()

    assert (chart["points"], len(chart["data"]), chart["volumeFactor"]) == (24, 24, 40)
    assert all(bar["l"] <= bar["o"] <= bar["h"] for bar in chart["data"])


@pytest.mark.parametrize(("positions", "expected"), [(10, [10, 0, 0, 0]), (233, [100, 100, 33, 0])])
async def test_positions_come_in_pages_and_end_with_an_empty_one(
    sim: Simulator, wire: Wire, positions: int, expected: list[int]
) -> None:
    """With 233 positions the first account has three pages."""
    sim.market.world.accounting.open_accounts(positions)
    await wire.call("GET", f"{API}/portfolio/accounts")
    path = f"{API}/portfolio/DU1234567/positions"

    sizes = [len((await wire.call("GET", f"{path}/{page}")).json()) for page in range(4)]

    assert sizes == expected


async def test_portfolio_calls_are_empty_until_the_accounts_were_requested(wire: Wire) -> None:
    """There is no error."""
    path = f"{API}/portfolio/DU7654321"

    before = [(await wire.call("GET", f"{path}/{part}")).json() for part in ("positions/0", "summary", "ledger")]
    await wire.call("GET", f"{API}/portfolio/accounts")
    after = [(await wire.call("GET", f"{path}/{part}")).json() for part in ("positions/0", "summary", "ledger")]

    assert before == [[], {}, {}]
    assert all(after)


ACCOUNT_ROUTES = [route for route in ROUTES if "{account}" in route.pattern]


@pytest.mark.parametrize("route", ACCOUNT_ROUTES, ids=lambda route: f"{route.methods} {route.pattern}")
async def test_an_account_that_does_not_exist_is_refused_by_every_call(wire: Wire, route: Route) -> None:
    """With its number, and with the status that IBKR documents for the call."""
    await wire.call("GET", f"{API}/portfolio/accounts")
    path = re.sub(r"\{\w+\}", "1", route.pattern.replace("{account}", "DU0000000"))

    response = await wire.call(route.methods.split()[0], API + path)

    assert response.json()["error"] == "Bad Request: accountId is not valid: DU0000000"
    late = ("/ledger", "/meta", "/orders", "/alerts")
    assert response.status == (500 if path.endswith(late) or path == "/portfolio/DU0000000/summary" else 400)


@pytest.mark.parametrize("path", ["/pa/performance", "/pa/allperiods", "/pa/transactions", "/portfolio/allocation"])
async def test_an_account_that_does_not_exist_is_refused_in_a_body_too(wire: Wire, path: str) -> None:
    """Also beside one that exists."""
    await wire.call("GET", f"{API}/portfolio/accounts")
    body = {"acctIds": ["DU1234567", "DU0000000"], "conids": [AAPL], "currency": "USD"}

    response = await wire.call("POST", API + path, body)

    assert (response.status, response.json()["statusCode"]) == (400, 400)


def _reads() -> Iterator[str]:
    yield from ("/iserver/accounts", "/iserver/account/DU1234567/summary", "/iserver/account/pnl/partitioned")
    yield from ("/portfolio/accounts", "/portfolio/DU1234567/meta", "/portfolio/DU1234567/summary")
    yield from ("/portfolio/DU1234567/ledger", "/portfolio/DU1234567/allocation", "/portfolio/positions/265598")
    yield from ("/iserver/secdef/search?symbol=AAPL", f"/iserver/secdef/strikes?conid={AAPL}&month=SEP26")
    yield from (f"/iserver/secdef/info?conid={AAPL}", f"/iserver/contract/{AAPL}/info")
    yield from (f"/iserver/contract/{AAPL}/info-and-rules", f"/iserver/contract/{AAPL}/algos")
    yield from ("/trsrv/stocks?symbols=AAPL,MSFT", "/trsrv/futures?symbols=ES", f"/trsrv/secdef?conids={AAPL}")
    yield from ("/iserver/currency/pairs?currency=USD", "/iserver/exchangerate?source=EUR&target=USD")
    yield from ("/iserver/scanner/params", "/iserver/watchlists", "/iserver/account/DU1234567/alerts")
    yield from ("/fyi/unreadnumber", "/fyi/notifications", "/sso/validate", "/trsrv/secdef/schedule")


@pytest.mark.parametrize("path", list(_reads()))
async def test_every_read_of_the_market_is_answered_in_json(wire: Wire, path: str) -> None:
    """The status is 200."""
    await wire.call("GET", f"{API}/portfolio/accounts")
    await wire.call("GET", f"{API}/iserver/secdef/search?symbol=AAPL")

    response = await wire.call("GET", API + path)

    assert response.status == 200
    response.json()


async def test_calls_that_need_a_search_return_nothing_without_it(wire: Wire, sim: Simulator) -> None:
    """The search must be in the same session."""
    info, strikes = (f"{API}/iserver/secdef/{name}?conid={AAPL}&month=SEP26" for name in ("info", "strikes"))

    async def fetch_both() -> tuple[int, bool]:
        return (await wire.call("GET", info)).status, bool((await wire.call("GET", strikes)).json()["call"])

    before = await fetch_both()
    await wire.call("POST", f"{API}/iserver/secdef/search", {"symbol": "AAPL"})
    after = await fetch_both()
    sim.market.world.sessions.lose_brokerage()
    sim.market.world.sessions.open_brokerage(sim.clock.now(), compete=True, is_established=True)

    assert (before, after, await fetch_both()) == ((500, False), (200, True), (500, False))


async def test_the_history_farm_has_to_be_opened(wire: Wire) -> None:
    """Until then its calls return 404."""
    path = f"{API}/hmds/history?conid={AAPL}&period=1d&bar=1h"

    before = await wire.call("GET", path)
    await wire.call("POST", f"{API}/hmds/auth/init", {})
    after = await wire.call("GET", path)

    assert (before.status, after.status, after.json()["points"]) == (404, 200, 24)


async def test_a_preview_without_quotes_has_a_warning(wire: Wire) -> None:
    """Its numbers may be wrong."""
    ticket = {"conid": AAPL, "orderType": "MKT", "side": "BUY", "quantity": 1, "tif": "DAY"}
    path, body = f"{API}/iserver/account/DU1234567/orders/whatif", {"orders": [ticket]}
    await wire.call("GET", f"{API}/iserver/accounts")

    before = (await wire.call("POST", path, body)).json()
    await wire.call("GET", f"{SNAPSHOT}?conids={AAPL}&fields=31")
    after = (await wire.call("POST", path, body)).json()

    assert (before["warn"][:3], after["warn"]) == ("21/", None)


async def test_an_unknown_period_is_refused_by_name(wire: Wire) -> None:
    """IBKR does not offer three months."""
    response = await wire.call("POST", f"{API}/pa/performance", {"acctIds": ["DU1234567"], "period": "3M"})

    assert (response.status, response.json()) == (400, {"error": "Invalid period: 3M"})


async def test_watchlists_are_stored(wire: Wire) -> None:
    """One with the same id is overwritten."""
    for name in ("one", "two"):
        await wire.call("POST", f"{API}/iserver/watchlist", {"id": "7", "name": name, "rows": [{"C": AAPL}]})

    watchlists = (await wire.call("GET", f"{API}/iserver/watchlists")).json()["data"]["user_lists"]

    assert [each["name"] for each in watchlists] == ["two"]


async def test_the_first_response_about_a_watchlist_is_partial(wire: Wire) -> None:
    """Its rows come with the second response."""
    await wire.call("POST", f"{API}/iserver/watchlist", {"id": "7", "name": "one", "rows": [{"C": AAPL}]})

    looks = [(await wire.call("GET", f"{API}/iserver/watchlist?id=7")).json()["instruments"] for _ in range(2)]

    assert looks == [[], [{"C": AAPL}]]


@pytest.mark.parametrize("limit", LIMITS, ids=lambda limit: limit.pattern)
def test_one_call_too_many_is_refused_until_its_time_is_over(limit: Limit) -> None:
    """The limits are those of IBKR's own table."""
    pacing, path = Pacing(enabled=True), limit.pattern.replace(".*", "x")

    refusals = [pacing.count_call(path, 0.01 * count) for count in range(limit.calls + 1)]

    if limit.calls < 10:
        assert refusals == [False] * limit.calls + [True]
        assert not pacing.count_call(path, limit.seconds + 1.0)


def test_too_many_calls_in_all_are_refused_for_fifteen_minutes() -> None:
    """Every path is refused then."""
    pacing = Pacing(enabled=True)

    refusals = [pacing.count_call(f"/x/{count}", 0.0) for count in range(11)]

    assert refusals == [False] * 10 + [True]
    assert pacing.count_call("/y", PENALTY_S - 1)
    assert not pacing.count_call("/y", PENALTY_S)


async def test_pacing_is_off_by_default(wire: Wire, clock: ManualClock) -> None:
    """With pacing IBKR answers with 429."""
    assert {(await wire.call("GET", f"{API}/tickle")).status for _ in range(20)} == {200}

    async with Simulator(clock=clock, pacing=True) as strict:
        wire_with_limits = await connect(strict)
        statuses = [(await wire_with_limits.call("GET", f"{API}/tickle")).status for _ in range(2)]
        wire_with_limits.abort()

    assert statuses == [200, 429]
