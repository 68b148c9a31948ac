"""An app connects its users to IBKR: by keys that a user uploads, and by IBKR's page for a company."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import aiohttp
import pytest

from ibkr_bridge.server.named_keys import KeyScope, add_key
from ibkr_bridge.session.state_machine import SessionState
from ibkr_bridge.sim import Simulator
from ibkr_bridge.sim.api_host import ApiHost, usual_keys
from ibkr_bridge.vault.key_file import new_key_line
from tests.clocks import NOON
from tests.harness import Harness, Placement, Reply, settings_for, with_timeout

CALLBACK = "http://app.example/callback"
COMPANY = "SHOPSKEYX"
BEN = "DU2222222"
SELF_SERVICE = {"kind": "oauth1a", "dh_parameters": usual_keys().dhparam_pem}
THIRD_PARTY = {"kind": "oauth1a-third-party"}


@dataclass
class Setup:
    """A bridge with the key of an app and one that manages, in front of a simulated api.ibkr.com."""

    harness: Harness
    host: ApiHost
    app: str
    admin: str
    state: Path

    async def manage(self, method: str, path: str, body: Any = None) -> Reply:
        """A request of the app's server with the key that manages."""
        return await self.harness.request(method, path, key=self.admin, body=body)

    async def add_user(self, name: str) -> None:
        """A user of the app signs up."""
        settings = {"road": "oauth", "api_url": self.host.url, "maintenance": "none"}
        made = await self.manage(
            "POST", "/profiles", {"name": name, "settings": settings, "key": None, "app_key": "app"}
        )
        assert (made.status, made.json.get("key")) == (200, None), made.json

    async def step(self, name: str) -> str:
        """How far a user is."""
        return str((await self.manage("GET", f"/profiles/{name}/connection")).json["step"])

    async def begin(self, name: str, body: Any) -> Reply:
        """Begin a connection."""
        return await self.manage("POST", f"/profiles/{name}/connection", body)

    async def wait_until(self, name: str, state: SessionState) -> None:
        """Wait until the session of a user is in a state."""
        keeper, changed = self.harness.bridge.profiles.registry.get(name).keeper, asyncio.Event()
        keeper.on_change.subscribe(lambda _: changed.set())
        while keeper.session.state is not state:
            await with_timeout(changed.wait())
            changed.clear()

    async def wait_for_keys(self, name: str) -> dict[str, Any]:
        """Wait until the keys of a user are made; returns the connection."""
        job = self.harness.bridge.connections._key_making.find(name)
        if job is not None and job.task is not None:
            await with_timeout(asyncio.shield(job.task))
        connection: dict[str, Any] = (await self.manage("GET", f"/profiles/{name}/connection")).json
        return connection

    async def verify(self, name: str, answer: dict[str, str]) -> Reply:
        """Hand over what the callback received."""
        return await self.manage("POST", f"/profiles/{name}/connection/verifier", answer)

    async def agree(self, page: str, username: str, say: str = "yes") -> dict[str, str]:
        """What a user's browser brings to the callback from IBKR's page."""
        form = {"oauth_token": parse_qs(urlsplit(page).query)["oauth_token"][0], "username": username, "answer": say}
        async with (
            aiohttp.ClientSession() as browser,
            browser.post(page.partition("?")[0], data=form, allow_redirects=False) as response,
        ):
            query = parse_qs(urlsplit(response.headers["Location"]).query)
        return {name: values[0] for name, values in query.items()}

    async def upload(self, page: str, files: dict[str, str], username: str) -> dict[str, str]:
        """What IBKR's self-service shows after the upload."""
        form = {
            "username": username,
            "consumer_key": f"{username}consumer"[:9],
            "signature": files["public_signature.pem"],
            "encryption": files["public_encryption.pem"],
            "dhparam": files["dhparam.pem"],
        }
        async with aiohttp.ClientSession() as browser, browser.post(page, data=form) as response:
            tokens: dict[str, str] = json.loads(await response.read())
        return tokens

    async def accounts(self, name: str) -> list[str]:
        """What the app sees of a user's accounts."""
        reply = await self.harness.get("/portfolio/accounts", key=self.app, headers={"X-Bridge-Profile": name})
        return [each["id"] for each in reply.json]


