"""Callers as greedy as they like: they get answers, IBKR sees a polite one, and nobody gets what is stale."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from bench.counting import busiest
from ibkr_bridge.events import PenaltyBoxEntered
from ibkr_bridge.profiles.options import ProfileOptions
from ibkr_bridge.session.state_machine import SessionState
from ibkr_bridge.sim.simulator import Simulator
from ibkr_bridge.upstream.gateway.client import GatewayClient
from tests.harness import KEY, Harness, Placed, Reply, settings_for, within
from tests.unlimited import UNLIMITED

META, SUMMARY = "/portfolio/DU1234567/meta", "/portfolio/DU1234567/summary"
LIST, TRADES, ORDER = "/iserver/account/orders", "/iserver/account/trades", Placed()
SHARING = ProfileOptions(UNLIMITED.limits)
POLITE = ProfileOptions()
Opened = Callable[..., Awaitable[Harness]]


@pytest.fixture
async def opened(sim: Simulator, tmp_path: Path) -> AsyncIterator[Opened]:
    """A bridge with manners, in front of the simulated Gateway."""
    async with AsyncExitStack() as doors:

        async def opening(options: ProfileOptions = SHARING, **env: str) -> Harness:
            settings = settings_for(sim.url, tmp_path / "state", **{"IBKR_GATEWAY_TIMEOUT": "1", **env})
            harness = await doors.enter_async_context(Harness(settings, options=options))
            await harness.wait_until(SessionState.READY)
            return harness

        yield opening


def sources(replies: list[Reply]) -> Counter[str]:
    """Where answers came from."""
    return Counter(reply.headers["X-Bridge-Source"] for reply in replies)


async def test_twenty_who_ask_the_same_are_one_call(opened: Opened, sim: Simulator) -> None:
    """A page that is rendered for twenty requests at once."""
    harness = await opened()
    sim.faults.add("delay", path=META, times=1, seconds=0.3)

    replies = await asyncio.gather(*(harness.get(META) for _ in range(20)))

    assert {reply.status for reply in replies} == {200}
    assert len({reply.body for reply in replies}) == 1
    assert sources(replies) == {"gateway": 1, "shared": 19}
    assert len(sim.gateway_calls(META)) == 1


@pytest.mark.parametrize(
    "header", [{}, {"Cache-Control": "no-cache"}, {"Cache-Control": "no-store", "Pragma": "no-cache"}]
)
async def test_an_answer_is_told_again_with_its_age(opened: Opened, sim: Simulator, header: dict[str, str]) -> None:
    """Node's fetch says no-cache each time; that is not meant."""
    harness = await opened()

    first, second = [await harness.get(META, headers=header) for _ in range(2)]

    assert sources([first, second]) == {"gateway": 1, "cache": 1}
    assert ("Age" in first.headers, second.headers["Age"], second.body) == (False, "0", first.body)
    assert second.headers["Cache-Control"] == "no-store"
    assert len(sim.gateway_calls(META)) == 1


async def test_who_wants_it_anew_gets_it_anew(opened: Opened, sim: Simulator) -> None:
    """And others may have theirs."""
    harness = await opened()
    await harness.get(META)

    anew = await harness.get(META, headers={"X-Bridge-Max-Age": "0"})
    young = await harness.get(META, headers={"X-Bridge-Max-Age": "60"})
    bad = await harness.get(META, headers={"X-Bridge-Max-Age": "soon"})

    assert sources([anew, young]) == {"gateway": 1, "cache": 1}
    assert (bad.status, bad.json["code"]) == (400, "bad_request")


async def test_a_flight_survives_who_began_it(opened: Opened, sim: Simulator) -> None:
    """The first one hangs up; the second one's answer is the same call's."""
    harness = await opened()
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


async def test_an_order_makes_what_was_known_stale(opened: Opened, sim: Simulator) -> None:
    """Also what was on its way when it was placed."""
    harness = await opened()
    before = await harness.get(SUMMARY)

    await harness.post(ORDER.target, ORDER.body)
    after = await harness.get(SUMMARY)

    assert sources([before, after]) == {"gateway": 2}


async def test_a_lost_session_takes_its_answers_along(opened: Opened, sim: Simulator) -> None:
    """Another one may have other accounts."""
    harness = await opened()
    await harness.get(META)
    sim.lose_brokerage()
    await harness.wait_until(SessionState.OPENING)
    await harness.wait_until(SessionState.READY)

    assert (await harness.get(META)).headers["X-Bridge-Source"] == "gateway"


