"""What happens to a registration: it is not active yet, turned off, deleted, lost, made anew."""

from __future__ import annotations

import pytest

from ibkr_bridge.sim.api_host import ApiHost, UserKeys, make_keys
from ibkr_bridge.sim.api_host.registration import Registration
from tests.clocks import ManualClock
from tests.sim.api_host.conftest import Connect
from tests.sim.api_host.direct_client import DirectClient, Reply
from tests.sim.api_host.test_checks import error_of


@pytest.fixture(scope="module")
def other_keys() -> UserKeys:
    return make_keys()


@pytest.fixture
async def signed_in(anna: DirectClient) -> DirectClient:
    await anna.sign_in()
    return anna


def text_of(reply: Reply) -> str:
    return error_of(reply.body["error"])


async def test_a_consumer_is_unknown_until_ibkr_has_it(anna: DirectClient, clock: ManualClock) -> None:
    anna.registration.activate_at(clock.now() + 3600)
    assert text_of(await anna.sign_in()) == "invalid consumer"
    clock.advance(3600)
    assert (await anna.sign_in()).status == 200


async def test_a_consumer_that_is_turned_off_is_unknown_at_once(signed_in: DirectClient) -> None:
    signed_in.registration.set_enabled(is_enabled=False)
    assert text_of(await signed_in.call("GET", "/portfolio/accounts")) == "invalid consumer"
    signed_in.registration.set_enabled(is_enabled=True)
    assert (await signed_in.call("GET", "/portfolio/accounts")).status == 200


async def test_a_deleted_token_opens_nothing(signed_in: DirectClient) -> None:
    signed_in.registration.revoke()
    assert (await signed_in.call("GET", "/portfolio/accounts")).status == 401
    assert "No access secret key found" in text_of(await signed_in.sign_in())


@pytest.mark.parametrize("is_named", [True, False])
async def test_a_lost_secret(anna: DirectClient, host: ApiHost, *, is_named: bool) -> None:
    host.rules.names_lost_secrets = is_named
    anna.registration.lose_secret()
    token = anna.registration.access_token
    expected = f"No access secret key found for {token}" if is_named else ""
    assert text_of(await anna.sign_in()) == f"LST failed, error: {expected}"
    anna.registration = anna.registration.regenerate()
    assert anna.registration.access_token == token
    assert (await anna.sign_in()).status == 200


async def test_a_former_secret_does_not_fit(anna: DirectClient) -> None:
    anna.registration.regenerate()
    assert text_of(await anna.sign_in()) == "LST failed, Invalid signature"


async def test_new_keys_count_after_the_reset(
    anna: DirectClient, clock: ManualClock, connect: Connect, other_keys: UserKeys
) -> None:
    changed = connect(anna.registration.change_keys(other_keys, clock.now() + 3600))
    assert text_of(await changed.sign_in()) == "LST failed, Invalid signature"
    assert (await anna.sign_in()).status == 200
    clock.advance(3600)
    assert (await changed.sign_in()).status == 200
    assert text_of(await anna.sign_in()) == "LST failed, Invalid signature"


@pytest.mark.parametrize("bits", [2048, 2041, 2040, 2039])
async def test_the_shared_number_can_have_any_length(anna: DirectClient, host: ApiHost, bits: int) -> None:
    host.handshake.shared_bits = bits
    reply = await anna.sign_in()
    assert reply.body["live_session_token_signature"] == anna.token_signature()
    assert anna.shared_bits == bits
    assert (await anna.call("GET", "/portfolio/accounts")).status == 200


async def test_a_user_can_be_signed_out_by_ibkr(signed_in: DirectClient) -> None:
    signed_in.registration.market.faults.add("sso-lost")
    assert (await signed_in.call("GET", "/portfolio/accounts")).status == 401


async def test_a_restart_of_a_gateway_is_nothing_here(signed_in: DirectClient) -> None:
    signed_in.registration.market.faults.add("restart")
    await signed_in.registration.market.wait_for_events()
    assert (await signed_in.call("GET", "/portfolio/accounts")).status == 200


async def test_secrets_are_not_shown(anna: DirectClient) -> None:
    shown = repr(anna.registration)
    assert isinstance(anna.registration, Registration)
    assert anna.registration.access_token_secret not in shown
    assert "PRIVATE" not in shown