@pytest.fixture
async def setup(tmp_path: Path) -> AsyncIterator[Setup]:
    """A bridge whose profile `main` is signed in at a Gateway, and a vault with a key."""
    vault_keys = tmp_path / "vault-keys"
    vault_keys.write_text(new_key_line())
    vault_keys.chmod(0o400)
    async with AsyncExitStack() as stack:
        gateway = await stack.enter_async_context(Simulator())
        host = await stack.enter_async_context(ApiHost())
        env = {"IBKR_BRIDGE_VAULT_KEYS": str(vault_keys)}
        harness = await stack.enter_async_context(Harness(settings_for(gateway.url, tmp_path / "s", **env)))
        keys, admin = add_key((), "admin", KeyScope.MANAGE, NOON)
        keys, app = add_key(keys, "app", KeyScope.TRADE, NOON, ("main",), app=True)
        harness.bridge._administration()._change_keys(lambda _: keys)
        made = Setup(harness, host, app, admin, tmp_path / "s")
        await made.add_user("ben")
        yield made


@pytest.fixture
async def company(setup: Setup) -> Setup:
    """The same bridge with the keys of a company, and two users at IBKR."""
    keys = setup.host.register_company(COMPANY, CALLBACK)
    setup.host.add_user("ben", accounts=(BEN,))
    setup.host.add_user("mallory")
    body = {
        "consumer_key": COMPANY,
        "signature_key": keys.signature_key_pem,
        "encryption_key": keys.encryption_key_pem,
        "dh_parameters": keys.dhparam_pem,
    }
    assert (await setup.manage("PUT", "/consumer", body)).json == {"stored": True}
    return setup


async def test_a_user_connects_by_uploading_keys(setup: Setup) -> None:
    """From nothing to an order, with the routes alone; each step says what to do."""
    assert await setup.step("ben") == "not_begun"
    session = (await setup.harness.get("/session", key=setup.app, headers={"X-Bridge-Profile": "ben"})).json
    assert (session["message"], session["action"]["kind"]) == ("Interactive Brokers is not connected.", "none")
    begun = await setup.begin("ben", SELF_SERVICE)
    assert (begun.status, begun.json["step"], begun.json["kinds"]) == (200, "making_keys", ["oauth1a"])
    ready = await setup.wait_for_keys("ben")
    assert (ready["step"], ready["page"], ready["kind"]) == ("upload", f"{setup.host.url}/self-service", "oauth1a")
    assert sorted(ready["files"]) == ["dhparam.pem", "public_encryption.pem", "public_signature.pem"]

    tokens = await setup.upload(ready["page"], ready["files"], "ben")
    imported = await setup.manage("POST", "/profiles/ben/credential", tokens)
    assert imported.json["complete"] is True
    await setup.wait_until("ben", SessionState.READY)
    connected = (await setup.manage("GET", "/profiles/ben/connection")).json
    assert (connected["step"], connected["page"], connected["next_try"]) == ("connected", None, None)
    assert connected["files"] == ready["files"]
    account = (await setup.accounts("ben"))[0]
    order = Placement(account)
    placed = await setup.harness.post(order.target, order.body, key=setup.app, headers={"X-Bridge-Profile": "ben"})
    assert (placed.status, placed.headers["X-Bridge-Order-State"]) == (200, "placed")


async def test_keys_are_made_once(setup: Setup) -> None:
    """Other keys would make those useless that a user has uploaded."""
    await setup.begin("ben", SELF_SERVICE)
    first = await setup.wait_for_keys("ben")
    again = await setup.begin("ben", SELF_SERVICE)

    assert (again.json["step"], again.json["files"]) == ("upload", first["files"])


async def test_a_consumer_key_that_is_not_active_says_when_it_is_tried_again(setup: Setup) -> None:
    """IBKR takes new keys over at night."""
    setup.host.rules.activation_s = 3600.0
    await setup.begin("ben", SELF_SERVICE)
    ready = await setup.wait_for_keys("ben")
    await setup.manage("POST", "/profiles/ben/credential", await setup.upload(ready["page"], ready["files"], "ben"))
    await setup.wait_until("ben", SessionState.ACTIVATING)

    waiting = (await setup.manage("GET", "/profiles/ben/connection")).json
    assert (waiting["step"], waiting["page"]) == ("activating", ready["page"])
    assert "change nothing" in waiting["todo"]
    assert waiting["next_try"] > waiting["since"]