async def test_an_error_is_told_to_all_who_waited_and_not_kept(opened: Opened, sim: Simulator) -> None:
    """The next one asks anew."""
    harness = await opened()
    sim.faults.add("status", path=META, times=1, status=500, body='{"error":"no"}')

    failed = await asyncio.gather(*(harness.get(META) for _ in range(3)))
    then = await harness.get(META)

    assert [reply.status for reply in failed] == [500] * 3
    assert (then.status, then.headers["X-Bridge-Source"]) == (200, "gateway")


async def test_what_the_keeper_was_told_callers_are_told(opened: Opened, sim: Simulator) -> None:
    """It asked for the accounts when the session opened; for five seconds nobody may ask again."""
    harness = await opened(POLITE)

    reply = await harness.get("/portfolio/accounts")

    assert (reply.status, reply.headers["X-Bridge-Source"]) == (200, "cache")


async def test_the_first_list_of_orders_is_not_taken_for_the_whole(opened: Opened, sim: Simulator) -> None:
    """IBKR's first answer in a session is empty and says so; it is asked again, and that is what callers get."""
    harness = await opened()
    await harness.post(ORDER.target, ORDER.body)

    first, second = await harness.get(LIST), await harness.get(LIST)

    assert (first.json["snapshot"], len(first.json["orders"])) == (True, 1)
    assert sources([first, second]) == {"gateway": 1, "cache": 1}
    assert len(sim.gateway_calls(LIST)) == 2


async def test_orders_are_filtered_here(opened: Opened, sim: Simulator) -> None:
    """IBKR is asked for all of them, once for every filter; CamelCase, which it chokes on, is understood."""
    harness = await opened()
    await harness.post(ORDER.target, ORDER.body)

    state = (await harness.get(LIST)).json["orders"][0]["status"]
    same = await harness.get(f"{LIST}?filters={state}")
    none = await harness.get(f"{LIST}?filters=inactive")
    bad = await harness.get(f"{LIST}?filters=nonsense")

    assert (len(same.json["orders"]), none.json["orders"], none.json["snapshot"]) == (1, [], True)
    assert (bad.status, bad.json["code"]) == (400, "bad_request")
    assert {seen.target for seen in sim.gateway_calls(LIST)} == {f"/v1/api{LIST}"}


async def test_all_positions_are_one_answer(opened: Opened, sim: Simulator) -> None:
    """Every page, each as IBKR wrote it, until one is empty."""
    harness = await opened()
    pages = [(await harness.get(f"/portfolio/DU1234567/positions/{page}")).json for page in range(4)]

    told = await harness.get("/portfolio/DU1234567/positions")

    assert len([page for page in pages if page]) > 1
    assert told.json == [position for page in pages for position in page]


async def test_what_has_to_be_asked_twice_is_asked_twice_in_a_session(opened: Opened, sim: Simulator) -> None:
    """Once in each: the next session begins anew."""
    harness = await opened()
    algos = "/iserver/contract/265598/algos"
    for _ in range(2):
        await harness.get(algos, headers={"X-Bridge-Max-Age": "0"})
    before = len(sim.gateway_calls(algos))
    sim.lose_brokerage()
    await harness.wait_until(SessionState.OPENING)
    await harness.wait_until(SessionState.READY)

    await harness.get(algos, headers={"X-Bridge-Max-Age": "0"})

    assert (before, len(sim.gateway_calls(algos))) == (3, 5)


async def test_what_would_have_to_wait_too_long_is_told_how_long(opened: Opened, sim: Simulator) -> None:
    """Five seconds between two looks at the trades, and this caller does not wait."""
    harness = await opened(POLITE)
    await harness.get(TRADES)

    refused = await harness.get(TRADES, headers={"X-Bridge-Max-Age": "0", "X-Bridge-Wait": "1"})

    assert (refused.status, refused.json["code"], refused.headers["Retry-After"]) == (429, "rate_limited", "5")
    assert len(sim.gateway_calls(TRADES)) == 1


async def test_a_second_429_is_the_box_and_cancels_are_still_tried(opened: Opened, sim: Simulator) -> None:
    """Counted down where a person looks, and kept for the next start."""
    harness = await opened()
    sim.faults.add("429", path=META, times=1)
    sim.faults.add("429", path=SUMMARY, times=1)

    first, second = await harness.get(META), await harness.get(SUMMARY)
    order = await harness.post(ORDER.target, ORDER.body)
    cancel = await harness.request("DELETE", "/iserver/account/DU1234567/order/1")
    told, ready = (await harness.get("/gateway/status")).json, await harness.get("/readyz", key=None)
    await harness.finish()
    again = await (await opened()).get(META)

    codes = [reply.json["code"] for reply in (first, second, order, again)]
    assert codes == ["rate_limited", "penalty_box", "penalty_box", "penalty_box"]
    assert cancel.status == 200
    assert sim.gateway_calls(ORDER.target) == []
    assert (890 <= told["penalty"]["box_s"] <= 900, ready.status) == (True, 503)
    assert await harness.wait_for_events(PenaltyBoxEntered)


