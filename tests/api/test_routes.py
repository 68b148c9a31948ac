"""The table of our own routes, and that a running bridge does what stands in it."""

from __future__ import annotations

import dataclasses
from collections import Counter

import pytest

from ibkr_bridge.api.routes import ROUTES, Auth, Route, own_routes
from ibkr_bridge.daemon import add_routes
from ibkr_bridge.errors import InvalidKey
from ibkr_bridge.ibkr.endpoint import Effect
from ibkr_bridge.server.keyring import READ_ONLY
from tests.conftest import Open
from tests.harness import READING, Harness
from tools.status_fields import members

METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE")
KEYED = [route for route in ROUTES if route.auth is not Auth.OPEN]
CHANGING = [route for route in ROUTES if route.effect not in READ_ONLY]


def name_of(route: Route) -> str:
    """How a row is called in the output of the tests."""
    return f"{route.method} {route.path}"


def top_level_members(response: type) -> list[str]:
    """The names that the JSON of a response begins with."""
    return [member.name for member in members(response) if not set(".[") & set(member.name)]


def test_each_route_stands_there_once() -> None:
    """Of two rows for the same request one would never be met."""
    rows = Counter((method, path) for route in ROUTES for method in route.methods for path in route.spellings)

    assert [row for row, count in rows.items() if count > 1] == []


@pytest.mark.parametrize("route", ROUTES, ids=name_of)
def test_every_row_is_complete(route: Route) -> None:
    """The page for callers is written from it."""
    assert route.summary.endswith(".")
    assert route.path.startswith("/")
    assert not route.path.endswith("/")
    assert InvalidKey not in route.errors
    assert route.endless or not route.websocket


def test_the_checks_look_up_what_stands_in_the_table() -> None:
    """Effect, open paths, tokens and websockets are written nowhere else."""
    found = own_routes()

    for route in ROUTES:
        assert dict.fromkeys(route.methods, route.effect).items() <= found.effects[route.path].items()
        assert found.is_open("GET", route.path) is (route.auth is Auth.OPEN)
        assert (route.path in found.websockets) is route.websocket
        assert (route.path in found.token_in_query) is route.token_in_query
    assert set(found.effects) == {route.path for route in ROUTES}


def test_two_methods_of_one_path_are_both_allowed() -> None:
    """A later route may read what another one changes."""
    row = next(route for route in ROUTES if route.path == "/gateway/pause")
    rows = (row, dataclasses.replace(row, method="GET", effect=Effect.READ))

    assert own_routes(rows).effects == {"/gateway/pause": {"POST": Effect.TRADE, "GET": Effect.READ}}


def test_the_router_holds_every_row_and_the_pass_through_last() -> None:
    """It takes the first that fits."""
    from aiohttp import web

    router = web.Application().router
    add_routes(router)
    held = [(route.method, route.resource.canonical) for route in router.routes() if route.resource is not None]

    rows = [(method, path) for route in ROUTES for method in route.methods for path in route.spellings]
    assert sorted(held[:-1]) == sorted(rows)
    assert held[-1] == ("*", "/{tail}")


@pytest.mark.parametrize("route", KEYED, ids=name_of)
async def test_without_a_key_none_of_them_answers(harness: Harness, route: Route) -> None:
    """Nor does one with a slash behind it."""
    for path in route.spellings:
        assert (await harness.request(route.method, path, key=None)).code == "invalid_key"


@pytest.mark.parametrize("route", CHANGING, ids=name_of)
async def test_a_key_that_reads_changes_nothing(open_harness: Open, route: Route) -> None:
    """The effect of the row decides."""
    harness = await open_harness(IBKR_BRIDGE_READONLY_KEY=READING)

    assert (await harness.request(route.method, route.path, key=READING)).code == "insufficient_scope"


@pytest.mark.parametrize("route", ROUTES, ids=name_of)
async def test_other_methods_are_told_the_right_ones(harness: Harness, route: Route) -> None:
    """With and without a slash behind the path, but not for an open route, where that is another path."""
    allowed = ", ".join(route.methods)
    for path in route.spellings:
        for method in sorted(set(METHODS) - set(route.methods)):
            reply = await harness.request(method, path)
            assert (reply.status, reply.headers["Allow"]) == (405, allowed)


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/orders/"), ("GET", "/gateway/status/"), ("POST", "/gateway/pause/")]
)
async def test_a_slash_behind_a_keyed_route_changes_nothing(harness: Harness, method: str, path: str) -> None:
    """Some HTTP libraries write it."""
    assert (await harness.request(method, path)).status == 200


@pytest.mark.parametrize("path", ["/gateway/pause", "/auth/token/", "/iserver/account/DU1234567/orders"])
async def test_a_body_is_not_asked_for_before_the_key_was_seen(harness: Harness, path: str) -> None:
    """`100 Continue` would invite a stranger to send it; the answer of the key comes first, on every route."""
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nExpect: 100-continue\r\n"

    reply = await harness.send_raw(f"{head}Content-Length: 2\r\n\r\n".encode())

    assert reply.startswith(b"HTTP/1.1 401 ")


@pytest.mark.parametrize("path", ["/health/", "/livez/", "/readyz/", "/gateway/auth-status/"])
async def test_an_open_route_does_not_answer_with_a_slash_behind_it(harness: Harness, path: str) -> None:
    """Not even to a key: a monitor that is set up wrongly is to be noticed at once."""
    assert (await harness.get(path)).status == 405


@pytest.mark.parametrize("route", [route for route in KEYED if not route.endless], ids=name_of)
async def test_a_token_opens_what_the_row_says(harness: Harness, route: Route) -> None:
    """Its scope is that of the full key, so that only the way in decides."""
    token = (await harness.post("/auth/token", {"scope": "trade"})).json["token"]

    reply = await harness.request(route.method, route.path, key=None, headers={"Authorization": f"Bearer {token}"})

    assert reply.code != "invalid_key"
    assert (reply.code == "insufficient_scope") is (route.auth is Auth.KEY)


@pytest.mark.parametrize("route", [route for route in ROUTES if route.response is not None], ids=name_of)
async def test_a_response_has_the_members_of_its_class(harness: Harness, route: Route) -> None:
    """The documentation is written from the class."""
    reply = await harness.request(route.method, route.path)

    assert route.response is not None
    assert (reply.status, list(reply.json)) == (200, top_level_members(route.response))
