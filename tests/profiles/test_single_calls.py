"""A client for single calls: for the address of the profile, and closed afterwards."""

from __future__ import annotations

from pathlib import Path

from ibkr_bridge.profiles.single_calls import open_api
from tests.harness import settings_for


async def test_it_is_for_the_api_of_the_profile(tmp_path: Path) -> None:
    """The base is what is signed: a usual port is not in it."""
    bases = []
    for address in ("https://api.ibkr.com:443", "http://127.0.0.1:5100"):
        async with open_api(settings_for("http://127.0.0.1:9", tmp_path, IBKR_BRIDGE_API_URL=address)) as (_, base):
            bases.append(base)

    assert bases == ["https://api.ibkr.com", "http://127.0.0.1:5100"]
