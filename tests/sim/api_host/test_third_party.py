"""A company's program gets an access token for a user who agrees on IBKR's page."""

from __future__ import annotations

import secrets
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from ibkr_bridge.sim.api_host import ApiHost
from ibkr_bridge.sim.api_host.registration import Registration
from tests.clocks import ManualClock
from tests.sim.api_host.conftest import Connect
from tests.sim.api_host.direct_client import DirectClient, Reply
from tests.sim.api_host.test_checks import error_of

CALLBACK = "https://shop.example/connect?shop=1"


@pytest.fixture
async def shop(host: ApiHost, connect: Connect) -> DirectClient:
    """A company's program; its registration has no token yet. Anna is a paper user, Ben is not."""
    keys = host.register_company("SHOPSKEYX", CALLBACK)
    market = host.add_user("anna")
    host.add_user("ben", is_paper=False)
    none: Any = None
    return connect(Registration("anna", "SHOPSKEYX", "", "", keys, none, market))


async def request_token(shop: DirectClient) -> str:
    reply = await shop.handshake_call("request_token", oauth_callback="oob")
    assert reply.status == 200
    return str(reply.body["oauth_token"])


async def answer(shop: DirectClient, token: str, say: str, username: str = "anna", **more: str) -> Reply:
    form = {"oauth_token": token, "username": username, "answer": say, **more}
    return await shop.send("POST", "/authorize", data=form, allow_redirects=False)


def verifier_of(reply: Reply) -> str:
    return parse_qs(urlsplit(str(reply.headers["Location"])).query)["oauth_verifier"][0]


async def fetch_access_token(shop: DirectClient, token: str, verifier: str) -> Reply:
    return await shop.handshake_call("access_token", oauth_token=token, oauth_verifier=verifier)


@pytest.mark.parametrize(("username", "is_paper"), [("anna", True), ("ben", False)])
async def test_a_user_who_agrees_can_be_traded_for(shop: DirectClient, username: str, *, is_paper: bool) -> None:
    token = await request_token(shop)
    page = await shop.send("GET", f"/authorize?oauth_token={token}")
    assert "SHOPSKEYX" in page.text
    redirect = await answer(shop, token, "yes", username)
    assert redirect.status == 302
    assert redirect.headers["Location"].startswith(CALLBACK + "&oauth_token=")
    body = (await fetch_access_token(shop, token, verifier_of(redirect))).body
    assert body["is_paper"] is is_paper
    shop.use_token(body["oauth_token"], body["oauth_token_secret"])
    assert (await shop.sign_in()).body["live_session_token_signature"] == shop.token_signature()
    accounts = (await shop.call("GET", "/portfolio/accounts")).body
    assert accounts[0]["id"].startswith("D") is is_paper


async def test_a_user_who_cancels_comes_back_with_nothing(shop: DirectClient) -> None:
    token = await request_token(shop)
    assert (await answer(shop, token, "no")).headers["Location"] == CALLBACK
    assert (await fetch_access_token(shop, token, "0" * 20)).status == 401
    assert (await answer(shop, token, "yes")).status == 400


async def test_an_address_of_the_request_replaces_the_path_of_the_callback(shop: DirectClient) -> None:
    token = await request_token(shop)
    reply = await answer(shop, token, "no", redirect_uri="https://thief.example/other?x=1")
    assert reply.headers["Location"] == "https://shop.example/other?x=1"


async def test_a_verifier_fits_once_and_only_its_own_token(shop: DirectClient) -> None:
    token = await request_token(shop)
    verifier = verifier_of(await answer(shop, token, "yes"))
    assert (await fetch_access_token(shop, token, verifier)).status == 200
    assert (await fetch_access_token(shop, token, verifier)).status == 401
    other = await request_token(shop)
    await answer(shop, other, "yes")
    assert error_of((await fetch_access_token(shop, other, verifier)).body["error"]) == "invalid verifier"


async def test_a_verifier_and_a_request_token_grow_old(shop: DirectClient, clock: ManualClock) -> None:
    token = await request_token(shop)
    clock.advance(601)
    assert (await answer(shop, token, "yes")).status == 400
    token = await request_token(shop)
    verifier = verifier_of(await answer(shop, token, "yes"))
    clock.advance(301)
    assert (await fetch_access_token(shop, token, verifier)).status == 401


async def test_missing_parameters_are_named(shop: DirectClient) -> None:
    assert error_of((await shop.handshake_call("request_token")).body["error"]) == "missing parameter oauth_callback"
    reply = await shop.handshake_call("access_token", oauth_token=secrets.token_hex(10))
    assert error_of(reply.body["error"]) == "missing parameter oauth_verifier"


async def test_a_users_own_consumer_gets_no_request_token(anna: DirectClient) -> None:
    assert (await anna.handshake_call("request_token", oauth_callback="oob")).status == 401


async def test_a_wrong_signature_gets_no_request_token(shop: DirectClient) -> None:
    shop.signed_base = "https://other.example"
    reply = await shop.handshake_call("request_token", oauth_callback="oob")
    assert error_of(reply.body["error"]) == "Invalid signature"


async def test_unknown_tokens_and_users_get_a_page(shop: DirectClient) -> None:
    assert (await shop.send("GET", "/authorize?oauth_token=0")).status == 400
    assert (await answer(shop, "0", "yes")).status == 400
    assert (await answer(shop, await request_token(shop), "yes", "nobody")).status == 400
