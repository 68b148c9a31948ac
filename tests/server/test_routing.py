"""The route or endpoint of a target, with a table of routes that is made for these tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from ibkr_bridge.errors import NotBridged
from ibkr_bridge.ibkr.endpoint import Effect, OrderOperation
from ibkr_bridge.server.request_context import RequestContext
from ibkr_bridge.server.request_target import read_target
from ibkr_bridge.server.routing import OwnRoutes, resolve, resolve_upstream
from tests.harness import settings_for

TABLE = OwnRoutes(
    {
        "/up": {"GET": Effect.READ, "HEAD": Effect.READ},
        "/things": {"GET": Effect.READ, "POST": Effect.TRADE},
        "/things/{id}": {"GET": Effect.READ},
        "/things/last": {"GET": Effect.SESSION},
        "/feed/prices": {"GET": Effect.READ},
    },
    open_paths=frozenset({"/up"}),
    websockets=frozenset({"/feed/prices"}),
    token_in_query=frozenset({"/feed/prices", "/pages", "/pages/*"}),
)


@pytest.fixture
def context() -> RequestContext:
    """The context of a request that has not been resolved."""
    return RequestContext("id", 0.0)


@pytest.mark.parametrize(
    ("path", "pattern"),
    [
        *[
            ("/things", "/things"),
            ("/things/", "/things"),
            ("/things/7", "/things/{id}"),
            ("/things/7/", "/things/{id}"),
        ],
        *[("/things/last", "/things/last"), ("/things/7/8", None), ("/thing", None), ("/", None), ("/Things", None)],
    ],
)
def test_a_path_matches_one_route(path: str, pattern: str | None) -> None:
    """A route without variables comes before one with variables."""
    assert TABLE.match(read_target(path).segments) == pattern


@pytest.mark.parametrize(
    ("method", "path", "is_open"),
    [
        *[("GET", "/up", True), ("HEAD", "/up", True), ("POST", "/up", False)],
        *[("GET", "/up/", False), ("GET", "/things", False)],
    ],
)
def test_an_open_path_must_match_byte_for_byte(method: str, path: str, is_open: bool) -> None:
    """Another spelling or another method is not open."""
    assert TABLE.is_open(method, read_target(path).path) is is_open


@pytest.mark.parametrize(
    ("path", "may_carry_token"),
    [
        *[("/feed/prices", True), ("/feed/prices/", True), ("/feed", False), ("/feed/other", False)],
        *[("/pages", True), ("/pages/", True), ("/pages/a/b", True), ("/pagesx", False), ("/", False)],
    ],
)
def test_only_some_paths_may_carry_a_token_in_the_query(path: str, may_carry_token: bool) -> None:
    """A star stands for all paths below."""
    assert TABLE.may_carry_token(read_target(path).segments) is may_carry_token


def test_only_the_table_decides_what_is_a_websocket() -> None:
    """The form of the path does not matter."""
    paths = ["/feed/prices", "/feed/prices/", "/feed", "/things"]

    assert [TABLE.is_websocket(read_target(path).segments) for path in paths] == [True, True, False, False]


@pytest.mark.parametrize(("method", "effect"), [("GET", Effect.READ), ("POST", Effect.TRADE), ("DELETE", Effect.READ)])
def test_the_effect_of_a_route_depends_on_the_method(
    context: RequestContext, tmp_path: Path, method: str, effect: Effect
) -> None:
    """A method without a handler has no effect, so it needs no more than a read."""
    resolve(context, method, read_target("/things/?x=1"), TABLE, settings_for("https://127.0.0.1:1", tmp_path))

    assert context.endpoint is not None
    assert (context.route, context.endpoint.effect, context.upstream_target) == ("/things", effect, None)


def test_the_log_shows_the_pattern_of_a_route(context: RequestContext, tmp_path: Path) -> None:
    """The value of a variable may be an account number."""
    resolve(context, "GET", read_target("/things/DU1234567"), TABLE, settings_for("https://127.0.0.1:1", tmp_path))

    assert context.route == "/things/{id}"


def test_other_paths_are_found_in_the_catalogue(context: RequestContext, tmp_path: Path) -> None:
    """If they begin with one of the bridged prefixes."""
    target = read_target("/iserver/account/DU1234567/orders")
    resolve(context, "POST", target, TABLE, settings_for("https://127.0.0.1:1", tmp_path))

    assert context.endpoint is not None
    assert (context.route, context.endpoint.effect) == ("/iserver/account/{accountId}/orders", Effect.TRADE)
    assert context.upstream_target is not None
    assert context.upstream_target.raw_path == "/v1/api/iserver/account/DU1234567/orders"


def test_a_path_outside_the_prefixes_has_no_endpoint(context: RequestContext, tmp_path: Path) -> None:
    """The key is checked first; only the handler reports that the path is not bridged."""
    settings = settings_for("https://127.0.0.1:1", tmp_path)
    resolve(context, "GET", read_target("/nowhere/at/all"), TABLE, settings)

    assert (context.route, context.endpoint) == ("?", None)
    with pytest.raises(NotBridged):
        resolve_upstream(read_target("/nowhere/at/all"), settings)


def test_a_cancel_of_our_own_is_known_as_one(context: RequestContext, tmp_path: Path) -> None:
    """It is tried even while too many requests are handled; a read of the same path is not."""
    routes = OwnRoutes(
        {"/orders/{id}": {"GET": Effect.READ, "DELETE": Effect.TRADE}}, frozenset({("DELETE", "/orders/{id}")})
    )
    operations = []
    for method in ("DELETE", "GET"):
        resolve(context, method, read_target("/orders/5"), routes, settings_for("https://127.0.0.1:1", tmp_path))
        operations.append(context.endpoint and context.endpoint.operation)

    assert operations == [OrderOperation.CANCEL, None]
