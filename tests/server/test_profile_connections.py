"""The connections of profiles, with a clock that a test moves; `tests/stories/test_connecting.py` has the routes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import aiohttp
import pytest

from ibkr_bridge.clock import SystemClock
from ibkr_bridge.errors import BadRequest, ProfileNotFound, RateLimited, RequestTokenUnknown
from ibkr_bridge.events import Bus
from ibkr_bridge.oauth.credential import ThirdPartyCredential
from ibkr_bridge.profiles.company import Company
from ibkr_bridge.profiles.connection_steps import Step
from ibkr_bridge.profiles.credentials import Credentials
from ibkr_bridge.profiles.factory import build_profile
from ibkr_bridge.profiles.options import ProfileOptions
from ibkr_bridge.profiles.registry import ProfileRegistry
from ibkr_bridge.profiles.request_tokens import LIFE_S, MIN_GAP_S
from ibkr_bridge.profiles.sealed_store import SealedStore
from ibkr_bridge.redaction import Redactor
from ibkr_bridge.server.profile_connections import ProfileConnections
from ibkr_bridge.sim.api_host import ApiHost
from ibkr_bridge.vault.key_file import new_key_line
from tests.clocks import ManualClock
from tests.harness import settings_for, with_timeout
from tests.oauth.test_new_keys import install_openssl


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def host(clock: ManualClock) -> AsyncIterator[ApiHost]:
    """A host with a company and a user, in the time of the test."""
    async with ApiHost(clock=clock) as running:
        running.add_user("ben")
        yield running


@pytest.fixture
async def registry(host: ApiHost, clock: ManualClock, tmp_path: Path) -> ProfileRegistry:
    """One profile; nothing of it runs."""
    keys = tmp_path / "keys"
    keys.write_text(new_key_line())
    keys.chmod(0o400)
    env = {"IBKR_BRIDGE_ROAD": "oauth", "IBKR_BRIDGE_API_URL": host.url, "IBKR_BRIDGE_VAULT_KEYS": str(keys)}
    (tmp_path / "state").mkdir(mode=0o700)
    settings = settings_for("http://127.0.0.1:9", tmp_path / "state", **env)
    return ProfileRegistry((build_profile("main", settings, clock, Bus(), Redactor(), ProfileOptions()),))


@pytest.fixture
async def connections(registry: ProfileRegistry, host: ApiHost, clock: ManualClock) -> ProfileConnections:
    """With the keys of a company."""
    redactor, store = Redactor(), SealedStore(registry.default.settings)
    made = ProfileConnections(registry, Credentials(store, redactor), Company(store, redactor), clock, redactor)
    keys = host.register_company("SHOPSKEYX", "http://app.example/callback")
    members = {
        "consumer_key": "SHOPSKEYX",
        "signature_key": keys.signature_key_pem,
        "encryption_key": keys.encryption_key_pem,
        "dh_parameters": keys.dhparam_pem,
        "realm": "",
    }
    await made.save_consumer(members)
    return made


async def agreed(page: str | None) -> tuple[str, str]:
    """The request token and the verifier of a user who agreed on IBKR's page."""
    address, _, query = str(page).partition("?")
    form = {"oauth_token": parse_qs(query)["oauth_token"][0], "username": "ben", "answer": "yes"}
    async with (
        aiohttp.ClientSession() as browser,
        browser.post(address, data=form, allow_redirects=False) as response,
    ):
        back = parse_qs(urlsplit(response.headers["Location"]).query)
    return back["oauth_token"][0], back["oauth_verifier"][0]


async def test_a_request_token_is_good_for_ten_minutes(connections: ProfileConnections, clock: ManualClock) -> None:
    """Afterwards the connection is where it was, and IBKR is not asked."""
    begun = await with_timeout(connections.begin_third_party("main"))
    token, verifier = await agreed(begun.page)
    clock.advance(LIFE_S)

    with pytest.raises(RequestTokenUnknown):
        await connections.verify("main", token, verifier)
    assert (await connections.state("main")).step is Step.NOT_BEGUN


