"""Many callers at full speed: they get responses, IBKR's limits are kept, and no caller gets a stale response."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from bench.counting import busiest
from ibkr_bridge.events import FeedUp, PenaltyBoxEntered
from ibkr_bridge.profiles.options import ProfileOptions
from ibkr_bridge.session.state_machine import SessionState
from ibkr_bridge.sim.market import portfolio
from ibkr_bridge.sim.simulator import Simulator
from ibkr_bridge.upstream.gateway.client import GatewayClient
from tests.harness import KEY, Harness, Placement, Reply, settings_for, with_timeout
from tests.unlimited import UNLIMITED

META, SUMMARY = "/portfolio/DU1234567/meta", "/portfolio/DU1234567/summary"
LIST, TRADES, ORDER = "/iserver/account/orders", "/iserver/account/trades", Placement()
WITH_CACHE = ProfileOptions(UNLIMITED.limits)
WITH_LIMITS = ProfileOptions()
MANY_POSITIONS = 233  # they fill three pages
OpenBridge = Callable[..., Awaitable[Harness]]


@pytest.fixture
async def open_bridge(sim: Simulator, tmp_path: Path) -> AsyncIterator[OpenBridge]:
    """A function that starts a bridge with a cache in front of the simulated Gateway."""
    async with AsyncExitStack() as stack:

        async def open_with(options: ProfileOptions = WITH_CACHE, **env: str) -> Harness:
            settings = settings_for(sim.url, tmp_path / "state", **{"IBKR_GATEWAY_TIMEOUT": "10", **env})
            harness = await stack.enter_async_context(Harness(settings, options=options))
            await harness.wait_until(SessionState.READY)
            return harness

        yield open_with


def sources(replies: list[Reply]) -> Counter[str]:
    """How many responses came from each source."""
    return Counter(reply.headers["X-Bridge-Source"] for reply in replies)


async def test_twenty_equal_requests_at_once_are_one_call(open_bridge: OpenBridge, sim: Simulator) -> None:
    """A web server may render a page for twenty users at the same time."""
    harness = await open_bridge()
    sim.faults.add("delay", path=META, times=1, seconds=0.3)

    replies = await asyncio.gather(*(harness.get(META) for _ in range(20)))

    assert {reply.status for reply in replies} == {200}
    assert len({reply.body for reply in replies}) == 1
    assert sources(replies) == {"gateway": 1, "shared": 19}
    assert len(sim.gateway_calls(META)) == 1


@pytest.mark.parametrize(
    "header", [{}, {"Cache-Control": "no-cache"}, {"Cache-Control": "no-store", "Pragma": "no-cache"}]
)
async def test_a_cached_response_has_its_age(open_bridge: OpenBridge, sim: Simulator, header: dict[str, str]) -> None:
    """Node's fetch sends no-cache with each request, so the header is ignored."""
    harness = await open_bridge()

    first, second = [await harness.get(META, headers=header) for _ in range(2)]

    assert sources([first, second]) == {"gateway": 1, "cache": 1}
    assert ("Age" in first.headers, second.headers["Age"], second.body) == (False, "0", first.body)
    assert second.headers["Cache-Control"] == "no-store"
    assert len(sim.gateway_calls(META)) == 1


async def test_a_caller_may_require_a_fresh_response(open_bridge: OpenBridge, sim: Simulator) -> None:
    """It is cached for the others; an invalid age is refused."""
    harness = await open_bridge()
    await harness.get(META)

    fresh = await harness.get(META, headers={"X-Bridge-Max-Age": "0"})
    cached = await harness.get(META, headers={"X-Bridge-Max-Age": "60"})
    bad = await harness.get(META, headers={"X-Bridge-Max-Age": "soon"})

    assert sources([fresh, cached]) == {"gateway": 1, "cache": 1}
    assert (bad.status, bad.json["code"]) == (400, "bad_request")


async def test_a_shared_call_survives_its_first_caller(open_bridge: OpenBridge, sim: Simulator) -> None:
    """The first caller hangs up; the second one gets the response of the same call."""
    harness = await open_bridge()
    sim.faults.add("delay", path=META, times=1, seconds=0.5)
    request = f"GET {META} HTTP/1.1\r\nHost: localhost\r\nX-Bridge-Key: {KEY}\r\n\r\n"
    _, writer = await asyncio.open_connection("127.0.0.1", harness.port)
    writer.write(request.encode())
    await sim.wait_for_calls(META)
    second = asyncio.create_task(harness.get(META))
    await harness.get("/health")

    writer.transport.abort()
    reply = await second

    assert (reply.status, reply.headers["X-Bridge-Source"]) == (200, "shared")
    assert len(sim.gateway_calls(META)) == 1


