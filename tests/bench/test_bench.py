"""The bench's parts start and answer, and its tables say what was measured. Nothing here looks at a clock."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench import programs, wrk
from bench.__main__ import seconds_to_health
from bench.greedy import Greedy, Window, read_book
from bench.processes import rss_mib, status
from bench.programs import API, ASKED, BRIDGE, CONSTANT, NGINX, PASSTHROUGH, UPSTREAM, WITH_KEY, Place
from bench.report import Results, Rounds, Target, render, throughput_ratio
from bench.wrk import Load

REPORT = """\
Running 2s test @ http://127.0.0.1:8000/portfolio/accounts
  1 threads and 20 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     7.33ms    2.01ms  32.48ms   92.11%
    Req/Sec     2.76k   211.41     2.95k    85.00%
  Latency Distribution
     50%    6.90ms
     75%    7.36ms
     90%    8.20ms
     99%    1.02s
  5497 requests in 2.00s, 2.95MB read
Requests/sec:   2744.75
Transfer/sec:      1.47MB
"""
COMMANDS = {**programs.AT_SIMULATED_GATEWAY, **programs.AT_FAST_UPSTREAM}
FRONTS = [
    BRIDGE,
    PASSTHROUGH,
    CONSTANT,
    pytest.param(NGINX, marks=pytest.mark.skipif(not programs.nginx(), reason="no nginx")),
]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A scratch directory with an empty `.env`."""
    (tmp_path / ".env").touch(mode=0o600)
    return Place(tmp_path, Path(sys.executable))


@pytest.fixture
def upstream(place: Place) -> Iterator[str]:
    """The canned upstream."""
    with programs.fast_upstream(place) as address:
        yield address


def port_of(url: str) -> int:
    """The port in an address."""
    return int(url.split("/")[2].rpartition(":")[2])


@pytest.mark.parametrize("name", FRONTS)
def test_every_front_asks_for_a_key_and_passes_on(name: str, place: Place, upstream: str) -> None:
    """What is compared does the same work."""
    with programs.started(name, COMMANDS[name], place, upstream) as front:
        port = port_of(front.url)

        assert status(port, ASKED, WITH_KEY) == 200
        assert status(port, ASKED, {"X-Bridge-Key": "wrong"}) == 401
        assert rss_mib(front.pid) > 1


def test_the_canned_upstream_knows_what_the_keeper_asks(upstream: str) -> None:
    """Else no bridge in front of it were ready; and it makes up nothing."""
    port = port_of(upstream)

    assert status(port, f"{API}/iserver/auth/status", {}) == 200
    assert status(port, f"{API}/tickle", {}) == 200
    assert status(port, f"{API}/else", {}) == 404


@pytest.mark.skipif(shutil.which("wrk") is None, reason="no wrk")
def test_a_load_is_counted(upstream: str) -> None:
    """wrk's own report, read."""
    found = wrk.load(upstream + API + ASKED, {}, clients=2, seconds=1)

    assert found.requests > 0


@pytest.mark.skipif(shutil.which("wrk") is None, reason="no wrk")
def test_a_load_of_refusals_is_no_measurement(upstream: str) -> None:
    """Refusals are fast."""
    with pytest.raises(wrk.Spoiled, match="Non-2xx"):
        wrk.load(f"{upstream}/else", {}, clients=1, seconds=1)


def test_a_crowd_is_counted_refusals_too(upstream: str) -> None:
    """Good answers and refused ones, each client with one of the things that are asked for."""
    if shutil.which("wrk") is None:
        pytest.skip("no wrk")

    good, refused = wrk.crowd([upstream + API + ASKED, f"{upstream}/else"], {}, clients=3, seconds=1)

    assert (good.good > 0, good.refused, refused.good, refused.refused > 0) == (True, 0, 0, True)


def test_the_far_side_keeps_a_book(place: Place) -> None:
    """Of what reached IBKR, by path, and of what it refused."""
    book = place.scratch / "book.json"
    with (
        programs.far_side(place, book) as address,
        programs.started(BRIDGE, programs.AT_SIMULATED_GATEWAY[BRIDGE], place, address),
    ):
        pass
    told, found = json.loads(book.read_text()), Greedy(1.0)

    read_book(told, found)

    assert len(told["calls"]["/iserver/accounts"]) >= 1
    assert (found.refused_by_ibkr, found.boxed, found.exceeded) == (0, False, 0)
    assert found.upstream == sum(map(len, told["calls"].values())) > 3
    assert {window.what for window in found.windows} >= {"everything", "/portfolio/accounts"}


