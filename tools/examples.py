"""Record the examples of the OpenAPI document from a running bridge: `python -m tools.examples`.

The bridge stands in front of the simulated Gateway, and both start at the same fixed time. What still changes from one
recording to the next, such as ids and the seconds of times, is replaced. `tests/tools/test_examples.py` sends the same
requests again and compares the form of the answers.
"""

from __future__ import annotations

import asyncio
import json
import re
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import aiohttp

from ibkr_bridge.api.openapi.examples import EXAMPLES_FILE, body_of
from ibkr_bridge.clock import SystemClock
from ibkr_bridge.ibkr.endpoint import Layer
from ibkr_bridge.server.app_keys import ADMINISTRATION
from ibkr_bridge.server.named_keys import KeyScope, add_key, load_named_keys, save_named_keys
from ibkr_bridge.session.state_machine import SessionState
from ibkr_bridge.sim.api_host import ApiHost, usual_keys
from ibkr_bridge.sim.clock import FastClock
from ibkr_bridge.sim.simulator import Simulator
from ibkr_bridge.vault.key_file import new_key_line
from tests.clocks import NOON
from tests.harness import KEY, Harness, settings_for

STREAM_EVENTS = 1  # that the example of a stream has: some topics send a second one only when something happens
READY_TIMEOUT_S = 20.0
MAX_ITEMS = 3  # of each list
MASKS = (
    (re.compile(r"(T\d\d:\d\d):\d\d(\.\d+)?"), r"\1:00"),
    (re.compile(r"eyJ[\w-]+\.eyJ[\w-]+\.[\w-]+"), "eyJhbGciOiJIUzI1NiJ9.eyJzY29wZSI6InJlYWQifQ.c2lnbmF0dXJl"),
    (re.compile(r"https?://(127\.0\.0\.1|localhost):\d+"), "https://localhost:5000"),
    (re.compile(r"\b178[01]\d{9}\b"), "1781712000000"),  # milliseconds in June 2026
    (re.compile(r"\b19ed[0-9a-f]{7}-"), "19ed64f9402-"),  # events are numbered from the start of their stream
    (re.compile(r"ibkrb_[\w-]{43}"), "ibkrb_the-key-of-the-profile-shown-here-only-once"),
    (re.compile(r"\bin \d+\.\d s\b"), "in 3.0 s"),
    (re.compile(r"https://localhost:5000/authorize"), "https://interactivebrokers.com/authorize"),
    (re.compile(r"oauth_token=[0-9a-f]{20}"), "oauth_token=25ebcc75204da80b73f4"),
)
"""What changes from one recording to the next, and what the examples have instead."""
IDS = re.compile(r"\b(?:[0-9a-f]{32}|19ed[0-9a-f]{16})\b")  # of requests and of orders


@dataclass(frozen=True)
class Sample:
    """The request of an example."""

    operation_id: str
    target: str
    method: str = "GET"
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    manages: bool = False
    """Whether it needs the key that manages profiles."""
    is_example: bool = True
    """Whether its answer is recorded; otherwise it only prepares the next ones."""


