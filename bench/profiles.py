"""What many profiles cost: fifty users by OAuth at rest, then twenty of them with fifty callers each at random.

The bridge runs in a process of its own, and the simulated api.ibkr.com in this one, so that its time is not counted.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from bench.about import describe_machine
from bench.operator_page import watch
from bench.processes import free_port, rss_mib, run_process
from bench.report import Target, table, target_row
from ibkr_bridge.sim.api_host import ApiHost
from ibkr_bridge.sim.api_host.keys import make_keys
from ibkr_bridge.vault.key_file import new_key_line

KEY = "bench-key-not-secret-0123456789abcdef"
PROFILES, BUSY_PROFILES, CALLERS = 50, 20, 50
READY_TIMEOUT_S = 120.0
REQUESTS = ("/portfolio/accounts", "/portfolio/{account}/ledger", "/portfolio/{account}/summary", "/session")
PAUSE_S = 5.0  # a caller waits up to so long between two requests
CONNECTIONS = 400  # of all callers at a time; the bridge serves 496


@dataclass
class Bench:
    """The folder and the addresses of one run."""

    folder: Path
    host: ApiHost
    port: int = field(default_factory=free_port)
    keys: dict[str, str] = field(default_factory=dict)
    """Of each profile."""

    @property
    def env(self) -> dict[str, str]:
        """The settings of the bridge."""
        return {
            "IBKR_BRIDGE_KEY": KEY,
            "IBKR_BRIDGE_URL": f"http://127.0.0.1:{self.port}",
            "IBKR_BRIDGE_STATE_DIR": str(self.folder / "state"),
            "IBKR_BRIDGE_VAULT_KEYS": str(self.folder / "vault-keys"),
            "IBKR_GATEWAY_URL": "http://127.0.0.1:9",
            "IBKR_BRIDGE_MAINTENANCE": "none",
            "IBKR_BRIDGE_ACCESS_LOG": "none",
        }

    @property
    def command(self) -> list[str]:
        """The bridge."""
        return [sys.executable, str(Path(__file__).resolve().parents[1] / "bridge.py")]

    async def control(self, method: str, path: str, body: Any = None) -> Any:
        """A request over the control socket; None while nobody answers there."""
        connector = aiohttp.UnixConnector(str(self.folder / "state" / "control.sock"))
        try:
            async with (
                aiohttp.ClientSession(connector=connector) as client,
                client.request(method, f"http://localhost{path}", json=body) as response,
            ):
                return json.loads(await response.read())
        except aiohttp.ClientError:
            return None

    async def wait_until_ready(self, count: int) -> float:
        """Seconds until the bridge answers and so many profiles are ready."""
        began = time.monotonic()
        while time.monotonic() - began < READY_TIMEOUT_S:
            listed = await self.control("GET", "/profiles")
            if listed is not None and sum(each["ready"] for each in listed["profiles"]) >= count:
                return time.monotonic() - began
            await asyncio.sleep(0.1)
        raise TimeoutError("the profiles are not ready in time")

    async def make(self, number: int) -> None:
        """Make one profile; all users share the keys, since making them takes longest."""
        name, account = f"user{number}", account_of(number)
        user = self.host.register(name, consumer_of(number), keys=SHARED_KEYS, accounts=(account,))
        settings = {"road": "oauth", "api_url": self.host.url, "maintenance": "none"}
        made = await self.control("POST", "/profiles", {"name": name, "settings": settings})
        self.keys[name] = made["key"]
        members = {
            "consumer_key": user.consumer_key,
            "access_token": user.access_token,
            "access_token_secret": user.access_token_secret,
            "signature_key": user.signature_key_pem,
            "encryption_key": user.encryption_key_pem,
            "dh_parameters": user.dhparam_pem,
        }
        await self.control("POST", f"/profiles/{name}/credential", members)


SHARED_KEYS = make_keys()


def account_of(number: int) -> str:
    """The account of a user; no account is a part of another."""
    return f"DU{7000000 + number}"


def consumer_of(number: int) -> str:
    """Nine letters."""
    return f"CONSUM{chr(65 + number // 26)}{chr(65 + number % 26)}Z"


async def measure(folder: Path, seconds: float) -> tuple[list[Target], int]:
    """All figures, and how many responses the callers got."""
    (folder / "state").mkdir(mode=0o700)
    keys = folder / "vault-keys"
    keys.write_text(new_key_line())
    keys.chmod(0o400)
    async with ApiHost() as host:
        bench = Bench(folder, host)
        with run_process(bench.command, bench.env, folder / "log-first") as program:
            await bench.wait_until_ready(0)
            await bench.make(0)
            await bench.wait_until_ready(1)
            alone_mib = rss_mib(
                program.pid
            )  # with what the first profile without a Gateway loads, such as cryptography
            for number in range(1, PROFILES):
                await bench.make(number)
            await bench.wait_until_ready(PROFILES)
        with run_process(bench.command, bench.env, folder / "log-second") as program:
            start_s = await bench.wait_until_ready(PROFILES)
            await asyncio.sleep(10.0)  # until what the start has begun has ended
            calls = len(host.calls())
            idle = await asyncio.to_thread(watch, program.pid, seconds)
            rate = (len(host.calls()) - calls) / seconds
            mib = rss_mib(program.pid)
            outcome = await call_at_random(bench, seconds)
    targets = [
        Target(f"start with {PROFILES} profiles until all are ready, s", 30.0, start_s),
        Target("memory of each profile, MiB", 1.0, (mib - alone_mib) / (PROFILES - 1)),
        Target("at rest: processor time, % of a core", 1.0, idle[0]),
        Target("at rest: requests a second to IBKR", 5.0, rate),
        Target("responses with bytes of another user", 0.0, float(outcome["foreign"])),
        Target("responses with 429", 0.0, float(outcome["429"])),
        Target("responses with another error", 0.0, float(outcome["other"])),
    ]
    return targets, outcome["all"]


async def call_at_random(bench: Bench, seconds: float) -> Counter[str]:
    """Let the callers of some profiles read at random, and count what they get."""
    outcome: Counter[str] = Counter()
    connector = aiohttp.TCPConnector(limit=CONNECTIONS)
    async with aiohttp.ClientSession(f"http://127.0.0.1:{bench.port}", connector=connector) as client:
        numbers = [number for number in range(BUSY_PROFILES) for _ in range(CALLERS)]
        await asyncio.gather(*(_call(client, bench, number, seconds, outcome) for number in numbers))
    return outcome


async def _call(
    client: aiohttp.ClientSession, bench: Bench, number: int, seconds: float, outcome: Counter[str]
) -> None:
    own, ends_at = account_of(number), time.monotonic() + seconds
    foreign = [account_of(other) for other in range(PROFILES) if other != number]
    headers = {"X-Bridge-Key": bench.keys[f"user{number}"]}
    while time.monotonic() < ends_at:
        await asyncio.sleep(random.uniform(0, PAUSE_S))  # noqa: S311  # a pause, not a secret
        path = random.choice(REQUESTS).format(account=own)  # noqa: S311
        async with client.get(path, headers=headers) as response:
            text = await response.text()
        outcome["all"] += 1
        outcome["foreign"] += any(each in text for each in foreign)
        outcome["429"] += response.status == 429
        outcome["other"] += response.status not in (200, 429)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print and save. Returns 0, also if a target is not met."""
    parser = argparse.ArgumentParser(prog="make bench-profiles", description="Measure what many profiles cost.")
    parser.add_argument("--seconds", type=float, default=30.0, help="how long each part is watched (default: 30)")
    parser.add_argument("--results", type=Path, default=Path(__file__).with_name("profiles.md"))
    args = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="ibkr-bridge-bench-") as scratch:
        (Path(scratch) / ".env").touch(mode=0o600)
        targets, count = asyncio.run(measure(Path(scratch), args.seconds))
    text = "\n\n".join(
        (
            "# What many profiles cost",
            f"Written by `make bench-profiles`: {PROFILES} users by OAuth in front of a simulated api.ibkr.com; then "
            f"{BUSY_PROFILES} of them with {CALLERS} callers each, which read at random ({count} responses).",
            table(("", ""), describe_machine()),
            table(("target", "limit", "measured", "met"), map(target_row, targets)),
        )
    )
    print(text)
    args.results.write_text(text + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
