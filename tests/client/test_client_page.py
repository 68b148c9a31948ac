"""docs/client.md: its examples print what a program gets."""

from __future__ import annotations

import asyncio
import doctest
import os
import re
from pathlib import Path
from typing import Any

import pytest

from ibkr_bridge import client
from ibkr_bridge.client import ClientError
from ibkr_bridge.client.responses import FAMILY_BY_CODE
from ibkr_bridge.session.state_machine import SessionState
from ibkr_bridge.sim.simulator import Simulator
from tests.harness import KEY, Harness

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "client.md"


@pytest.fixture
def two_lines(harness: Harness, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A working directory whose `.env` has address and key only."""
    for name in [name for name in os.environ if name.startswith("IBKR_")]:
        monkeypatch.delenv(name)
    (tmp_path / ".env").write_text(f"IBKR_BRIDGE_URL={harness.bridge.url}\nIBKR_BRIDGE_KEY={KEY}\n")
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("two_lines")
async def test_every_example_prints_what_the_page_prints(harness: Harness, sim: Simulator) -> None:
    """Run from top to bottom."""
    loop = asyncio.get_running_loop()

    async def signed_out() -> None:
        sim.log_out()
        await harness.wait_until_checked(SessionState.SIGNED_OUT)

    def sign_out() -> None:
        asyncio.run_coroutine_threadsafe(signed_out(), loop).result(timeout=10)

    example = doctest.DocTestParser().get_doctest(PAGE.read_text(), {"sign_out": sign_out}, PAGE.name, str(PAGE), 0)
    output: list[str] = []
    results = await asyncio.to_thread(doctest.DocTestRunner(optionflags=0).run, example, out=output.append)

    assert results.failed == 0, "".join(output)
    assert results.attempted > 15


@pytest.mark.usefixtures("two_lines")
async def test_the_example_of_the_readme_works() -> None:
    """Run unchanged."""
    (lines,) = re.findall(r"^```python\n(.*?)^```", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    names: dict[str, Any] = {}

    await asyncio.to_thread(exec, lines, names)

    assert names["accounts"][0].id == "DU1234567"
    assert [quote.symbol for quote in names["quotes"]] == ["AAPL", "ES"]


def test_the_page_has_every_class_and_code() -> None:
    """A reader finds there each error that can be raised."""
    page = PAGE.read_text()
    kinds = {name for name in client.__all__ if issubclass(getattr(client, name), ClientError)}
    codes = {*FAMILY_BY_CODE, *(kind.code for kind in vars(client).values() if hasattr(kind, "is_harmless"))} - {
        "client_error"
    }

    assert [name for name in sorted(kinds) if f"`{name}`" not in page] == []
    assert [code for code in sorted(codes) if f"`{code}`" not in page] == []
