"""The programs of the bench start and answer, and its tables show what was measured. No test measures time."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench import programs, wrk
from bench.__main__ import measure_start_s
from bench.greedy import GreedyResult, WindowCount, add_upstream_counts
from bench.processes import fetch_status, rss_mib
from bench.programs import (
    API,
    BRIDGE,
    CONSTANT,
    KEY_HEADERS,
    MEASURED_PATH,
    NGINX,
    PASSTHROUGH,
    UPSTREAM,
    Workspace,
)
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
COMMANDS = {**programs.COMMANDS_FOR_SIMULATED_GATEWAY, **programs.COMMANDS_FOR_FAST_UPSTREAM}
COMPARED = [
    BRIDGE,
    PASSTHROUGH,
    CONSTANT,
    pytest.param(NGINX, marks=pytest.mark.skipif(not programs.find_nginx(), reason="no nginx")),
]
needs_wrk = pytest.mark.skipif(shutil.which("wrk") is None, reason="no wrk")


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """A scratch directory with an empty `.env`."""
    (tmp_path / ".env").touch(mode=0o600)
    return Workspace(tmp_path, Path(sys.executable))


@pytest.fixture
def upstream(workspace: Workspace) -> Iterator[str]:
    """The address of the upstream that answers from memory."""
    with programs.run_fast_upstream(workspace) as address:
        yield address


def port_of(url: str) -> int:
    """The port in an address."""
    return int(url.split("/")[2].rpartition(":")[2])


@pytest.mark.parametrize("name", COMPARED)
def test_every_program_checks_the_key_and_sends_the_call_on(name: str, workspace: Workspace, upstream: str) -> None:
    """The programs that are compared do the same work."""
    with programs.run_program(name, COMMANDS[name], workspace, upstream) as program:
        port = port_of(program.url)

        assert fetch_status(port, MEASURED_PATH, KEY_HEADERS) == 200
        assert fetch_status(port, MEASURED_PATH, {"X-Bridge-Key": "wrong"}) == 401
        assert rss_mib(program.pid) > 1


def test_the_fast_upstream_answers_what_the_keeper_sends(upstream: str) -> None:
    """Without these responses no bridge would become ready. Other targets get a 404."""
    port = port_of(upstream)

    assert fetch_status(port, f"{API}/iserver/auth/status", {}) == 200
    assert fetch_status(port, f"{API}/tickle", {}) == 200
    assert fetch_status(port, f"{API}/else", {}) == 404


@needs_wrk
def test_a_load_is_counted(upstream: str) -> None:
    """The figures come from wrk's own report."""
    load = wrk.run_load(upstream + API + MEASURED_PATH, {}, clients=2, seconds=1)

    assert load.requests > 0


@needs_wrk
def test_a_load_of_refusals_is_no_measurement(upstream: str) -> None:
    """A program refuses faster than it answers."""
    with pytest.raises(wrk.InvalidMeasurement, match="Non-2xx"):
        wrk.run_load(f"{upstream}/else", {}, clients=1, seconds=1)


@needs_wrk
def test_a_mixed_load_counts_good_and_refused_responses(upstream: str) -> None:
    """Each client requests one of the URLs."""
    urls = [upstream + API + MEASURED_PATH, f"{upstream}/else"]

    good, refused = wrk.run_mixed_load(urls, {}, clients=3, seconds=1)

    assert (good.good > 0, good.refused, refused.good, refused.refused > 0) == (True, 0, 0, True)


def test_the_far_side_records_what_reaches_ibkr(workspace: Workspace) -> None:
    """The calls by path, and how many were refused."""
    record_file = workspace.scratch / "record.json"
    command = programs.COMMANDS_FOR_SIMULATED_GATEWAY[BRIDGE]
    with (
        programs.run_far_side(workspace, record_file) as address,
        programs.run_program(BRIDGE, command, workspace, address),
    ):
        pass
    record, result = json.loads(record_file.read_text()), GreedyResult(1.0)

    add_upstream_counts(record, result)

    assert len(record["calls"]["/iserver/accounts"]) >= 1
    assert (result.refused_by_ibkr, result.in_penalty_box, result.exceeded) == (0, False, 0)
    assert result.upstream == sum(map(len, record["calls"].values())) > 3
    assert {window.limit for window in result.windows} >= {"everything", "/portfolio/accounts"}


