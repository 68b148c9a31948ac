"""Which route or endpoint a target meets; the table of routes is made up here, as the server gets it handed in."""

from __future__ import annotations

from pathlib import Path

import pytest

from ibkr_bridge.errors import NotBridged
from ibkr_bridge.ibkr.endpoint import Effect
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
    """A request of which nothing is known yet."""
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
def test_a_path_meets_one_row(path: str, pattern: str | None) -> None:
    """A row without variables comes before one with."""
    assert TABLE.match(read_target(path).segments) == pattern


@pytest.mark.parametrize(
    ("method", "path", "is_open"),
    [
        *[("GET", "/up", True), ("HEAD", "/up", True), ("POST", "/up", False)],
        *[("GET", "/up/", False), ("GET", "/%75p", False), ("GET", "/things", False)],
    ],
)
def test_open_means_exactly_these_bytes(method: str, path: str, is_open: bool) -> None:
    """Neither another spelling nor another method."""
    assert TABLE.is_open(method, read_target(path).path) is is_open


@pytest.mark.parametrize(
    ("path", "may"),
    [
        *[("/feed/prices", True), ("/feed/prices/", True), ("/feed", False), ("/feed/other", False)],
        *[("/pages", True), ("/pages/", True), ("/pages/a/b", True), ("/pagesx", False), ("/", False)],
    ],
)
def test_a_token_may_stand_in_few_queries(path: str, may: bool) -> None:
    """A star stands for everything below."""
    assert TABLE.may_carry_token(read_target(path).segments) is may


def test_a_page_may_open_websockets_alone() -> None:
    """By the table, not by the form of the path."""
    paths = ["/feed/prices", "/feed/prices/", "/feed", "/things"]

    assert [TABLE.is_websocket(read_target(path).segments) for path in paths] == [True, True, False, False]


@pytest.mark.parametrize(("method", "effect"), [("GET", Effect.READ), ("POST", Effect.TRADE), ("DELETE", Effect.READ)])
def test_the_effect_is_that_of_the_method(context: RequestContext, tmp_path: Path, method: str, effect: Effect) -> None:
    """A method that is not answered does nothing, and so needs nothing."""
    resolve(context, method, read_target("/things/?x=1"), TABLE, settings_for("https://127.0.0.1:1", tmp_path))

    assert context.endpoint is not None
    assert (context.route, context.endpoint.effect, context.upstream_target) == ("/things", effect, None)


def test_the_log_shows_a_variable_as_the_table_does(context: RequestContext, tmp_path: Path) -> None:
    """An id may be an account number."""
    resolve(context, "GET", read_target("/things/DU1234567"), TABLE, settings_for("https://127.0.0.1:1", tmp_path))

    assert context.route == "/things/{id}"


def test_everything_else_is_looked_up_in_the_catalogue(context: RequestContext, tmp_path: Path) -> None:
    """Below one of the bridged prefixes."""
    target = read_target("/iserver/account/DU1234567/orders")
    resolve(context, "POST", target, TABLE, settings_for("https://127.0.0.1:1", tmp_path))

    assert context.endpoint is not None
    assert (context.route, context.endpoint.effect) == ("/iserver/account/{accountId}/orders", Effect.TRADE)
    assert context.upstream_target is not None
    assert context.upstream_target.raw_path == "/v1/api/iserver/account/DU1234567/orders"


def test_a_path_outside_the_prefixes_leads_nowhere(context: RequestContext, tmp_path: Path) -> None:
    """The key is asked for first: only the handler says that there is nothing."""
    settings = settings_for("https://127.0.0.1:1", tmp_path)
    resolve(context, "GET", read_target("/nowhere/at/all"), TABLE, settings)

    assert (context.route, context.endpoint) == ("?", None)
    with pytest.raises(NotBridged):
        resolve_upstream(read_target("/nowhere/at/all"), settings)
