"""A bridge without a Gateway, in front of a simulated api.ibkr.com that checks every signature."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from ibkr_bridge.config.settings import Settings
from ibkr_bridge.events import FeedUp
from ibkr_bridge.oauth.credential import Credential, OAuth1Credential
from ibkr_bridge.profiles.factory import build_profile
from ibkr_bridge.profiles.oauth_road import CHECK_INTERVAL_S
from ibkr_bridge.profiles.profile import Profile
from ibkr_bridge.session.state_machine import SessionState
from ibkr_bridge.sim.api_host import ApiHost, Registration
from tests.harness import FAST_OPTIONS, Harness, Placement, Reply, settings_for, with_timeout

ORDER = Placement()
ACCOUNTS = "/portfolio/accounts"
HANDSHAKE = "/oauth/live_session_token"
INIT = "/iserver/auth/ssodh/init"
PLACEMENT = "/DU1234567/orders$"


def credential_of(registration: Registration) -> OAuth1Credential:
    """What a user of the simulated host brings."""
    return OAuth1Credential(
        registration.consumer_key,
        registration.access_token,
        registration.access_token_secret,
        registration.signature_key_pem,
        registration.encryption_key_pem,
        registration.dhparam_pem,
        is_paper=True,
    )


@pytest.fixture
async def host() -> AsyncIterator[ApiHost]:
    """A simulated api.ibkr.com with TLS."""
    async with ApiHost(tls=True) as running:
        yield running


@pytest.fixture
def anna(host: ApiHost) -> Registration:
    """A user of it."""
    return host.register("anna")


@asynccontextmanager
async def open_bridge(
    host: ApiHost, registration: Registration, tmp_path: Path, credential: OAuth1Credential | None = None, **env: str
) -> AsyncIterator[Harness]:
    """A running bridge whose profile `main` signs in as this user; it has not signed in yet."""
    env = {"IBKR_BRIDGE_API_URL": host.url, **env}
    road = {"IBKR_BRIDGE_ROAD": "oauth", "IBKR_BRIDGE_API_CA_FILE": str(host.ca_file)}
    harness = Harness(settings_for("http://127.0.0.1:9", tmp_path, **road, **env))
    bridge = harness.bridge
    used = credential or credential_of(registration)

    async def load() -> Credential:
        return used

    def build(settings: Settings) -> Profile:
        parts = (bridge.clock, bridge.bus, bridge.redactor, FAST_OPTIONS)
        return build_profile(settings.profile, settings, *parts, load_credential=load)

    bridge._build_profile = build  # type: ignore[method-assign]  # the credential of the test
    async with harness:
        yield harness


@pytest.fixture
async def bridge(host: ApiHost, anna: Registration, tmp_path: Path) -> AsyncIterator[Harness]:
    """A bridge whose session is ready."""
    async with open_bridge(host, anna, tmp_path) as harness:
        await harness.wait_until(SessionState.READY)
        yield harness


async def place(harness: Harness) -> Reply:
    """Place an order."""
    return await with_timeout(harness.post(ORDER.target, ORDER.body))


def state_of(reply: Reply) -> str:
    """The state of the order, as the response names it."""
    return str(reply.headers["X-Bridge-Order-State"])


def placements(host: ApiHost) -> int:
    """How often an order reached the host."""
    return len([each for each in host.calls(ORDER.target) if each.method == "POST"])


def end_token(host: ApiHost, registration: Registration) -> None:
    """IBKR forgets the live session token before its time."""
    (session,) = host.registry.sessions[registration.access_token]
    session.ends_at = session.made_at


# -- signing in


async def test_the_bridge_signs_in_without_anybody(bridge: Harness, host: ApiHost, anna: Registration) -> None:
    """One handshake; the brokerage session is requested, since nobody else does."""
    reply = await bridge.get(ACCOUNTS)

    assert (reply.status, [each["accountId"] for each in reply.json]) == (200, list(anna.world.accounts))
    assert len(host.calls(HANDSHAKE)) == 1
    assert len(host.calls(INIT)) >= 1
    assert len(host.rules.forms) == 1  # today's: no older form of a signature was accepted


async def test_nothing_secret_is_in_the_log(bridge: Harness, anna: Registration, host: ApiHost) -> None:
    """Neither what the user brought nor what the handshake gave."""
    await bridge.get(ACCOUNTS)
    end_token(host, anna)
    await bridge.get("/portfolio/DU1234567/summary")

    log = bridge.written.getvalue()
    key = host.registry.sessions[anna.access_token][0].key
    for secret in (anna.access_token, anna.consumer_key, anna.access_token_secret, key.hex()):
        assert secret not in log


async def test_a_consumer_key_that_is_not_active_yet_is_waited_for(
    host: ApiHost, anna: Registration, tmp_path: Path
) -> None:
    """It is asked about once an hour; a person can ask earlier."""
    consumer = host.registry.consumers[anna.consumer_key]
    consumer.is_enabled = False
    async with open_bridge(host, anna, tmp_path) as harness:
        await harness.wait_until(SessionState.ACTIVATING)
        status = (await harness.get("/gateway/status")).json
        readiness = await harness.get("/readyz")

        assert (status["state"], status["reason"], status["login"]) == ("activating", "activating", False)
        assert "change nothing" in status["hint"]
        assert status["next"].startswith("next request for access in 59 min")
        assert [each["id"] for each in status["conditions"]] == ["activating"]
        assert (readiness.status, "activating" in readiness.body.decode()) == (503, True)
        for _ in range(3):
            await harness.bridge.profile.keeper.check_now()
        assert len(host.calls(HANDSHAKE)) == 1


@pytest.mark.parametrize(
    ("fault", "reason"), [("signature", "credential_refused"), ("secret", "secret_lost"), ("group", "mismatch")]
)
async def test_what_only_a_person_can_correct_is_named(
    host: ApiHost, anna: Registration, tmp_path: Path, fault: str, reason: str
) -> None:
    """Nothing more is sent, and no call is signed with a token that IBKR did not confirm."""
    credential = credential_of(anna)
    if fault == "signature":
        credential = dataclasses.replace(credential, signature_key=credential.encryption_key)
    elif fault == "secret":
        anna.token.secret = None
    else:
        group = host.registry.consumers[anna.consumer_key].keys.group
        host.handshake.other_group = dataclasses.replace(group, g=group.g + 1)

    async with open_bridge(host, anna, tmp_path, credential) as harness:
        await harness.wait_until(SessionState.CREDENTIAL_REFUSED)
        status = (await harness.get("/gateway/status")).json
        reply = await harness.get(ACCOUNTS)

        assert (status["reason"], [each["id"] for each in status["conditions"]]) == (reason, [reason])
        assert (reply.status, reply.code) == (503, "session_unavailable")
        assert "Gateway" not in f"{reply.json['detail']} {reply.json['hint']} {status['hint']}"
        assert len(host.calls()) == len(host.calls(HANDSHAKE)) == 1


async def test_a_portfolio_only_profile_disturbs_no_other_program(
    host: ApiHost, anna: Registration, tmp_path: Path
) -> None:
    """It reads the portfolio, and refuses everything that needs a brokerage session."""
    async with open_bridge(host, anna, tmp_path, IBKR_BRIDGE_PORTFOLIO_ONLY="yes") as harness:
        await harness.wait_until(SessionState.READY)
        summary = await harness.get("/portfolio/DU1234567/summary")
        order = await place(harness)
        quote = await harness.get("/iserver/marketdata/snapshot?conids=265598&fields=31")

        assert summary.status == 200
        assert (order.status, quote.status, quote.code) == (501, 501, "not_supported")
        assert "IBKR_BRIDGE_PORTFOLIO_ONLY" in quote.json["detail"]
        assert host.calls("/iserver/") == []
        assert [each for each in host.calls("/ws") if each.path.endswith("/ws")] == []


async def test_a_certificate_of_somebody_else_gets_nothing(host: ApiHost, anna: Registration, tmp_path: Path) -> None:
    """Whoever answers there would get signed orders."""
    async with ApiHost(tls=True) as impostor:
        impostor.register("anna")
        async with open_bridge(host, anna, tmp_path, IBKR_BRIDGE_API_URL=impostor.url) as harness:
            await harness.wait_until(SessionState.UNREACHABLE)
            status = (await harness.get("/gateway/status")).json

        assert "certificate" in status["hint"]
        assert impostor.calls() == []


# -- orders


async def test_an_order_is_placed(bridge: Harness, host: ApiHost) -> None:
    """As through a Gateway."""
    reply = await place(bridge)

    assert (reply.status, state_of(reply), placements(host)) == (200, "placed", 1)


async def test_an_order_that_meets_the_end_of_a_token_is_refused_and_never_sent_twice(
    bridge: Harness, host: ApiHost, anna: Registration
) -> None:
    """IBKR's OAuth layer has refused it before anything read it, so it may be sent again, by its caller."""
    end_token(host, anna)

    refused = await place(bridge)
    assert (refused.status, state_of(refused), placements(host)) == (403, "rejected", 1)
    assert "once more" in refused.json["hint"]

    await bridge.wait_until(SessionState.READY)
    placed = await place(bridge)
    assert (placed.status, state_of(placed), placements(host)) == (200, "placed", 2)


