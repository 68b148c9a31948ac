"""One bridge with a Gateway profile, a profile by OAuth, and a paper profile by OAuth beside each other."""

from __future__ import annotations

import asyncio
import base64
import json
import re
import zipfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from ibkr_bridge.api.routes import ROUTES
from ibkr_bridge.cli.backup import write_backup
from ibkr_bridge.oauth.credential import to_bytes
from ibkr_bridge.server.listener import CONTROL_SOCKET
from ibkr_bridge.server.named_keys import KeyScope, add_key, load_named_keys, save_named_keys
from ibkr_bridge.session.state_machine import SessionState
from ibkr_bridge.sim import Simulator
from ibkr_bridge.sim.api_host import ApiHost, Registration
from ibkr_bridge.vault.key_file import new_key_line
from tests.clocks import NOON
from tests.harness import KEY, Harness, Placement, Reply, settings_for, with_timeout
from tests.stories.test_without_gateway import credential_of

LIVE, PAPER = "U1111111", "DU2222222"


@dataclass
class Setup:
    """A bridge in front of a Gateway and of a host with two users."""

    harness: Harness
    host: ApiHost
    users: dict[str, Registration]
    state: Path
    vault_keys: Path
    keys: dict[str, str]

    async def control(self, method: str, path: str, body: Any = None) -> Any:
        """A request over the control socket, which must succeed."""
        connector = aiohttp.UnixConnector(str(self.state / CONTROL_SOCKET))
        async with (
            aiohttp.ClientSession(connector=connector) as client,
            client.request(method, f"http://localhost{path}", json=body) as response,
        ):
            answer = json.loads(await response.read())
            assert response.status == 200, answer
            return answer

    async def make(self, name: str, account: str, **settings: Any) -> None:
        """Make a profile by OAuth, and import what its user brings."""
        self.users[name] = self.host.register(name, f"{name.upper()}CONSUM"[:9], accounts=(account,))
        members = {"road": "oauth", "api_url": self.host.url, "maintenance": "none", **settings}
        made = await self.control("POST", "/profiles", {"name": name, "settings": members})
        self.keys[name] = made["key"]
        credential = json.loads(to_bytes(credential_of(self.users[name])))
        stored = await self.control("POST", f"/profiles/{name}/credential", credential)
        assert (stored["complete"], stored["missing"]) == (True, [])
        await self.wait_until(name, SessionState.READY)

    async def wait_until(self, name: str, state: SessionState) -> None:
        """Wait until the session of a profile is in a state."""
        keeper, changed = self.harness.bridge.profiles.registry.get(name).keeper, asyncio.Event()
        keeper.on_change.subscribe(lambda _: changed.set())
        while keeper.session.state is not state:
            await with_timeout(changed.wait())
            changed.clear()

    async def accounts(self, name: str) -> list[str]:
        """The accounts that the key of a profile reaches."""
        reply = await self.harness.get("/portfolio/accounts", key=self.keys[name])
        assert reply.status == 200, reply.json
        return [each["id"] for each in reply.json]

    async def place(self, name: str, account: str) -> Reply:
        """Place an order."""
        placement = Placement(account)
        return await self.harness.post(placement.target, placement.body, key=self.keys[name])


@pytest.fixture
async def setup(tmp_path: Path) -> AsyncIterator[Setup]:
    """All three profiles, ready."""
    keys = tmp_path / "vault-keys"
    keys.write_text(new_key_line())
    keys.chmod(0o400)
    async with AsyncExitStack() as stack:
        gateway = await stack.enter_async_context(Simulator())
        host = await stack.enter_async_context(ApiHost())
        settings = settings_for(gateway.url, tmp_path / "s", IBKR_BRIDGE_VAULT_KEYS=str(keys))
        harness = await stack.enter_async_context(Harness(settings))
        made = Setup(harness, host, {}, tmp_path / "s", keys, {"main": KEY})
        await made.wait_until("main", SessionState.READY)
        await made.make("live", LIVE, mode="live")
        await made.make("paper", PAPER)
        yield made


async def test_each_key_reaches_its_own_road(setup: Setup) -> None:
    """Through the Gateway, and twice by OAuth."""
    assert await setup.accounts("live") == [LIVE]
    assert await setup.accounts("paper") == [PAPER]
    assert LIVE not in await setup.accounts("main")
    listed = (await setup.control("GET", "/profiles"))["profiles"]
    assert [(each["name"], each["road"], each["mode"], each["ready"]) for each in listed] == [
        ("main", "gateway", "paper", True),
        ("live", "oauth", "live", True),
        ("paper", "oauth", "paper", True),
    ]