def test_a_start_is_measured_until_the_first_response(workspace: Workspace, upstream: str) -> None:
    """The program is stopped afterwards."""
    assert measure_start_s(workspace, upstream) > 0


def test_the_report_of_wrk_is_parsed_with_its_units() -> None:
    """wrk writes us, ms or s; the figures are milliseconds."""
    assert wrk.parse_report(REPORT) == Load(p50_ms=6.9, p99_ms=1020.0, per_second=2744.75, requests=5497)


@pytest.mark.parametrize("failure", ["Non-2xx or 3xx responses: 12", "Socket errors: connect 0, read 3"])
def test_a_load_with_failed_requests_is_no_measurement(failure: str) -> None:
    """One failed request is enough."""
    with pytest.raises(wrk.InvalidMeasurement, match=failure.split(":", maxsplit=1)[0]):
        wrk.parse_report(f"{REPORT}  {failure}\n")


def test_a_report_without_figures_is_no_measurement() -> None:
    """wrk may end without printing figures."""
    with pytest.raises(wrk.InvalidMeasurement, match="no figures"):
        wrk.parse_report("unable to connect")


def make_rounds(*per_second: float) -> Rounds:
    """Rounds of a program that serves so many requests a second."""
    loads = [Load(1000 / rate, 20.0, rate, 1000) for rate in per_second]
    return Rounds(loads, loads)


def test_ratios_are_taken_round_by_round() -> None:
    """Other work of the machine slows both programs of a round."""
    comparison = {PASSTHROUGH: make_rounds(1000, 100, 4000), BRIDGE: make_rounds(700, 70, 1000)}

    assert throughput_ratio(comparison, BRIDGE, PASSTHROUGH) == 0.7


def test_the_tables_show_which_targets_are_met_or_were_not_measured() -> None:
    """A target is not met if its yardstick is missing."""
    fast = {PASSTHROUGH: make_rounds(1000), BRIDGE: make_rounds(600)}
    windows = [WindowCount("everything", 10, 1.0, 9), WindowCount("/iserver/account/orders", 1, 5.0, 2)]
    greedy = GreedyResult(30.0, 5000, 3, 100, 1, False, windows, [0.1] * 98 + [7.0, 9.0])
    simulated = {UPSTREAM: make_rounds(500), CONSTANT: make_rounds(1000), BRIDGE: make_rounds(600)}
    memory = [(0, 40.0), (500, 50.0), (1000, 51.5)]
    results = Results([("machine", "a slow one")], fast, simulated, greedy, [0.5, 0.9, 0.6], memory)

    text = render(results)

    assert "| machine | a slow one |" in text
    assert "| p50 at one client, × the bare pass-through | ≤ 1.5 | 1.67 | **no** |" in text
    assert "| requests/s at 20 clients, × the bare pass-through | ≥ 0.62 | 0.60 | **no** |" in text
    assert "| requests/s at 20 clients, × FastAPI + httpx | ≥ 5 | – | not measured |" in text
    assert "| from exec to the first /health, s | ≤ 0.7 | 0.60 | yes |" in text
    assert "| growth of memory over the second half of the requests, MiB | ≤ 2 | 1.50 | yes |" in text
    assert "| cached: p50 at one client, × a request to the simulated Gateway over TLS | ≤ 1 | 0.83 | yes |" in text
    assert "| cached: requests/s at 20 clients (for comparison," in text
    assert "see the table below) | ≥ 5000 |" in text
    assert "| greedy: calls that IBKR refused, plus penalty boxes | ≤ 0 | 1.00 | **no** |" in text
    assert "| greedy: windows with more calls than IBKR allows | ≤ 0 | 1.00 | **no** |" in text
    assert "| greedy: p99 of an order's wait for admission, ms | ≤ 250 | 7.00 | yes |" in text
    assert "| greedy: good responses for each call upstream | ≥ 50 | 50.00 | yes |" in text
    assert "| `/iserver/account/orders` | 1 | 5 | 2 |" in text
    assert "| the bridge | 1.667 ms | 1.67 | 600 | 0.60 | 20.0 ms |" in text


@pytest.mark.parametrize(
    ("measured", "is_minimum", "met"), [(1.5, False, True), (1.6, False, False), (1.5, True, True)]
)
def test_a_figure_equal_to_its_limit_meets_the_target(measured: float, is_minimum: bool, met: bool) -> None:
    """The limit may be a maximum or a minimum."""
    assert Target("", 1.5, measured, is_minimum).is_met is met