async def test_places_that_are_all_ghosts_are_a_gateway_that_is_stuck(opened: Opened, sim: Simulator) -> None:
    """The look itself still works; orders are refused before they are sent, and the hint says what to restart."""
    harness = await opened(UNLIMITED)
    for target in (META, SUMMARY, "/portfolio/accounts", ORDER.target):
        sim.faults.add("silence", path=target)

    await asyncio.gather(*(harness.get(path) for path in (META, SUMMARY, "/portfolio/accounts")))
    await harness.post(ORDER.target, ORDER.body)
    await harness.wait_until(SessionState.SILENT)
    refused = await harness.post(ORDER.target, Placed(quantity=2).body)
    status = (await harness.get("/gateway/auth-status", key=None)).json

    assert (refused.status, refused.json["code"]) == (503, "session_unavailable")
    assert (status["reason"], "restart the Gateway" in status["hint"]) == ("gateway_stuck", True)
    assert len(sim.gateway_calls(ORDER.target)) == 1


async def test_greedy_callers_see_answers_and_ibkr_sees_no_greed(tmp_path: Path) -> None:
    """A crowd at full speed on six reads, and orders between them; the limits are counted at the far side."""
    async with Simulator(pacing=True) as sim, Harness(settings_for(sim.url, tmp_path), options=POLITE) as harness:
        await harness.wait_until(SessionState.READY)
        paths = (META, SUMMARY, LIST, "/portfolio/accounts", TRADES, "/portfolio/DU1234567/ledger")

        async def crowd() -> list[Reply]:
            return [await harness.get(path) for _ in range(5) for path in paths]

        everybody = [asyncio.create_task(crowd()) for _ in range(10)]
        orders = [await harness.post(ORDER.target, ORDER.body) for _ in range(3)]
        replies = [reply for each in await asyncio.gather(*everybody) for reply in each]

    assert {reply.status for reply in replies} == {200}
    assert {reply.status for reply in orders} == {200}
    assert sources(replies)["gateway"] <= len(replies) / 10
    assert busiest([seen.at for seen in sim.calls()], 1.0) <= 10
    for path in (LIST, "/portfolio/accounts", TRADES):
        assert busiest([seen.at for seen in sim.calls(path)], 5.0) <= 1


async def test_an_order_that_is_on_its_way_makes_answers_stale_twice(opened: Opened, sim: Simulator) -> None:
    """What was asked before it landed, and what was asked while it was out."""
    harness = await opened()
    await harness.get(SUMMARY)
    sim.faults.add("delay", path=ORDER.target, times=1, seconds=0.5)
    order = asyncio.create_task(harness.post(ORDER.target, ORDER.body))
    await sim.wait_for_calls(ORDER.target)

    during = [(await harness.get(SUMMARY)).headers["X-Bridge-Source"] for _ in range(2)]
    await order
    after = (await harness.get(SUMMARY)).headers["X-Bridge-Source"]

    assert (during, after) == (["gateway", "cache"], "gateway")


async def test_an_order_that_lands_late_makes_answers_stale_then(opened: Opened, sim: Simulator) -> None:
    """Its caller was told that nobody knows, and looks."""
    harness = await opened()
    sim.faults.add("delay", path=ORDER.target, times=1, seconds=1.5)
    unknown = await harness.post(ORDER.target, ORDER.body)
    before = await harness.get(SUMMARY)
    upstream = harness.bridge.profile.upstream
    assert isinstance(upstream, GatewayClient)
    await within(asyncio.gather(*upstream._ghosts))

    after = await harness.get(SUMMARY)

    assert unknown.json["code"] == "order_unknown"
    assert sources([before, after]) == {"gateway": 2}