async def test_an_order_invalidates_cached_responses(open_bridge: OpenBridge, sim: Simulator) -> None:
    """The next read is sent to IBKR."""
    harness = await open_bridge()
    before = await harness.get(SUMMARY)

    await harness.post(ORDER.target, ORDER.body)
    after = await harness.get(SUMMARY)

    assert sources([before, after]) == {"gateway": 2}


async def test_a_lost_session_invalidates_its_responses(open_bridge: OpenBridge, sim: Simulator) -> None:
    """The next session may have other accounts."""
    harness = await open_bridge()
    await harness.get(META)
    sim.lose_brokerage()
    await harness.wait_until_checked(SessionState.OPENING)
    await harness.wait_until(SessionState.READY)

    assert (await harness.get(META)).headers["X-Bridge-Source"] == "gateway"


async def test_all_callers_of_a_shared_call_get_its_error_and_it_is_not_cached(
    open_bridge: OpenBridge, sim: Simulator
) -> None:
    """The next request is sent to IBKR."""
    harness = await open_bridge()
    sim.faults.add("status", path=META, times=1, status=500, body='{"error":"no"}')

    failed = await asyncio.gather(*(harness.get(META) for _ in range(3)))
    later = await harness.get(META)

    assert [reply.status for reply in failed] == [500] * 3
    assert (later.status, later.headers["X-Bridge-Source"]) == (200, "gateway")


async def test_callers_get_the_responses_to_the_keeper(open_bridge: OpenBridge, sim: Simulator) -> None:
    """The keeper requested the accounts when the session opened; IBKR allows the next request after five seconds."""
    harness = await open_bridge(WITH_LIMITS)

    reply = await harness.get("/portfolio/accounts")

    assert (reply.status, reply.headers["X-Bridge-Source"]) == (200, "cache")


async def test_the_first_list_of_orders_is_not_taken_for_complete(open_bridge: OpenBridge, sim: Simulator) -> None:
    """IBKR marks its first list in a session as incomplete; the bridge reads it again, and callers get the second."""
    harness = await open_bridge()
    await harness.post(ORDER.target, ORDER.body)

    first, second = await harness.get(LIST), await harness.get(LIST)

    assert (first.json["snapshot"], len(first.json["orders"])) == (True, 1)
    assert sources([first, second]) == {"gateway": 1, "cache": 1}
    assert len(sim.gateway_calls(LIST)) == 2


async def test_orders_are_filtered_by_the_bridge(open_bridge: OpenBridge, sim: Simulator) -> None:
    """The bridge requests the list without a filter; it accepts CamelCase filters, with which IBKR fails."""
    harness = await open_bridge()
    await harness.post(ORDER.target, ORDER.body)

    state = (await harness.get(LIST)).json["orders"][0]["status"]
    same = await harness.get(f"{LIST}?filters={state}")
    none = await harness.get(f"{LIST}?filters=inactive")
    bad = await harness.get(f"{LIST}?filters=nonsense")

    assert (len(same.json["orders"]), none.json["orders"], none.json["snapshot"]) == (1, [], True)
    assert (bad.status, bad.json["code"]) == (400, "bad_request")
    assert {call.target for call in sim.gateway_calls(LIST)} == {f"/v1/api{LIST}"}


async def test_all_positions_are_one_response(open_bridge: OpenBridge, sim: Simulator) -> None:
    """It has every page as IBKR sent it, until one is empty."""
    sim.market.world.accounting.open_accounts(MANY_POSITIONS)
    harness = await open_bridge()
    pages = [(await harness.get(f"/portfolio/DU1234567/positions/{page}")).json for page in range(4)]

    response = await harness.get("/portfolio/DU1234567/positions")

    assert len([page for page in pages if page]) > 1
    assert response.json == [position for page in pages for position in page]


async def test_a_page_of_positions_that_repeats_is_fetched_once(open_bridge: OpenBridge, sim: Simulator) -> None:
    """IBKR may answer a page after the last one with the last one again."""
    sim.market.world.accounting.open_accounts(MANY_POSITIONS)
    harness = await open_bridge()
    last = (await harness.get("/portfolio/DU1234567/positions/2")).body.decode()
    sim.faults.add("status", path="/positions/([3-9]|[1-9][0-9])$", status=200, body=last)

    response = await harness.get("/portfolio/DU1234567/positions")

    assert len(response.json) == len({row["conid"] for row in response.json}) == MANY_POSITIONS
    assert len(sim.gateway_calls("/positions/3")) == 1
    assert sim.gateway_calls("/positions/4") == []