ACCOUNT = "DU1234567"
COMPANY = "YOURCOMPANY"
OAUTH = {"road": "oauth", "api_url": "http://127.0.0.1:9"}
NEW_KEYS = {
    "signature_key": "-----BEGIN PRIVATE KEY-----\n…\n-----END PRIVATE KEY-----\n",
    "encryption_key": "-----BEGIN PRIVATE KEY-----\n…\n-----END PRIVATE KEY-----\n",
    "dh_parameters": "-----BEGIN DH PARAMETERS-----\n…\n-----END DH PARAMETERS-----\n",
}
RETURNED = {"oauth_token": "25ebcc75204da80b73f4", "oauth_verifier": "61c107d4cf34ac6d9f2b"}
UNREACHABLE = {"gateway_url": "https://127.0.0.1:9", "mode": "paper", "user": "user-17"}
MARKET = {"side": "buy", "type": "market", "symbol": "AAPL", "quantity": "10"}
LIMIT = {**MARKET, "type": "limit", "limit_price": "150.00", "client_order_id": "web-2f1c"}
SAMPLES: tuple[Sample, ...] = (  # in this order; `{id}` is the id of the order that was placed last
    Sample("getHealth", "/health"),
    Sample("getLiveness", "/livez"),
    Sample("getReadiness", "/readyz"),
    Sample("getAuthStatus", "/gateway/auth-status?verbose=1"),
    Sample("getSession", "/session"),
    Sample("reconnect", "/gateway/reconnect", "POST"),
    Sample("issueToken", "/auth/token", "POST", {"scope": "read", "expires_in": 300}),
    Sample("listAccounts", "/accounts"),
    Sample("getAccount", f"/accounts/{ACCOUNT}"),
    Sample("getBalance", f"/account/balance?account={ACCOUNT}"),
    Sample("listAccountPositions", f"/accounts/{ACCOUNT}/positions"),
    Sample("listPositions", "/positions"),
    Sample("searchInstruments", "/instruments?symbol=AAPL"),
    Sample("getInstrument", "/instruments/265598"),
    Sample("listQuotes", "/quotes?symbols=AAPL,MSFT"),
    Sample("getHistory", "/history?symbol=AAPL&period=1d&bar=1h"),
    Sample("previewOrder", f"/accounts/{ACCOUNT}/orders/preview", "POST", MARKET),
    Sample("tradeFirst", f"/accounts/{ACCOUNT}/orders", "POST", MARKET, is_example=False),
    Sample("listTrades", f"/accounts/{ACCOUNT}/trades?days=1"),
    Sample("placeOrder", f"/accounts/{ACCOUNT}/orders", "POST", LIMIT),
    Sample("answerQuestion", "/orders/{id}/answer", "POST", {"confirm": True}),
    Sample("changeOrder", "/orders/{id}", "PATCH", {"limit_price": "151.00"}, {"X-Bridge-Confirm": "o163"}),
    Sample("listOrders", "/orders"),
    Sample("getOrder", "/orders/{id}"),
    Sample("streamEvents", "/events?topics=session,quotes&symbols=AAPL"),
    Sample("streamQuotes", "/stream/quotes?conids=265598&fields=31,84,86"),
    Sample("streamOrders", "/stream/orders"),
    Sample("streamTrades", "/stream/trades"),
    Sample("streamPnl", "/stream/pnl"),
    Sample("streamSession", "/stream/session"),
    Sample("cancelOrder", "/orders/{id}", "DELETE"),
    Sample("pauseTrading", "/gateway/pause", "POST"),
    Sample("resumeTrading", "/gateway/resume", "POST"),
    Sample("getStatus", "/gateway/status"),
    Sample("getBridgeHistory", "/gateway/history?days=1"),
    Sample("getBridgeHistoryChanges", "/gateway/history/changes?after=0&limit=1"),
    Sample("createProfile", "/profiles", "POST", {"name": "ben", "settings": UNREACHABLE}, manages=True),
    Sample("addProfileKey", "/profiles/ben/keys", "POST", {"scope": "read"}, manages=True),
    Sample("listProfiles", "/profiles", manages=True),
    Sample("createSecond", "/profiles", "POST", {"name": "carl", "settings": OAUTH}, manages=True, is_example=False),
    Sample("importCredential", "/profiles/carl/credential", "POST", NEW_KEYS, manages=True),
    Sample("checkCredential", "/profiles/carl/check", "POST", manages=True),
    Sample("getProfileStatus", "/profiles/anna/status", manages=True),
    Sample("getProfileHistory", "/profiles/anna/history?days=1", manages=True),
    Sample("saveConsumer", "/consumer", "PUT", {"consumer_key": COMPANY, **NEW_KEYS}, manages=True),
    Sample("beginConnection", "/profiles/dora/connection", "POST", {"kind": "oauth1a-third-party"}, manages=True),
    Sample("getConnection", "/profiles/dora/connection", manages=True),
    Sample("verifyConnection", "/profiles/dora/connection/verifier", "POST", RETURNED, manages=True),
    Sample("endConnection", "/profiles/dora/connection", "DELETE", manages=True),
    Sample("forgetConsumer", "/consumer", "DELETE", manages=True),
    Sample("pauseProfile", "/profiles/anna/pause", "POST", manages=True),
    Sample("resumeProfile", "/profiles/anna/resume", "POST", manages=True),
    Sample("logOutProfile", "/profiles/anna/logout", "POST", manages=True),
    Sample("forgetProfile", "/profiles/ben", "DELETE", manages=True),
    Sample("logOut", "/gateway/logout", "POST"),
)


class ShiftedClock(SystemClock):
    """The time of this machine, moved so that it starts at a given time."""

    def __init__(self, start: datetime) -> None:
        self._start, self._started_at = start, self.now()

    def utc(self) -> datetime:
        """See `Clock.utc`."""
        return self._start + timedelta(seconds=self.now() - self._started_at)


@asynccontextmanager
async def open_bridge(state: Path) -> AsyncIterator[Harness]:
    """A bridge with a ready session in front of the simulated Gateway, both at noon of a Wednesday."""
    async with (
        Simulator(clock=FastClock(start=NOON)) as simulator,
        Simulator(clock=FastClock(start=NOON), accounts=("DU1111111",)) as of_anna,
        ApiHost(clock=FastClock(start=NOON)) as host,
        Harness(settings_for(simulator.url, state, **_vault_keys(state)), ShiftedClock(NOON)) as harness,
    ):
        await harness.wait_until(SessionState.READY)
        anna = {"gateway_url": of_anna.url, "maintenance": "none"}
        profile = await harness.application[ADMINISTRATION].create("anna", anna)
        await profile.keeper.wait_until_up(Layer.BROKERAGE, READY_TIMEOUT_S)
        host.register_company(COMPANY, "http://127.0.0.1:9/callback")
        host.add_user("dora")
        await harness.application[ADMINISTRATION].create("dora", {"road": "oauth", "api_url": host.url})
        yield harness


