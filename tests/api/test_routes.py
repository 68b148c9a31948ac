"""The table of the bridge's own routes, and that a running bridge agrees with it."""

from __future__ import annotations

import dataclasses
from collections import Counter

import msgspec
import pytest

from ibkr_bridge.api.route import Auth, Route
from ibkr_bridge.api.routes import ALL_ROUTES, ROUTES, own_routes
from ibkr_bridge.application import add_routes
from ibkr_bridge.errors import InvalidKey
from ibkr_bridge.ibkr.endpoint import Effect
from ibkr_bridge.server.keyring import READ_ONLY
from tests.conftest import OpenHarness
from tests.harness import READONLY_KEY, Harness
from tools.status_fields import members

METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE")
KEYED = [route for route in ROUTES if route.auth is not Auth.OPEN]
CHANGING = [route for route in ROUTES if route.effect not in READ_ONLY]


def name_of(route: Route) -> str:
    """The id of a row in the output of pytest."""
    return f"{route.method} {route.path}"


def top_level_members(response: type, *, required_only: bool = False) -> list[str]:
    """The names of the outermost members of a response."""
    if issubclass(response, msgspec.Struct):
        declared = msgspec.structs.fields(response)
        return [member.encode_name for member in declared if member.required or not required_only]
    return [member.name for member in members(response) if not set(".[") & set(member.name)]


def test_no_route_is_listed_twice() -> None:
    """The second row of the same request would never be used."""
    rows = Counter((method, path) for route in ROUTES for method in route.methods for path in route.spellings)

    assert [row for row, count in rows.items() if count > 1] == []


@pytest.mark.parametrize("route", ROUTES, ids=name_of)
def test_every_row_is_complete(route: Route) -> None:
    """The page for callers is generated from it."""
    assert route.summary.endswith(".")
    assert route.path.startswith("/")
    assert not route.path.endswith("/")
    assert InvalidKey not in route.errors
    assert route.endless or not route.websocket


def test_the_lookup_table_of_the_checks_agrees_with_the_routes() -> None:
    """Effects, open paths, tokens and websockets are defined nowhere else."""
    lookup = own_routes()

    for route in ROUTES:
        assert dict.fromkeys(route.methods, route.effect).items() <= lookup.effects[route.path].items()
        assert lookup.is_open("GET", route.path) is (route.auth is Auth.OPEN)
        assert (route.path in lookup.websockets) is route.websocket
        assert (route.path in lookup.token_in_query) is route.token_in_query
    assert set(lookup.effects) == {route.path for route in ALL_ROUTES}


def test_two_methods_of_one_path_are_both_allowed() -> None:
    """A GET may have another effect than a POST on the same path."""
    row = next(route for route in ROUTES if route.path == "/gateway/pause")
    rows = (row, dataclasses.replace(row, method="GET", effect=Effect.READ))

    assert own_routes(rows).effects == {"/gateway/pause": {"POST": Effect.TRADE, "GET": Effect.READ}}


def test_the_router_has_every_row_and_the_pass_through_last() -> None:
    """The router uses the first match."""
    from aiohttp import web

    router = web.Application().router
    add_routes(router)
    registered = [(route.method, route.resource.canonical) for route in router.routes() if route.resource is not None]

    rows = [(method, path) for route in ALL_ROUTES for method in route.methods for path in route.spellings]
    assert sorted(registered[:-1]) == sorted(rows)
    assert registered[-1] == ("*", "/")


@pytest.mark.parametrize("route", KEYED, ids=name_of)
async def test_without_a_key_they_are_refused(harness: Harness, route: Route) -> None:
    """Also with a slash at the end of the path."""
    for path in route.spellings:
        assert (await harness.request(route.method, path, key=None)).code == "invalid_key"


@pytest.mark.parametrize("route", CHANGING, ids=name_of)
async def test_the_read_only_key_changes_nothing(open_harness: OpenHarness, route: Route) -> None:
    """The effect of the row decides."""
    harness = await open_harness(IBKR_BRIDGE_READONLY_KEY=READONLY_KEY)

    assert (await harness.request(route.method, route.path, key=READONLY_KEY)).code == "insufficient_scope"


@pytest.mark.parametrize("route", ROUTES, ids=name_of)
async def test_other_methods_are_refused_with_the_allowed_ones(harness: Harness, route: Route) -> None:
    """With and without a slash at the end. An open route with a slash is another path."""
    allowed = [method for each in ROUTES if each.path == route.path for method in each.methods]
    for path in route.spellings:
        for method in sorted(set(METHODS) - set(allowed)):
            reply = await harness.request(method, path)
            assert (reply.status, reply.headers["Allow"]) == (405, ", ".join(allowed))


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/orders/"), ("GET", "/gateway/status/"), ("POST", "/gateway/pause/")]
)
async def test_a_keyed_route_may_end_with_a_slash(harness: Harness, method: str, path: str) -> None:
    """Some HTTP libraries add it."""
    assert (await harness.request(method, path)).status == 200


@pytest.mark.parametrize("path", ["/gateway/pause", "/auth/token/", "/iserver/account/DU1234567/orders"])
async def test_the_key_is_checked_before_100_continue(harness: Harness, path: str) -> None:
    """Otherwise a caller without a key would be invited to send a body."""
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nExpect: 100-continue\r\n"

    reply = await harness.send_raw(f"{head}Content-Length: 2\r\n\r\n".encode())

    assert reply.startswith(b"HTTP/1.1 401 ")


@pytest.mark.parametrize("path", ["/health/", "/livez/", "/readyz/", "/gateway/auth-status/"])
async def test_an_open_route_must_not_end_with_a_slash(harness: Harness, path: str) -> None:
    """Not even with a key, so that a wrong monitor is noticed at once."""
    assert (await harness.get(path)).status == 405


@pytest.mark.parametrize("route", [route for route in KEYED if not route.endless], ids=name_of)
async def test_a_token_opens_what_the_row_says(harness: Harness, route: Route) -> None:
    """The token has the full scope, so the column `auth` decides, and no token manages profiles."""
    token = (await harness.post("/auth/token", {"scope": "trade"})).json["token"]

    reply = await harness.request(route.method, route.path, key=None, headers={"Authorization": f"Bearer {token}"})

    assert reply.code != "invalid_key"
    assert (reply.code == "insufficient_scope") is (route.auth is Auth.KEY or route.effect is Effect.MANAGE)


@pytest.mark.parametrize(
    "route",
    [
        route
        for route in ROUTES
        if route.effect is not Effect.MANAGE and route.response and dataclasses.is_dataclass(route.response)
    ],
    ids=name_of,
)
async def test_a_response_has_the_members_of_its_class(harness: Harness, route: Route) -> None:
    """The documentation is generated from the class."""
    reply = await harness.request(route.method, route.path)

    assert route.response is not None
    assert reply.status == 200
    assert [name for name in top_level_members(route.response) if name in reply.json] == list(reply.json)
    assert set(top_level_members(route.response, required_only=True)) <= set(reply.json)