@pytest.mark.slow
async def test_more_than_thirty_pages_of_positions_are_read_within_ibkrs_limits(
    open_bridge: OpenBridge, sim: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At six reads a second they take longer than a caller waits for one call, and no other call is going on."""
    sim.market.world.accounting.open_accounts(MANY_POSITIONS)
    monkeypatch.setattr(portfolio, "PAGE_ROWS", 6)
    harness = await open_bridge(ProfileOptions(), IBKR_BRIDGE_MAX_WAIT="2")

    response = await harness.get("/portfolio/DU1234567/positions")

    assert (response.status, len(response.json)) == (200, MANY_POSITIONS)


async def test_a_call_that_ibkr_wants_twice_is_sent_twice_once_in_a_session(
    open_bridge: OpenBridge, sim: Simulator
) -> None:
    """IBKR wants it again in the next session."""
    harness = await open_bridge()
    algos = "/iserver/contract/265598/algos"
    for _ in range(2):
        await harness.get(algos, headers={"X-Bridge-Max-Age": "0"})
    before = len(sim.gateway_calls(algos))
    sim.lose_brokerage()
    await harness.wait_until_checked(SessionState.OPENING)
    await harness.wait_until(SessionState.READY)

    await harness.get(algos, headers={"X-Bridge-Max-Age": "0"})

    assert (before, len(sim.gateway_calls(algos))) == (3, 5)


async def test_a_call_that_would_wait_too_long_is_refused_with_the_wait(
    open_bridge: OpenBridge, sim: Simulator
) -> None:
    """IBKR allows one request of the trades in five seconds, and this caller waits one second at most."""
    harness = await open_bridge(WITH_LIMITS)
    await harness.get(TRADES)

    refused = await harness.get(TRADES, headers={"X-Bridge-Max-Age": "0", "X-Bridge-Wait": "1"})

    assert (refused.status, refused.json["code"], refused.headers["Retry-After"]) == (429, "rate_limited", "5")
    assert len(sim.gateway_calls(TRADES)) == 1


async def test_a_second_429_is_the_penalty_box_and_cancels_are_still_sent(
    open_bridge: OpenBridge, sim: Simulator
) -> None:
    """The status shows the seconds left, and the penalty outlives a restart."""
    harness = await open_bridge()
    sim.faults.add("429", path=META, times=1)
    sim.faults.add("429", path=SUMMARY, times=1)

    first, second = await harness.get(META), await harness.get(SUMMARY)
    order = await harness.post(ORDER.target, ORDER.body)
    cancel = await harness.request("DELETE", "/iserver/account/DU1234567/order/1")
    status, ready = (await harness.get("/gateway/status")).json, await harness.get("/readyz", key=None)
    await harness.finish()
    after_restart = await (await open_bridge()).get(META)

    codes = [reply.json["code"] for reply in (first, second, order, after_restart)]
    assert codes == ["rate_limited", "penalty_box", "penalty_box", "penalty_box"]
    assert cancel.status == 200
    assert sim.gateway_calls(ORDER.target) == []
    assert (890 <= status["penalty"]["box_s"] <= 900, ready.status) == (True, 503)
    assert await harness.wait_for_events(PenaltyBoxEntered)


async def test_ghost_calls_in_all_slots_do_not_stop_a_gateway_that_answers(
    open_bridge: OpenBridge, sim: Simulator
) -> None:
    """Checks are answered, so there is a free slot: one call at a time is admitted, and each answer frees a slot."""
    harness = await open_bridge(UNLIMITED, IBKR_GATEWAY_TIMEOUT="1.5")
    for target in (META, SUMMARY, "/portfolio/accounts", ORDER.target):
        sim.faults.add("silence", path=target, times=1)
    await asyncio.gather(*(harness.get(path) for path in (META, SUMMARY, "/portfolio/accounts")))
    await harness.post(ORDER.target, ORDER.body)
    ghost_calls = (await harness.get("/gateway/status")).json["slots"]["ghost_calls"]

    order = await harness.post(ORDER.target, Placement(quantity=2).body, headers={"X-Bridge-Confirm": "unknown-open"})
    read = await harness.get("/portfolio/DU1234567/ledger")

    assert (ghost_calls, order.status, read.status) == (4, 200, 200)
    assert len(sim.gateway_calls(ORDER.target)) == 2


async def test_greedy_callers_get_responses_and_ibkrs_limits_are_kept(tmp_path: Path) -> None:
    """Ten callers send six reads at full speed, with orders between them; the calls are counted at IBKR's side."""
    async with Simulator(pacing=True) as sim, Harness(settings_for(sim.url, tmp_path), options=WITH_LIMITS) as harness:
        await harness.wait_until(SessionState.READY)
        paths = (META, SUMMARY, LIST, "/portfolio/accounts", TRADES, "/portfolio/DU1234567/ledger")

        async def run_caller() -> list[Reply]:
            return [await harness.get(path) for _ in range(5) for path in paths]

        callers = [asyncio.create_task(run_caller()) for _ in range(10)]
        orders = [await harness.post(ORDER.target, ORDER.body) for _ in range(3)]
        replies = [reply for caller_replies in await asyncio.gather(*callers) for reply in caller_replies]

    assert {reply.status for reply in replies} == {200}
    assert {reply.status for reply in orders} == {200}
    assert sources(replies)["gateway"] <= len(replies) / 10
    assert busiest([call.at for call in sim.calls()], 1.0) <= 10
    for path in (LIST, "/portfolio/accounts", TRADES):
        assert busiest([call.at for call in sim.calls(path)], 5.0) <= 1


async def test_an_order_in_flight_invalidates_responses_twice(open_bridge: OpenBridge, sim: Simulator) -> None:
    """When it is sent and when its response comes."""
    harness = await open_bridge()
    await harness.get(SUMMARY)
    sim.faults.add("delay", path=ORDER.target, times=1, seconds=0.5)
    order = asyncio.create_task(harness.post(ORDER.target, ORDER.body))
    await sim.wait_for_calls(ORDER.target)

    during = [(await harness.get(SUMMARY)).headers["X-Bridge-Source"] for _ in range(2)]
    await order
    after = (await harness.get(SUMMARY)).headers["X-Bridge-Source"]

    assert (during, after) == (["gateway", "cache"], "gateway")


async def test_an_order_whose_response_comes_late_invalidates_responses_then(
    open_bridge: OpenBridge, sim: Simulator
) -> None:
    """Its caller was told that the outcome is unknown, and reads the account."""
    harness = await open_bridge(IBKR_GATEWAY_TIMEOUT="1")
    sim.faults.add("delay", path=ORDER.target, times=1, seconds=1.5)
    unknown = await harness.post(ORDER.target, ORDER.body)
    before = await harness.get(SUMMARY)
    upstream = harness.bridge.profile.upstream
    assert isinstance(upstream, GatewayClient)
    await with_timeout(asyncio.gather(*upstream._http._ghosts))

    after = await harness.get(SUMMARY)

    assert unknown.json["code"] == "order_unknown"
    assert sources([before, after]) == {"gateway": 2}


async def test_a_slow_call_does_not_replace_a_newer_response(open_bridge: OpenBridge, sim: Simulator) -> None:
    """Its response comes later, but it was sent earlier."""
    harness = await open_bridge()
    sim.faults.add("delay", path=META, times=1, seconds=0.5)
    slow = asyncio.create_task(harness.get(META))
    await sim.wait_for_calls(META)
    await harness.get(META, headers={"X-Bridge-Max-Age": "0"})
    entries = harness.bridge.profile.cached_reads.cache._entries
    sent_at = [entry.sent_at for entry in entries.values() if "meta" in entry.endpoint.path]

    await slow

    assert [entry.sent_at for entry in entries.values() if "meta" in entry.endpoint.path] == sent_at != []


async def test_compressed_responses_are_read(open_bridge: OpenBridge, sim: Simulator) -> None:
    """Orders are filtered and pages are joined; callers that did not request compression get none."""
    sim.market.world.accounting.open_accounts(MANY_POSITIONS)
    harness = await open_bridge()
    await harness.post(ORDER.target, ORDER.body)
    for path in (LIST, "/portfolio/DU1234567/positions"):
        sim.faults.add("gzip", path=path)

    none = await harness.get(f"{LIST}?filters=inactive")
    positions = await harness.get("/portfolio/DU1234567/positions")

    assert (none.json["orders"], len(positions.json)) == ([], MANY_POSITIONS)
    assert "Content-Encoding" not in positions.headers


async def test_all_pages_are_as_old_as_the_oldest_of_them(open_bridge: OpenBridge, sim: Simulator) -> None:
    """The response counts as cached if one page is."""
    harness = await open_bridge()
    await harness.get("/portfolio/DU1234567/positions/0")

    response = await harness.get("/portfolio/DU1234567/positions")

    assert (response.headers["X-Bridge-Source"], response.headers["Age"]) == ("cache", "0")


async def test_bodies_of_another_media_type_are_other_requests(open_bridge: OpenBridge, sim: Simulator) -> None:
    """IBKR reads a body by its media type."""
    harness = await open_bridge()
    body = b'{"symbol":"AAPL"}'

    for media_type in ("application/json", "text/plain", "application/json"):
        await harness.request("POST", "/iserver/secdef/search", body=body, headers={"Content-Type": media_type})

    assert len(sim.gateway_calls("/iserver/secdef/search")) == 2


async def test_bodies_of_requests_are_not_stored_in_the_cache(open_bridge: OpenBridge, sim: Simulator) -> None:
    """Each may be as large as a megabyte."""
    harness = await open_bridge()

    await harness.post("/iserver/secdef/search", {"symbol": "AAPL", "more": "x" * 500_000})

    keys = harness.bridge.profile.cached_reads.cache._entries
    assert keys
    assert max(len(repr(key)) for key in keys) < 1000


async def test_limits_of_a_quarter_of_an_hour_outlive_a_restart(open_bridge: OpenBridge, sim: Simulator) -> None:
    """IBKR still counts the calls of the former process."""
    request = ("/pa/performance", {"acctIds": ["DU1234567"], "period": "1D"})
    prefixes = {"IBKR_BRIDGE_EXTRA_PREFIXES": "pa"}
    first = await open_bridge(WITH_LIMITS, **prefixes)
    served = await first.post(*request)
    await first.finish()

    refused = await (await open_bridge(WITH_LIMITS, **prefixes)).post(*request)

    assert (served.status, refused.status, refused.json["code"]) == (200, 429, "rate_limited")
    assert 880 <= int(refused.headers["Retry-After"]) <= 901
    assert len(sim.gateway_calls("/pa/performance")) == 1


async def test_a_429_to_the_keeper_limits_callers_too(open_bridge: OpenBridge, sim: Simulator) -> None:
    """IBKR counts all calls of the bridge together."""
    sim.faults.add("429", path="/portfolio/accounts", times=1)
    harness = await open_bridge()

    reply = await harness.get("/portfolio/accounts")

    assert (reply.status, reply.json["code"]) == (429, "rate_limited")
    assert len(sim.gateway_calls("/portfolio/accounts")) == 1


async def test_a_call_of_the_keeper_is_not_repeated_at_once(open_bridge: OpenBridge, sim: Simulator) -> None:
    """Its connection broke, but IBKR may have counted the first call."""
    sim.faults.add("cut-before", path="/portfolio/accounts", times=1)
    await open_bridge()

    assert len(sim.gateway_calls("/portfolio/accounts")) == 1


async def test_a_new_session_that_was_not_observed_is_noticed(open_bridge: OpenBridge, sim: Simulator) -> None:
    """IBKR wants the accounts again; so all other prerequisites must be sent again too."""
    harness = await open_bridge()
    strikes = "/iserver/secdef/strikes?conid=265598&sectype=OPT&month="
    await harness.get(strikes + "SEP26")
    sim.market.world.sessions.lose_brokerage()
    sim.market.world.sessions.open_brokerage(sim.clock.now(), compete=True, is_established=True)
    brokerage = sim.market.world.sessions.brokerage
    assert brokerage is not None
    brokerage.has_read_accounts = False

    await harness.get("/iserver/account/DU1234567/summary", headers={"X-Bridge-Max-Age": "0"})
    chain = await harness.get(strikes + "DEC26")

    assert chain.json["call"]


async def test_a_call_that_was_cut_is_not_repeated_beyond_its_limit(open_bridge: OpenBridge, sim: Simulator) -> None:
    """IBKR may have counted the first call."""
    harness = await open_bridge(WITH_LIMITS)
    sim.faults.add("cut-before", path=TRADES, times=1)

    reply = await harness.get(TRADES)

    assert (reply.status, reply.json["code"]) == (502, "gateway_protocol_error")
    assert len(sim.gateway_calls(TRADES)) == 1


async def test_orders_can_be_polled_after_a_placement(open_bridge: OpenBridge, sim: Simulator) -> None:
    """Ten polls at once, with the bridge's limits: none is refused, and each shows the order."""
    harness = await open_bridge(WITH_LIMITS)
    await harness.wait_for_events(FeedUp)
    limit = Placement(extra={"orderType": "LMT", "price": 187.5})
    placed = (await harness.post(limit.target, limit.body)).json[0]["order_id"]

    polls = [await harness.get(LIST, headers={"X-Bridge-Max-Age": "0", "X-Bridge-Wait": "0"}) for _ in range(10)]

    assert {reply.status for reply in polls} == {200}
    assert {str(row["orderId"]) for reply in polls for row in reply.json["orders"]} == {placed}
    assert "stream" in sources(polls)
    assert busiest([call.at for call in sim.calls(LIST)], 5.0) <= 1