@pytest.mark.parametrize("status", [401, 403, 411])
async def test_an_order_that_ibkr_refuses_by_status_does_not_exist(
    bridge: Harness, anna: Registration, status: int
) -> None:
    """Nothing read it."""
    anna.market.faults.add("status", path=PLACEMENT, status=status, times=1)

    assert state_of(await place(bridge)) == "rejected"


@pytest.mark.parametrize("fault", ["done-timeout-503", "timeout-503", "die-in", "drop"])
async def test_an_order_without_a_clear_answer_is_searched_for(
    bridge: Harness, host: ApiHost, anna: Registration, fault: str
) -> None:
    """It may exist; it is never sent again."""
    options = {"seconds": 0.05} if fault.endswith("503") else {}
    anna.market.faults.add(fault, path=PLACEMENT, times=1, **options)

    reply = await place(bridge)
    assert (reply.status, reply.code) == (502, "order_unknown")
    final = await bridge.wait_until_settled(reply.headers["X-Bridge-Order"], "placed", "not_placed")

    assert final == ("placed" if fault in ("done-timeout-503", "die-in") else "not_placed")
    assert placements(host) == 1


# -- losses


async def test_a_token_that_ends_early_is_noticed_by_nobody_who_reads(
    bridge: Harness, host: ApiHost, anna: Registration
) -> None:
    """Many reads meet its end at once; one handshake serves them all."""
    end_token(host, anna)

    replies = await with_timeout(
        asyncio.gather(*(bridge.get(f"/portfolio/DU1234567/positions/{page}") for page in range(6)))
    )

    assert {reply.status for reply in replies} == {200}
    assert len(host.calls(HANDSHAKE)) == 2