async def test_who_was_overtaken_does_not_tell_the_older_answer(opened: Opened, sim: Simulator) -> None:
    """It lands later, and was asked earlier."""
    harness = await opened()
    sim.faults.add("delay", path=META, times=1, seconds=0.5)
    slow = asyncio.create_task(harness.get(META))
    await sim.wait_for_calls(META)
    await harness.get(META, headers={"X-Bridge-Max-Age": "0"})
    newer = harness.bridge.profile.cached_reads.cache._entries
    asked = [entry.sent_at for entry in newer.values() if "meta" in entry.endpoint.path]

    await slow

    assert [entry.sent_at for entry in newer.values() if "meta" in entry.endpoint.path] == asked != []


async def test_answers_that_come_packed_are_read_all_the_same(opened: Opened, sim: Simulator) -> None:
    """Orders are filtered, all pages come, and nobody gets what they did not ask for."""
    harness = await opened()
    await harness.post(ORDER.target, ORDER.body)
    for path in (LIST, "/portfolio/DU1234567/positions"):
        sim.faults.add("gzip", path=path)

    none = await harness.get(f"{LIST}?filters=inactive")
    told = await harness.get("/portfolio/DU1234567/positions")

    assert (none.json["orders"], len(told.json)) == ([], 233)
    assert "Content-Encoding" not in told.headers


async def test_all_pages_are_as_old_as_the_oldest_of_them(opened: Opened, sim: Simulator) -> None:
    """And from memory where one of them is."""
    harness = await opened()
    await harness.get("/portfolio/DU1234567/positions/0")

    told = await harness.get("/portfolio/DU1234567/positions")

    assert (told.headers["X-Bridge-Source"], told.headers["Age"]) == ("cache", "0")


async def test_bodies_of_another_kind_are_other_questions(opened: Opened, sim: Simulator) -> None:
    """IBKR reads them by their type."""
    harness = await opened()
    body = b'{"symbol":"AAPL"}'

    for kind in ("application/json", "text/plain", "application/json"):
        await harness.request("POST", "/iserver/secdef/search", body=body, headers={"Content-Type": kind})

    assert len(sim.gateway_calls("/iserver/secdef/search")) == 2


async def test_bodies_are_not_kept_with_their_answers(opened: Opened, sim: Simulator) -> None:
    """They may be a megabyte each."""
    harness = await opened()

    await harness.post("/iserver/secdef/search", {"symbol": "AAPL", "more": "x" * 500_000})

    keys = harness.bridge.profile.cached_reads.cache._entries
    assert keys
    assert max(len(repr(key)) for key in keys) < 1000


async def test_limits_of_a_quarter_of_an_hour_outlive_a_restart(opened: Opened, sim: Simulator) -> None:
    """IBKR does not forget with us."""
    ask = ("/pa/performance", {"acctIds": ["DU1234567"], "period": "1D"})
    prefixes = {"IBKR_BRIDGE_EXTRA_PREFIXES": "pa"}
    first = await opened(POLITE, **prefixes)
    told = await first.post(*ask)
    await first.finish()

    refused = await (await opened(POLITE, **prefixes)).post(*ask)

    assert (told.status, refused.status, refused.json["code"]) == (200, 429, "rate_limited")
    assert 880 <= int(refused.headers["Retry-After"]) <= 901
    assert len(sim.gateway_calls("/pa/performance")) == 1


async def test_the_keepers_429_closes_its_row_for_callers_too(opened: Opened, sim: Simulator) -> None:
    """IBKR does not mind who asked."""
    sim.faults.add("429", path="/portfolio/accounts", times=1)
    harness = await opened()

    reply = await harness.get("/portfolio/accounts")

    assert (reply.status, reply.json["code"]) == (429, "rate_limited")
    assert len(sim.gateway_calls("/portfolio/accounts")) == 1


async def test_what_the_keeper_asks_is_not_asked_twice_at_once(opened: Opened, sim: Simulator) -> None:
    """Where its connection breaks; IBKR may have counted the first one."""
    sim.faults.add("cut-before", path="/portfolio/accounts", times=1)
    await opened()

    assert len(sim.gateway_calls("/portfolio/accounts")) == 1


async def test_another_session_that_nobody_saw_coming_is_noticed(opened: Opened, sim: Simulator) -> None:
    """IBKR wants its accounts asked for again: then everything else is another one's too."""
    harness = await opened()
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


async def test_a_call_that_broke_off_is_not_sent_again_beyond_its_limit(opened: Opened, sim: Simulator) -> None:
    """IBKR may have counted the first one."""
    harness = await opened(POLITE)
    sim.faults.add("cut-before", path=TRADES, times=1)

    reply = await harness.get(TRADES)

    assert (reply.status, reply.json["code"]) == (502, "gateway_protocol_error")
    assert len(sim.gateway_calls(TRADES)) == 1
