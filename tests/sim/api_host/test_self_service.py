"""The page on which users register."""

from __future__ import annotations

import html
import re
from typing import Any

import aiohttp
import pytest

from ibkr_bridge.sim.api_host import ApiHost, make_keys, usual_keys
from tests.clocks import ManualClock
from tests.sim.api_host.conftest import Connect
from tests.sim.api_host.direct_client import DirectClient

BROWSER = {"Accept": "text/html"}


def form_of(**changes: str) -> dict[str, str]:
    keys = usual_keys()
    files = {"signature": keys.signature_public_pem, "encryption": keys.encryption_public_pem}
    return {"username": "carl", "consumer_key": "carlskeyx", **files, "dhparam": keys.dhparam_pem, **changes}


async def test_what_is_uploaded_gives_a_token_that_works(anna: DirectClient, host: ApiHost, connect: Connect) -> None:
    assert 'type="file"' in (await anna.send("GET", "/self-service")).text
    tokens = (await anna.send("POST", "/self-service", data=form_of(mode="live"))).body
    carl = connect(host.register("carl", tokens["consumer_key"]))
    carl.use_token(tokens["access_token"], tokens["access_token_secret"])
    assert (await carl.sign_in()).body["live_session_token_signature"] == carl.token_signature()
    assert (await carl.call("GET", "/portfolio/accounts")).body[0]["id"].startswith("U")


async def test_a_browser_changes_the_ends_of_lines(anna: DirectClient) -> None:
    files: dict[str, Any] = {name: text.replace("\n", "\r\n") for name, text in form_of().items()}
    assert (await anna.send("POST", "/self-service", data=files)).status == 200


@pytest.mark.parametrize(
    "changes",
    [{"username": ""}, {"username": "a b"}, {"consumer_key": "SHORT"}, {"signature": "none"}, {"dhparam": ""}],
)
async def test_a_bad_form_is_refused(anna: DirectClient, changes: dict[str, str]) -> None:
    reply = await anna.send("POST", "/self-service", data=form_of(**changes))
    assert reply.status == 400
    assert reply.body["error"].startswith("failed to put consumer info")


async def test_a_consumer_key_is_taken_once(anna: DirectClient) -> None:
    await anna.send("POST", "/self-service", data=form_of())
    other = make_keys().signature_public_pem
    assert (await anna.send("POST", "/self-service", data=form_of(signature=other))).status == 400


async def test_a_browser_uploads_files_and_gets_a_page(anna: DirectClient, host: ApiHost, connect: Connect) -> None:
    form = aiohttp.FormData()
    for name, text in form_of().items():
        is_file = "-----" in text
        form.add_field(name, text.encode() if is_file else text, filename=f"{name}.pem" if is_file else None)
    page = (await anna.send("POST", "/self-service", data=form, headers=BROWSER)).text
    shown = dict(re.findall(r'<dd id="(\w+)">([^<]*)</dd>', page))
    carl = connect(host.register("carl", shown["consumer_key"]))
    carl.use_token(shown["access_token"], html.unescape(shown["access_token_secret"]))
    assert (await carl.sign_in()).body["live_session_token_signature"] == carl.token_signature()


async def test_a_person_reads_why_a_form_is_refused(anna: DirectClient) -> None:
    reply = await anna.send("POST", "/self-service", data=form_of(username="a b"), headers=BROWSER)
    assert reply.status == 400
    assert "Nothing was saved: a username" in reply.text


async def test_what_is_uploaded_may_count_later(anna: DirectClient, host: ApiHost, clock: ManualClock) -> None:
    host.rules.activation_s = 60.0
    tokens = (await anna.send("POST", "/self-service", data=form_of())).body
    consumer = host.registry.consumers[tokens["consumer_key"]]
    assert consumer.active_from == clock.now() + 60.0