async def test_an_order_of_each_goes_where_it_belongs(setup: Setup) -> None:
    """And nowhere else: each user's market has one."""
    replies = [await setup.place("live", LIVE), await setup.place("paper", PAPER)]
    wrong = await setup.place("paper", LIVE)

    assert [reply.status for reply in replies] == [200, 200]
    assert wrong.status >= 400
    for name, account in (("live", LIVE), ("paper", PAPER)):
        sent = [each for each in setup.host.calls(f"/account/{account}/orders") if each.method == "POST"]
        assert len(sent) == 1, name


async def test_a_user_whose_token_was_revoked_is_the_only_one_who_notices(setup: Setup) -> None:
    """The other road and the other user go on."""
    setup.users["paper"].revoke()
    for session in setup.host.registry.sessions[setup.users["paper"].access_token]:
        session.ends_at = session.made_at
    setup.harness.bridge.profiles.registry.get("paper").keeper.request_check()
    await setup.wait_until("paper", SessionState.CREDENTIAL_REFUSED)

    refused = await setup.harness.get("/portfolio/accounts", key=setup.keys["paper"])
    assert (refused.status, refused.code) == (503, "session_unavailable")
    assert await setup.accounts("live") == [LIVE]
    assert await setup.accounts("main")


def secrets_of(setup: Setup) -> list[str]:
    """All that must never be seen: what the users brought, what IBKR and the bridge derived from it, and the keys."""
    found = [*setup.keys.values(), setup.vault_keys.read_text().strip()]
    for user in setup.users.values():
        pems = (user.signature_key_pem, user.encryption_key_pem)
        lines = [line for pem in pems for line in pem.splitlines()[1:-1]]
        tokens = [each.key for each in setup.host.registry.sessions[user.access_token]]
        texts = [form for token in tokens for form in (token.hex(), base64.b64encode(token).decode())]
        found += [user.consumer_key, user.access_token, user.access_token_secret, *lines, *texts]
    return found


async def ask_everything(setup: Setup) -> list[str]:
    """The answers of all routes that end: with the key of a profile, with one that manages, and with none.

    What changes most comes last. Bodies that are wrong have the secrets in them: an error must not repeat one.
    """
    wrong = {**json.loads(to_bytes(credential_of(setup.users["live"]))), "access_token": "has spaces"}
    names, answers = {"{name}": "live", "{account}": LIVE}, []
    order = ("GET", "POST", "PATCH", "PUT", "DELETE")
    for route in sorted(ROUTES, key=lambda each: (order.index(each.method), each.path)):
        if route.endless or route.websocket:
            continue
        path = re.sub(r"{\w+}", lambda found: names.get(found[0], "1"), route.path)
        body = None if route.method == "GET" else wrong if route.request is not None else {}
        for key in (None, setup.keys["live"], setup.keys["admin"]):
            reply = await with_timeout(setup.harness.request(route.method, path, key=key, body=body))
            answers.append(f"{reply.headers}\n{reply.body.decode('latin-1')}")
    return answers


async def test_no_secret_is_in_any_answer_file_or_line(setup: Setup, tmp_path: Path) -> None:
    """A canary over the answers of all routes, the log, the journals, every file of the state, and a backup."""
    keys, setup.keys["admin"] = add_key(load_named_keys(setup.state), "admin", KeyScope.MANAGE, NOON)
    save_named_keys(setup.state, keys)
    setup.harness.bridge.keys.replace_named(keys)
    secrets = secrets_of(setup)
    await setup.place("live", LIVE)
    answers = await ask_everything(setup)
    write_backup(tmp_path / "backup.zip", setup.state, cookies=True, secrets=False)
    with zipfile.ZipFile(tmp_path / "backup.zip") as archive:
        answers += [archive.read(name).decode("latin-1") for name in archive.namelist()]
    files = b"".join(each.read_bytes() for each in setup.state.rglob("*") if each.is_file())
    everything = "\n".join((*answers, setup.harness.written.getvalue(), files.decode("latin-1")))

    assert len(answers) > 100
    assert [len(secret) for secret in secrets if secret in everything] == []


async def test_without_the_vault_key_main_is_served_and_the_rest_says_so(setup: Setup, tmp_path: Path) -> None:
    """The key is looked for again, and no restart is needed when it is back."""
    settings = setup.harness.bridge.settings
    await setup.harness.finish()
    aside = tmp_path / "aside"
    setup.vault_keys.rename(aside)

    async with Harness(settings) as later:
        second = Setup(later, setup.host, setup.users, setup.state, setup.vault_keys, setup.keys)
        await second.wait_until("main", SessionState.READY)
        await second.wait_until("live", SessionState.CREDENTIAL_REFUSED)
        listed = {each["name"]: each for each in (await second.control("GET", "/profiles"))["profiles"]}
        assert listed["live"]["reason"] == "vault_locked"
        assert await second.accounts("main")

        aside.rename(setup.vault_keys)
        later.bridge.profiles.registry.get("live").keeper.renew_access()
        await second.wait_until("live", SessionState.READY)
        assert await second.accounts("live") == [LIVE]