async def test_a_company_connects_its_user(company: Setup) -> None:
    """The user agrees on IBKR's page; the verifier works once."""
    begun = await company.begin("ben", THIRD_PARTY)
    assert (begun.json["step"], begun.json["kinds"]) == ("authorize", ["oauth1a", "oauth1a-third-party"])
    answer = await company.agree(begun.json["page"], "ben")
    done = await company.verify("ben", answer)
    assert done.status == 200, done.json
    await company.wait_until("ben", SessionState.READY)

    connected = (await company.manage("GET", "/profiles/ben/connection")).json
    assert (connected["step"], connected["kind"], connected["files"]) == ("connected", "oauth1a-third-party", {})
    assert await company.accounts("ben") == [BEN]
    again = await company.verify("ben", answer)
    assert (again.status, again.code) == (404, "request_token_unknown")
    assert await company.step("ben") == "connected"


async def test_a_foreign_request_token_connects_nobody(company: Setup) -> None:
    """Else somebody could give a user his own account, and see what this user does with it."""
    await company.add_user("mallory")
    page = (await company.begin("mallory", THIRD_PARTY)).json["page"]
    foreign = await company.agree(page, "mallory")
    await company.begin("ben", THIRD_PARTY)

    refused = await company.verify("ben", foreign)
    assert (refused.status, refused.code) == (404, "request_token_unknown")
    assert len(company.host.calls("access_token")) == 0
    assert await company.step("ben") == "authorize"
    assert (await company.verify("mallory", foreign)).status == 200  # nobody used it up


async def test_a_verifier_that_ibkr_refuses_uses_the_token_up(company: Setup) -> None:
    """Whoever guesses has one attempt."""
    page = (await company.begin("ben", THIRD_PARTY)).json["page"]
    answer = await company.agree(page, "ben")
    refused = await company.verify("ben", {**answer, "oauth_verifier": "0" * 20})

    assert (refused.status, refused.code) == (403, "upstream_refused")
    assert (await company.verify("ben", answer)).code == "request_token_unknown"
    assert await company.step("ben") == "not_begun"


async def test_without_a_company_nobody_is_sent_to_ibkr(setup: Setup) -> None:
    """The hint names the route."""
    refused = await setup.begin("ben", THIRD_PARTY)

    assert (refused.status, refused.code) == (400, "bad_request")
    assert "PUT /consumer" in refused.json["hint"]


async def test_a_company_that_is_forgotten_connects_nobody_more(company: Setup) -> None:
    """Users who are connected stay so: their credentials have all that they need."""
    answer = await company.agree((await company.begin("ben", THIRD_PARTY)).json["page"], "ben")
    await company.verify("ben", answer)
    await company.wait_until("ben", SessionState.READY)
    assert (await company.manage("DELETE", "/consumer")).json == {"stored": False}

    assert await company.step("ben") == "connected"
    await company.add_user("carl")
    assert (await company.begin("carl", THIRD_PARTY)).status == 400


async def test_the_keys_of_a_company_are_read_before_they_are_stored(setup: Setup) -> None:
    """A wrong file would only be noticed at IBKR."""
    keys = usual_keys()
    members = {
        "consumer_key": COMPANY,
        "signature_key": keys.signature_key_pem,
        "encryption_key": keys.encryption_public_pem,
        "dh_parameters": keys.dhparam_pem,
    }
    refused = await setup.manage("PUT", "/consumer", members)

    assert (refused.status, "the encryption key of the company" in refused.json["detail"]) == (400, True)
    assert (await setup.manage("GET", "/profiles/ben/connection")).json["kinds"] == ["oauth1a"]


async def test_a_connection_that_ends_leaves_no_credential(company: Setup) -> None:
    """The user may connect again, in either way."""
    answer = await company.agree((await company.begin("ben", THIRD_PARTY)).json["page"], "ben")
    await company.verify("ben", answer)
    await company.wait_until("ben", SessionState.READY)
    refused = await company.begin("ben", SELF_SERVICE)
    ended = await company.manage("DELETE", "/profiles/ben/connection")

    assert (refused.status, "DELETE" in refused.json["hint"]) == (400, True)
    assert (ended.status, ended.json["step"], ended.json["kind"]) == (200, "not_begun", None)
    assert len(company.host.calls("/logout")) == 1
    await company.wait_until("ben", SessionState.CREDENTIAL_REFUSED)
    assert (await company.begin("ben", SELF_SERVICE)).json["step"] == "making_keys"


