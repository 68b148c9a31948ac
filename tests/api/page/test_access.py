"""Who may open the page, and what its cookie opens."""

from __future__ import annotations

import dataclasses
import re
from http.cookies import SimpleCookie

import pytest

from ibkr_bridge.api.page.access import FOLDER, SCRIPTS, STYLES, document
from ibkr_bridge.api.page.routes import PAGE_ROUTES
from ibkr_bridge.server.app_keys import PLACES_OF_PAGES
from ibkr_bridge.server.credentials import PAGE_COOKIE
from tests.api.page.page_reader import cookie_of, open_page, token_for_page
from tests.conftest import OpenHarness
from tests.harness import KEY, PREVIOUS_KEY, READONLY_KEY, Harness

PAGE_TARGETS = [
    (route.method, route.path.replace("{id}", "1").replace("{number}", "1"))
    for route in PAGE_ROUTES
    if route.path != "/"
]
API_TARGETS = ["/gateway/status", "/orders", "/portfolio/accounts", "/metrics", "/stream/session", "/docs", "/events"]


async def test_the_page_needs_no_key_and_has_no_data(harness: Harness) -> None:
    """Everything that it shows comes by requests with its cookie."""
    reply = await harness.get("/", key=None)

    assert (reply.status, reply.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert b"DU1234567" not in reply.body


async def test_its_policy_allows_its_own_parts_alone(harness: Harness) -> None:
    """No other host, no frame around it, no form, and no address for other pages."""
    reply = await harness.get("/", key=None)
    policy = dict(part.split(" ", 1) for part in reply.headers["Content-Security-Policy"].split("; "))

    assert (policy["default-src"], policy["connect-src"]) == ("'none'", "'self'")
    assert (policy["frame-ancestors"], policy["form-action"], policy["base-uri"]) == ("'none'", "'none'", "'none'")
    assert re.fullmatch(r"'sha256-[A-Za-z0-9+/]{43}='", policy["script-src"])
    assert reply.headers["Referrer-Policy"] == "no-referrer"


def test_the_page_is_one_file_without_inline_handlers() -> None:
    """Its policy would block them, and whatever comes from elsewhere."""
    own = "".join((FOLDER / name).read_text() for name in (*SCRIPTS, *STYLES) if not name.startswith("uplot"))
    page = document().decode()

    assert re.findall(r"(?:src|href)=[\"']?(?:https?:)?//", page) == []
    assert re.findall(r"\son[a-z]+=\"|style=\"|innerHTML|eval\(", own) == []
    assert "{{" not in (FOLDER / "page.html").read_text().replace("{{ styles }}", "").replace("{{ scripts }}", "")
    assert page.count("</script>") == page.count("</style>") == 1


def test_the_chart_library_comes_with_its_licence() -> None:
    """It is not ours."""
    assert "MIT License" in (FOLDER / "uplot.LICENSE").read_text()


async def test_the_cookie_is_for_this_page_alone(harness: Harness) -> None:
    """No script can read it, no other site can send it, and it ends with its token."""
    token = await token_for_page(harness, expires_in=60)
    reply = await harness.post("/page/session", key=None, headers={"Authorization": f"Bearer {token}"})
    cookie = SimpleCookie(reply.headers["Set-Cookie"])[PAGE_COOKIE]

    assert (cookie["path"], cookie["httponly"], cookie["samesite"]) == ("/page", True, "Strict")
    assert 55 <= int(cookie["max-age"]) <= 61


@pytest.mark.parametrize("target", API_TARGETS)
async def test_neither_cookie_nor_token_opens_the_api(harness: Harness, target: str) -> None:
    """In no place in which a credential can stand."""
    token = await token_for_page(harness, scope="trade")
    cookie = await cookie_of(harness, token)
    separator = "&" if "?" in target else "?"

    assert (await harness.get(target, key=None, headers=cookie)).status == 401
    assert (await harness.get(target, key=None, headers={"Authorization": f"Bearer {token}"})).status == 401
    assert (await harness.get(target, key=None, headers={"X-Bridge-Key": token})).status == 401
    assert (await harness.get(f"{target}{separator}token={token}", key=None)).status == 401


@pytest.mark.parametrize(("method", "target"), PAGE_TARGETS)
async def test_no_key_and_no_token_of_the_api_opens_the_page(harness: Harness, method: str, target: str) -> None:
    """A stolen token of an app shows no requests of others."""
    token = (await harness.post("/auth/token", {"scope": "trade"})).json["token"]

    for headers in (
        {"X-Bridge-Key": KEY},
        {"Authorization": f"Bearer {KEY}"},
        {"Authorization": f"Bearer {token}"},
        {"Cookie": f"{PAGE_COOKIE}={token}"},
        {"Cookie": f"{PAGE_COOKIE}={KEY}"},
        {},
    ):
        assert (await harness.request(method, target, key=None, headers=headers)).status == 401


async def test_a_page_of_another_origin_is_refused(harness: Harness) -> None:
    """Pages of other ports of this machine count as the same site, so browsers send them the cookie."""
    cookie = await open_page(harness)

    reply = await harness.request(
        "POST", "/page/sign-in", key=None, headers={**cookie, "Origin": "http://127.0.0.1:3000"}
    )

    assert (reply.status, reply.code) == (403, "origin_not_allowed")


@pytest.mark.parametrize(
    ("site", "status"), [("same-site", 403), ("cross-site", 403), ("same-origin", 503), ("none", 503)]
)
async def test_a_page_of_another_port_opens_no_stream(harness: Harness, site: str, status: int) -> None:
    """Its requests without CORS have the cookie and no Origin: sixteen of them took all places of the operator."""
    places = harness.application[PLACES_OF_PAGES]
    while not places.locked():  # so that a stream that is allowed ends at once
        await places.acquire()

    reply = await harness.get("/page/events", key=None, headers={**await open_page(harness), "Sec-Fetch-Site": site})

    assert reply.status == status


async def test_two_different_cookies_open_nothing(harness: Harness) -> None:
    """Nobody knows which of them is meant."""
    first, second = await open_page(harness), await open_page(harness)
    both = {"Cookie": f"{first['Cookie']}; {second['Cookie']}"}

    assert (await harness.request("DELETE", "/page/session", key=None, headers=both)).status == 401
    assert (await harness.request("DELETE", "/page/session", key=None, headers=first)).status == 200


async def test_a_rotated_key_ends_the_page(harness: Harness) -> None:
    """The token was issued for a key that is gone."""
    cookie = await open_page(harness)
    harness.bridge.keys.replace(dataclasses.replace(harness.bridge.settings, key=PREVIOUS_KEY))

    assert (await harness.request("DELETE", "/page/session", key=None, headers=cookie)).status == 401


async def test_a_read_only_key_gets_no_page_that_trades(open_harness: OpenHarness) -> None:
    """As with any other token."""
    harness = await open_harness(IBKR_BRIDGE_READONLY_KEY=READONLY_KEY)
    wanted = {"audience": "page", "scope": "trade"}

    assert (await harness.post("/auth/token", wanted, key=READONLY_KEY)).code == "insufficient_scope"
    assert (await harness.post("/auth/token", {"audience": "page"}, key=READONLY_KEY)).status == 200


@pytest.mark.parametrize("audience", ["", "pages", None, 1, ["page"]])
async def test_an_unknown_audience_is_refused(harness: Harness, audience: object) -> None:
    """The hint names those that exist."""
    reply = await harness.post("/auth/token", {"audience": audience})

    assert (reply.status, reply.json["hint"]) == (400, 'send "audience": one of api, page')


async def test_the_cookie_can_be_taken_away(harness: Harness) -> None:
    """The browser then forgets it."""
    reply = await harness.request("DELETE", "/page/session", key=None, headers=await open_page(harness))

    assert 'ibkr_bridge_page=""' in reply.headers["Set-Cookie"]
    assert "Max-Age=0" in reply.headers["Set-Cookie"]


async def test_an_address_is_worth_something_once(harness: Harness) -> None:
    """It stands in the arguments of the browser, where every user of this machine can read it."""
    token = await token_for_page(harness)
    headers = {"Authorization": f"Bearer {token}"}
    cookie = await cookie_of(harness, token)

    again = await harness.post("/page/session", key=None, headers=headers)
    looked = await harness.get("/page/orders/1", key=None, headers=headers)
    as_cookie = await harness.get("/page/orders/1", key=None, headers={"Cookie": f"{PAGE_COOKIE}={token}"})

    assert (again.status, looked.status, as_cookie.status) == (401, 401, 401)
    assert (await harness.get("/page/orders/1", key=None, headers=cookie)).code == "order_not_found"


async def test_a_cookie_is_no_address(harness: Harness) -> None:
    """It cannot be traded for another one, so it ends with its token."""
    cookie = (await open_page(harness))["Cookie"].partition("=")[2]

    reply = await harness.post("/page/session", key=None, headers={"Authorization": f"Bearer {cookie}"})

    assert reply.status == 401