async def test_a_verifier_gives_a_credential(connections: ProfileConnections, clock: ManualClock) -> None:
    """Nobody has signed in yet."""
    begun = await with_timeout(connections.begin_third_party("main"))
    clock.advance(60.0)
    done = await with_timeout(connections.verify("main", *await agreed(begun.page)))

    assert (begun.step, done.step, done.kind) == (Step.AUTHORIZE, Step.SIGNING_IN, "oauth1a-third-party")


async def test_a_user_who_clicks_again_waits(connections: ProfileConnections, clock: ManualClock) -> None:
    """Each request is a call to IBKR, which counts them by address."""
    await with_timeout(connections.begin_third_party("main"))
    with pytest.raises(RateLimited) as caught:
        await connections.begin_third_party("main")
    clock.advance(MIN_GAP_S)
    again = await with_timeout(connections.begin_third_party("main"))

    assert (caught.value.retry_after, again.step) == (MIN_GAP_S, Step.AUTHORIZE)


async def test_a_removed_profile_gets_no_credential(
    connections: ProfileConnections, registry: ProfileRegistry, host: ApiHost, clock: ManualClock, tmp_path: Path
) -> None:
    """It was removed while IBKR answered."""
    async with AsyncExitStack() as stack:
        main = registry.default
        other = build_profile("ben", replace(main.settings, profile="ben"), clock, Bus(), Redactor(), ProfileOptions())
        stack.push_async_callback(other.close)
        registry.add(other)
        begun = await with_timeout(connections.begin_third_party("ben"))
        token, verifier = await agreed(begun.page)
        host.faults.add("delay", path="access_token", seconds=60, times=1)
        verifying = asyncio.create_task(connections.verify("ben", token, verifier))
        await with_timeout(host.wait_for_calls("access_token"))
        registry.remove("ben")
        connections.forget(other)
        await with_timeout(clock.wait_for_sleepers(1))
        clock.advance(60.0)
        with pytest.raises(ProfileNotFound):
            await with_timeout(verifying)
    assert [each.name for each in (tmp_path / "state" / "credentials").iterdir()] == ["_consumer.json"]


async def test_keys_that_are_made_meanwhile_never_replace_a_credential(
    connections: ProfileConnections, registry: ProfileRegistry, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Somebody who clicked on both ways has connected by the company's while openssl was at work."""
    install_openssl(monkeypatch, tmp_path, "exec sleep 600")
    begun = await with_timeout(connections.begin_self_service("main", None))
    job = connections._key_making.find("main")
    page = (await with_timeout(connections.begin_third_party("main"))).page
    done = await with_timeout(connections.verify("main", *await agreed(page)))
    assert job is not None
    assert job.task is not None
    await with_timeout(asyncio.gather(job.task, return_exceptions=True))
    await connections._store_keys(registry.default, {"signature_key": "new"})  # a job that was nearly done

    assert (begun.step, done.kind) == (Step.MAKING_KEYS, "oauth1a-third-party")
    assert job.task.cancelled()
    assert (await connections.state("main")).kind == "oauth1a-third-party"
    assert isinstance(await connections._credentials.load(registry.default.settings), ThirdPartyCredential)


async def test_a_locked_vault_is_shown_and_begins_nothing(
    connections: ProfileConnections, registry: ProfileRegistry, tmp_path: Path
) -> None:
    """The user reads that it is not his fault."""
    locked = ProfileConnections(
        registry,
        Credentials(SealedStore(settings_for("http://127.0.0.1:9", tmp_path / "state")), Redactor()),
        Company(SealedStore(settings_for("http://127.0.0.1:9", tmp_path / "state")), Redactor()),
        SystemClock(),
        Redactor(),
    )
    shown = await locked.state("main")
    with pytest.raises(BadRequest, match="vault key"):
        await locked.begin_third_party("main")

    assert (shown.step, shown.kinds) == (Step.REFUSED, ())
    assert "vault is locked" in shown.advice.todo