async def test_a_connection_ends_after_the_order_that_is_on_its_way(company: Setup) -> None:
    """Without a session nobody could find out what became of it."""
    answer = await company.agree((await company.begin("ben", THIRD_PARTY)).json["page"], "ben")
    await company.verify("ben", answer)
    await company.wait_until("ben", SessionState.READY)
    order, market = Placement(BEN), company.host.users.markets["ben"]
    market.faults.add("delay", path=order.target, seconds=0.5, times=1)
    headers = {"X-Bridge-Profile": "ben"}
    placing = asyncio.create_task(company.harness.post(order.target, order.body, key=company.app, headers=headers))
    await with_timeout(company.host.wait_for_calls(order.target))
    refused = await company.manage("DELETE", "/profiles/ben/connection")
    placed = await with_timeout(placing)

    assert (refused.status, refused.code) == (409, "order_in_progress")
    assert (placed.status, placed.headers["X-Bridge-Order-State"]) == (200, "placed")
    assert (await company.manage("DELETE", "/profiles/ben/connection")).status == 200


async def test_a_profile_that_is_forgotten_gets_no_keys(setup: Setup) -> None:
    """A credential of nobody would stay in the vault, for the next profile of this name."""
    await setup.begin("ben", SELF_SERVICE)
    await setup.manage("DELETE", "/profiles/ben")
    await setup.add_user("ben")

    assert await setup.step("ben") == "not_begun"
    assert list((setup.state / "credentials").glob("ben*")) == []


async def test_a_gateway_needs_no_connection(setup: Setup) -> None:
    """A page of an app may ask all the same."""
    await setup.harness.wait_until(SessionState.READY)
    shown = (await setup.manage("GET", "/profiles/main/connection")).json
    refused = await setup.begin("main", SELF_SERVICE)

    assert (shown["step"], shown["kind"], shown["kinds"]) == ("connected", "gateway", [])
    assert (refused.status, "the Gateway" in refused.json["detail"]) == (400, True)


async def test_parameters_that_ibkr_would_refuse_are_refused_first(setup: Setup) -> None:
    """The answer names the member."""
    refused = await setup.begin("ben", {"kind": "oauth1a", "dh_parameters": "no file"})

    assert (refused.status, refused.json["field"]) == (400, "dh_parameters")
    assert await setup.step("ben") == "not_begun"


async def test_only_a_key_that_manages_connects(setup: Setup) -> None:
    """The key of the app trades, and cannot change whose account it trades in."""
    for method, path in (("GET", ""), ("POST", ""), ("DELETE", ""), ("POST", "/verifier")):
        refused = await setup.harness.request(method, f"/profiles/ben/connection{path}", key=setup.app)
        assert (refused.status, refused.code) == (403, "insufficient_scope")
    assert (await setup.harness.request("PUT", "/consumer", key=setup.app)).code == "insufficient_scope"


async def test_a_new_user_needs_an_existing_key(setup: Setup) -> None:
    """Nothing is made if there is none."""
    wanted = {"name": "carl", "settings": {"road": "oauth", "api_url": setup.host.url}}
    refused = await setup.manage("POST", "/profiles", {**wanted, "app_key": "nobody"})
    bound = await setup.manage("POST", "/profiles", {**wanted, "app_key": "admin"})

    assert (refused.status, bound.status) == (400, 400)
    assert [each["name"] for each in (await setup.manage("GET", "/profiles")).json["profiles"]] == ["main", "ben"]


async def test_nothing_secret_leaves_the_vault(company: Setup) -> None:
    """Neither keys nor tokens nor verifiers are in an answer, in the log, or plain on the disk."""
    await company.add_user("carl")
    await company.begin("carl", SELF_SERVICE)
    ready = await company.wait_for_keys("carl")
    tokens = await company.upload(ready["page"], ready["files"], "carl")
    await company.manage("POST", "/profiles/carl/credential", tokens)
    begun = (await company.begin("ben", THIRD_PARTY)).json
    answer = await company.agree(begun["page"], "ben")
    await company.verify("ben", answer)
    await company.wait_until("ben", SessionState.READY)

    shown = [(await company.manage("GET", f"/profiles/{name}/connection")).body.decode() for name in ("ben", "carl")]
    log = company.harness.written.getvalue()
    disk = b"".join(each.read_bytes() for each in company.state.rglob("*") if each.is_file()).decode("latin-1")
    secrets = [*answer.values(), *tokens.values(), usual_keys().signature_key_pem.split("\n")[1], COMPANY]
    for secret in secrets:
        assert secret not in log
        assert secret not in disk
        assert not any(secret in each for each in shown)
    assert "PRIVATE" not in "".join(shown) + log + disk
    hidden = [*answer.values(), *tokens.values(), COMPANY, usual_keys().signature_key_pem.strip()]
    assert all(company.harness.redactor.contains_secret(each) for each in hidden)  # if something ever logs one