async def test_the_brokerage_session_comes_back(bridge: Harness, host: ApiHost, anna: Registration) -> None:
    """IBKR says so on the websocket, and the keeper looks at once: its next check would come in 15 s."""
    await bridge.wait_for_events(FeedUp)
    inits, began = len(host.calls(INIT)), asyncio.get_running_loop().time()
    anna.market.lose_brokerage()

    await with_timeout(host.wait_for_calls(INIT, inits + 1))
    assert asyncio.get_running_loop().time() - began < CHECK_INTERVAL_S / 2
    await bridge.wait_until_checked(SessionState.READY)

    assert len(host.calls(HANDSHAKE)) == 1


async def test_the_end_of_every_login_needs_nobody(bridge: Harness, host: ApiHost, anna: Registration) -> None:
    """At midnight IBKR ends all sessions; the bridge signs in again."""
    anna.market.log_out()
    end_token(host, anna)

    assert (await with_timeout(bridge.get(ACCOUNTS))).status in (200, 503)
    await bridge.bridge.profile.keeper.check_now()
    await bridge.wait_until_checked(SessionState.READY)

    assert (await place(bridge)).status == 200


async def test_a_revoked_token_is_named(bridge: Harness, host: ApiHost, anna: Registration) -> None:
    """It has worked before, so somebody deleted it."""
    anna.token.is_revoked = True
    bridge.bridge.profile.keeper.request_check()

    await bridge.wait_until(SessionState.CREDENTIAL_REFUSED)
    status = (await bridge.get("/gateway/status")).json

    assert status["reason"] == "revoked"
    assert anna.access_token not in str(status)
    assert len(host.calls(HANDSHAKE)) == 2


async def test_a_sign_out_lasts_until_somebody_wants_the_session(bridge: Harness, host: ApiHost) -> None:
    """Else the bridge would take it back at once."""
    assert (await with_timeout(bridge.post("/gateway/logout"))).status == 200
    await bridge.wait_until(SessionState.SIGNED_OUT)
    for _ in range(2):
        await bridge.bridge.profile.keeper.check_now()
    assert len(host.calls(HANDSHAKE)) == 1

    await with_timeout(bridge.post("/gateway/reconnect"))
    await bridge.wait_until(SessionState.READY)

    assert len(host.calls(HANDSHAKE)) == 2
