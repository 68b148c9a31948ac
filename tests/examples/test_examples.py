"""The examples, run as their page says, against the demo."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ibkr_bridge.models.quotes import Quote
from tests.client.scripted_server import response, scripted_server
from tests.harness import KEY
from tests.stories.test_readme import demo

pytestmark = pytest.mark.slow  # each starts a demo and programs of its own

__all__ = ["demo"]
ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def run_program(env: dict[str, str], *command: str, program: str = sys.executable) -> subprocess.CompletedProcess[str]:
    """Run an example from the checkout, to its end."""
    return subprocess.run(
        [program, *command],
        cwd=ROOT,
        env={"PYTHONPATH": ".", **env},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_the_page_lists_every_example() -> None:
    """A reader finds each file with the command that runs it."""
    page = (EXAMPLES / "README.md").read_text()
    listed = re.findall(r"^\| `[^`]*?(examples/[a-z_/]+\.\w+)", page, re.MULTILINE)

    assert sorted(listed) == sorted(
        str(path.relative_to(ROOT))
        for path in EXAMPLES.rglob("*.*")
        if path.suffix in (".py", ".sh") and "nextjs" not in path.parts
    )
    assert "`make example`" in page  # the app in Next.js; its folder has a page of its own


def test_the_tour_in_curl_ends_well(demo: dict[str, str]) -> None:
    """Each step prints its answer; the last one is an error that it waits for."""
    completed = run_program(demo, "examples/curl.sh", program="bash")

    assert completed.returncode == 0, completed.stdout + completed.stderr
    assert completed.stdout.count("\n== ") == 13
    assert '"state":"question"' in completed.stdout
    assert '"status":"cancelling"' in completed.stdout
    assert completed.stdout.endswith("== Done.\n")
    assert completed.stderr == ""


@pytest.mark.parametrize("wrong", [{"IBKR_BRIDGE_KEY": "wrong" * 8}, {"IBKR_BRIDGE_URL": "http://127.0.0.1:1"}])
def test_the_tour_fails_loudly(demo: dict[str, str], wrong: dict[str, str]) -> None:
    """With the first step that fails, and a status that is not zero."""
    completed = run_program({**demo, **wrong}, "examples/curl.sh", program="bash")

    assert completed.returncode != 0
    assert "curl: " in completed.stderr
    assert completed.stdout.count("\n== ") == 1


def test_the_tour_needs_address_and_key() -> None:
    """And says so."""
    completed = run_program({"PATH": os.environ["PATH"]}, "examples/curl.sh", program="bash")

    assert completed.returncode != 0
    assert "IBKR_BRIDGE_URL: set it to the address of the bridge" in completed.stderr


def test_the_portfolio_is_printed(demo: dict[str, str]) -> None:
    """Both accounts, each position with its profit."""
    completed = run_program(demo, "examples/python/portfolio.py")

    assert completed.returncode == 0, completed.stderr
    assert re.search(r"^DU1234567  paper  USD  as of [0-9:]+ UTC$", completed.stdout, re.MULTILINE)
    assert re.search(r"^  AAPL +stock +100 +[0-9.]+ +[0-9,.]+ +-?[0-9,.]+ USD$", completed.stdout, re.MULTILINE)
    assert "DU7654321" in completed.stdout


def test_a_portfolio_without_a_bridge_is_a_sentence(demo: dict[str, str]) -> None:
    """No traceback."""
    completed = run_program({**demo, "IBKR_BRIDGE_URL": "http://127.0.0.1:1"}, "examples/python/portfolio.py")

    assert completed.returncode == 1
    assert completed.stderr.startswith("The trading connection does not answer.")


def test_quotes_are_streamed(demo: dict[str, str]) -> None:
    """With their symbols."""
    completed = run_program(demo, "examples/python/stream_quotes.py", "AAPL", "MSFT", "--count", "6")

    assert completed.returncode == 0, completed.stderr
    lines = completed.stdout.splitlines()
    assert {line.split()[1] for line in lines} == {"AAPL", "MSFT"}
    assert all(re.fullmatch(r"[0-9:]{8}  \w+ +last [0-9.]+  bid [0-9.]+  ask [0-9.]+", line) for line in lines[2:])


def test_a_symbol_without_an_instrument_ends_the_stream(demo: dict[str, str]) -> None:
    """A new attempt would not help."""
    completed = run_program(demo, "examples/python/stream_quotes.py", "NOSUCH")

    assert completed.returncode == 1
    assert completed.stderr.startswith("Interactive Brokers does not know this instrument.")


def test_a_stream_that_ends_is_opened_again() -> None:
    """Also if the bridge cannot serve one for a moment."""
    quote: dict[str, object] = dict.fromkeys(Quote.__struct_fields__)
    quote |= {"as_of": "2026-06-17T16:00:00Z", "stale": True, "conid": 1, "symbol": "AAPL", "kind": "delayed"}
    stream = response("200 OK", f"retry: 3000\n\nevent: quotes\ndata: {json.dumps(quote)}\n\n".encode())
    refusal = response("503 No", b'{"retryable": true, "user_message": "Wait.", "detail": "it restarts"}')
    with scripted_server(stream, refusal, stream) as server:
        env = {"IBKR_BRIDGE_URL": server.url, "IBKR_BRIDGE_KEY": KEY}
        completed = run_program(env, "examples/python/stream_quotes.py", "AAPL", "--count", "2")

    line = "16:00:00  AAPL     last None  bid None  ask None  delayed"
    again = "disconnected: connecting again in 3 seconds"
    assert completed.stdout.splitlines() == [line, again, "not now: Wait.", again, line]


@pytest.mark.slow
def test_a_lost_source_is_shown(demo: dict[str, str]) -> None:
    """Old quotes are called stale until there are new ones."""
    stream = subprocess.Popen(
        [sys.executable, "examples/python/stream_quotes.py", "AAPL"],
        cwd=ROOT,
        env={"PYTHONPATH": ".", **demo},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert stream.stdout is not None
    seen = [stream.stdout.readline()]
    run_program(demo, "bridge.py", "trigger", "stream-cut")
    while not seen[-1].startswith("stale: "):
        seen.append(stream.stdout.readline())
    run_program(demo, "bridge.py", "trigger", "clear")
    while not seen[-1].startswith("fresh: "):
        seen.append(stream.stdout.readline())
    while "AAPL" not in seen[-1]:
        seen.append(stream.stdout.readline())
    stream.send_signal(signal.SIGINT)
    stream.stdout.close()

    assert stream.wait(20) == 130


@pytest.mark.slow
def test_a_price_history_is_drawn(demo: dict[str, str], tmp_path: Path) -> None:
    """With matplotlib in a folder of its own: neither the bridge nor its tests need it."""
    packages, picture = tmp_path / "packages", tmp_path / "aapl.png"
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(packages), "matplotlib"]
    if subprocess.run(install, check=False, capture_output=True, timeout=600).returncode:
        pytest.skip("matplotlib cannot be installed here")

    env = {**demo, "PYTHONPATH": f".:{packages}", "MPLCONFIGDIR": str(tmp_path)}
    completed = run_program(env, "examples/python/price_history.py", "AAPL", str(picture), "--period", "1m")

    assert completed.returncode == 0, completed.stderr
    assert completed.stdout == f"{picture}: 30 bars\n"
    assert picture.read_bytes().startswith(PNG_SIGNATURE)