def _vault_keys(state: Path) -> dict[str, str]:
    """The setting of a file with a new key for the vault."""
    file = state.parent / "vault-keys"
    file.write_text(new_key_line())
    file.chmod(0o400)
    return {"IBKR_BRIDGE_VAULT_KEYS": str(file)}


async def record(harness: Harness) -> AsyncIterator[tuple[Sample, Any]]:
    """Send all requests in their order, and return the answer of each: JSON or text, as it came.

    Raises:
        ValueError: a request failed.
    """
    order_id, page, managing = "", "", make_managing_key(harness)
    for sample in SAMPLES:
        target = sample.target.replace("{id}", order_id)
        if target.startswith(("/stream/", "/events")):
            yield sample, await _read_stream(harness, target)
            continue
        reply = await harness.request(
            sample.method,
            target,
            body=await _actual_body(sample, page),
            headers=dict(sample.headers),
            key=managing if sample.manages else KEY,
        )
        if reply.status >= 300:
            raise ValueError(f"{sample.operation_id}: {reply.status} {reply.body.decode()}")
        if sample.operation_id == "placeOrder":
            order_id = reply.json["id"]
        if sample.operation_id == "beginConnection":
            page = reply.json["page"]
        if sample.is_example:
            is_json = reply.headers["Content-Type"].startswith("application/json")
            yield sample, reply.json if is_json else reply.body.decode()


async def _actual_body(sample: Sample, page: str) -> Any:
    """The body that is sent: an example shows neither private keys nor what changes from one recording to the next.

    Args:
        page: of IBKR, on which the user agrees.
    """
    if sample.operation_id == "saveConsumer":
        keys = usual_keys()
        private = {"signature_key": keys.signature_key_pem, "encryption_key": keys.encryption_key_pem}
        return {"consumer_key": COMPANY, **private, "dh_parameters": keys.dhparam_pem}
    return await _agree(page) if sample.operation_id == "verifyConnection" else sample.body


async def _agree(page: str) -> dict[str, str]:
    """What the app's callback receives when a user agrees on the page of the simulated IBKR."""
    address, _, query = page.partition("?")
    form = {**dict(parse_qsl(query)), "username": "dora", "answer": "yes"}
    async with aiohttp.ClientSession() as browser, browser.post(address, data=form, allow_redirects=False) as reply:
        return dict(parse_qsl(urlsplit(reply.headers["Location"]).query))


def make_managing_key(harness: Harness) -> str:
    """A key that manages profiles, which the running bridge accepts from now on."""
    state = harness.bridge.settings.state_dir or Path()
    keys, key = add_key(load_named_keys(state), "admin", KeyScope.MANAGE, NOON)
    save_named_keys(state, keys)
    harness.bridge.keys.replace_named(keys)
    return key


async def _read_stream(harness: Harness, target: str) -> str:
    """The beginning of a stream: its first line, and its first events."""
    text = ""
    url = f"{harness.bridge.url}{target}"
    async with aiohttp.ClientSession() as client, client.get(url, headers={"X-Bridge-Key": KEY}) as response:
        async with asyncio.timeout(10):
            async for line in response.content:
                text += line.decode()
                if text.count("\n\n") > STREAM_EVENTS:
                    break
    return text


def mask(answers: Mapping[str, Any]) -> dict[str, Any]:
    """Answers without what changes from one recording to the next. The same id stays the same in all of them."""
    text = json.dumps(answers)
    for pattern, replacement in MASKS:
        text = pattern.sub(replacement, text)
    for number, found in enumerate(dict.fromkeys(IDS.findall(text)), start=1):
        text = text.replace(found, f"{number:0{len(found)}x}")
    masked: dict[str, Any] = json.loads(text)
    return masked


def shorten(answer: Any) -> Any:
    """An answer with the first items of each list."""
    if isinstance(answer, dict):
        return {name: shorten(value) for name, value in answer.items()}
    return [shorten(item) for item in answer[:MAX_ITEMS]] if isinstance(answer, list) else answer


async def _record_all() -> dict[str, Any]:
    bodies = {body_of(sample.operation_id): sample.body for sample in SAMPLES if sample.is_example and sample.body}
    with tempfile.TemporaryDirectory() as folder:
        async with open_bridge(Path(folder) / "state") as harness:
            answers = {sample.operation_id: shorten(answer) async for sample, answer in record(harness)}
    return mask({**answers, **bodies})


if __name__ == "__main__":
    examples = asyncio.run(_record_all())
    EXAMPLES_FILE.write_text(json.dumps(examples, indent=1, ensure_ascii=False) + "\n", "utf-8")