def test_a_start_is_timed_to_the_first_answer(place: Place, upstream: str) -> None:
    """And ended afterwards."""
    assert seconds_to_health(place, upstream) > 0


def test_the_report_of_wrk_is_read_in_its_units() -> None:
    """Milliseconds, whatever it writes."""
    assert wrk.read(REPORT) == Load(p50_ms=6.9, p99_ms=1020.0, per_second=2744.75, requests=5497)


@pytest.mark.parametrize("trouble", ["Non-2xx or 3xx responses: 12", "Socket errors: connect 0, read 3"])
def test_a_spoiled_load_is_not_taken_for_a_measurement(trouble: str) -> None:
    """One bad answer is enough."""
    with pytest.raises(wrk.Spoiled, match=trouble.split(":", maxsplit=1)[0]):
        wrk.read(f"{REPORT}  {trouble}\n")


def test_a_report_without_figures_is_not_taken_for_a_measurement() -> None:
    """wrk can end without a word."""
    with pytest.raises(wrk.Spoiled, match="no figures"):
        wrk.read("unable to connect")


def rounds(*per_second: float) -> Rounds:
    """Rounds of a program that serves so many requests a second."""
    loads = [Load(1000 / each, 20.0, each, 1000) for each in per_second]
    return Rounds(loads, loads)


def test_ratios_are_taken_round_by_round() -> None:
    """A slow minute of the machine slows both sides."""
    race = {PASSTHROUGH: rounds(1000, 100, 4000), BRIDGE: rounds(700, 70, 1000)}

    assert throughput_ratio(race, BRIDGE, PASSTHROUGH) == 0.7


def test_the_tables_say_what_was_met_what_not_and_what_is_missing() -> None:
    """A yardstick that was not there is no success."""
    race = {PASSTHROUGH: rounds(1000), BRIDGE: rounds(600)}
    windows = [Window("everything", 10, 1.0, 9), Window("/iserver/account/orders", 1, 5.0, 2)]
    greed = Greedy(30.0, 5000, 3, 100, 1, False, windows, [0.1] * 98 + [7.0, 9.0])
    simulated = {UPSTREAM: rounds(500), CONSTANT: rounds(1000), BRIDGE: rounds(600)}
    sizes = [(0, 40.0), (500, 50.0), (1000, 51.5)]
    results = Results([("machine", "a slow one")], race, simulated, greed, [0.5, 0.9, 0.6], sizes)

    text = render(results)

    assert "| machine | a slow one |" in text
    assert "| p50 at one client, × the bare pass-through | ≤ 1.5 | 1.67 | **no** |" in text
    assert "| requests/s at 20 clients, × the bare pass-through | ≥ 0.62 | 0.60 | **no** |" in text
    assert "| requests/s at 20 clients, × FastAPI + httpx | ≥ 5 | – | not measured |" in text
    assert "| from exec to the first /health, s | ≤ 0.7 | 0.60 | yes |" in text
    assert "| growth of memory over the second half of its requests, MiB | ≤ 2 | 1.50 | yes |" in text
    assert "| cached: p50 at one client, × asking the simulated Gateway over TLS | ≤ 1 | 0.83 | yes |" in text
    assert (
        "| cached: requests/s at 20 clients; aiohttp answering a constant stands in the table below | ≥ 5000 |" in text
    )
    assert "| greedy: calls IBKR refused, or boxed | ≤ 0 | 1.00 | **no** |" in text
    assert "| greedy: windows that held more than IBKR allows | ≤ 0 | 1.00 | **no** |" in text
    assert "| greedy: p99 of what orders waited for their turn, ms | ≤ 250 | 7.00 | yes |" in text
    assert "| greedy: good answers for each call upstream | ≥ 50 | 50.00 | yes |" in text
    assert "| `/iserver/account/orders` | 1 | 5 | 2 |" in text
    assert "| the bridge | 1.667 ms | 1.67 | 600 | 0.60 | 20.0 ms |" in text


@pytest.mark.parametrize(("measured", "at_least", "met"), [(1.5, False, True), (1.6, False, False), (1.5, True, True)])
def test_a_limit_itself_is_still_met(measured: float, at_least: bool, met: bool) -> None:
    """On either side."""
    assert Target("", 1.5, measured, at_least).is_met is met
