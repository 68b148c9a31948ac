"""What IBKR's OAuth layer lets in, and its words for what it refuses."""

from __future__ import annotations

import re

import pytest

from ibkr_bridge.sim.api_host import ApiHost, make_keys
from tests.clocks import ManualClock
from tests.sim.api_host.conftest import Connect
from tests.sim.api_host.direct_client import DirectClient, Parameters


def error_of(text: object) -> str:
    """The text behind the trace number."""
    match = re.fullmatch(r"id: \d+, error: (.*)", str(text))
    assert match is not None
    return match[1]


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("oauth_consumer_key", "OTHERKEYX", "invalid consumer"),
        ("oauth_token", "0" * 20, f"LST failed, error: No access secret key found for {'0' * 20}"),
        ("oauth_signature_method", "HMAC-SHA256", "invalid signature method"),
        ("oauth_timestamp", "1", "invalid timestamp"),
        ("oauth_timestamp", "soon", "invalid timestamp"),
        ("diffie_hellman_challenge", "1", "LST failed, error: invalid diffie_hellman_challenge"),
        ("diffie_hellman_challenge", "xyz", "LST failed, error: invalid diffie_hellman_challenge"),
    ],
)
async def test_a_handshake_with_a_wrong_parameter(anna: DirectClient, name: str, value: str, text: str) -> None:
    anna.bend = lambda parameters: parameters.update({name: value})
    reply = await anna.sign_in()
    assert reply.status == reply.body["statusCode"] == 401
    assert error_of(reply.body["error"]) == text


@pytest.mark.parametrize("what", ["secret", "address", "keys"])
async def test_a_handshake_with_a_wrong_signature(
    host: ApiHost, connect: Connect, anna: DirectClient, what: str
) -> None:
    if what == "secret":
        anna.secret = b"x" * 32
    elif what == "address":
        anna.signed_base = "https://api.ibkr.com"
    else:
        foreign = host.register("ben", "BENSKEYXX", keys=make_keys())
        anna = connect(foreign)
        anna.bend = lambda parameters: parameters.update(oauth_consumer_key="TESTCONSX")
        assert error_of((await anna.sign_in()).body["error"]).startswith("LST failed, error: No access secret key")
        return
    assert error_of((await anna.sign_in()).body["error"]) == "LST failed, Invalid signature"


async def test_a_nonce_fits_once(anna: DirectClient) -> None:
    await anna.sign_in()

    def repeat(parameters: Parameters) -> None:
        parameters["oauth_nonce"] = "always"

    anna.bend = repeat
    assert (await anna.call("GET", "/portfolio/accounts")).status == 200
    assert (await anna.call("GET", "/portfolio/accounts")).status == 401


async def test_a_clock_may_be_off_by_the_tolerance(anna: DirectClient, host: ApiHost, clock: ManualClock) -> None:
    await anna.sign_in()

    def shift(seconds: float) -> None:
        anna.bend = lambda parameters: parameters.update(oauth_timestamp=str(int(clock.utc().timestamp() + seconds)))

    for seconds, status in ((299, 200), (-299, 200), (301, 401), (-301, 401)):
        shift(seconds)
        assert (await anna.call("GET", "/portfolio/accounts")).status == status
    host.rules.clock_skew_s = 1000
    shift(0)
    assert (await anna.call("GET", "/portfolio/accounts")).status == 401
    shift(1000)
    assert (await anna.call("GET", "/portfolio/accounts")).status == 200


async def test_the_method_and_the_path_are_signed(anna: DirectClient) -> None:
    await anna.sign_in()
    anna.signed_base = anna.host.url + "/more"
    assert error_of((await anna.call("GET", "/portfolio/accounts")).body["error"]) == "Invalid signature"


async def test_the_query_is_not_signed(anna: DirectClient, host: ApiHost) -> None:
    await anna.sign_in()
    assert (await anna.call("GET", "/iserver/secdef/search?symbol=AAPL")).status != 401
    assert host.rules.forms == {"without the query": 1}


@pytest.mark.parametrize(
    "form", ["without the query", "query among the parameters", "query in the URL", "the public address"]
)
@pytest.mark.parametrize("strict", [True, False])
async def test_older_forms_are_for_lenient_hosts(anna: DirectClient, host: ApiHost, form: str, *, strict: bool) -> None:
    """A lenient host counts which form came, so that a test can insist on today's."""
    await anna.sign_in()
    host.rules.is_strict = strict
    path = "/iserver/secdef/search"
    if form == "query among the parameters":
        anna.signed_extra = {"symbol": "AAPL"}
    elif form == "query in the URL":
        anna.signed_query = "?symbol=AAPL"
    elif form == "the public address":
        anna.signed_base = "https://api.ibkr.com"
    is_let_in = (await anna.call("GET", f"{path}?symbol=AAPL")).status != 401
    assert is_let_in == (form == "without the query" or not strict)
    expected = "without the query" if form == "the public address" else form
    assert host.rules.forms == ({expected: 1} if is_let_in else {})
