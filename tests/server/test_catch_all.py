"""The route of every path that no other route has."""

from __future__ import annotations

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from ibkr_bridge.server.catch_all import CatchAll


async def answer(_: web.Request) -> web.Response:
    """The handler behind the catch-all."""
    return web.Response()


async def answer_own_route(_: web.Request) -> web.Response:
    """The handler of a route."""
    return web.Response()


@pytest.fixture
def router() -> web.UrlDispatcher:
    """A router with two routes, and the catch-all behind them."""
    router = web.UrlDispatcher()
    router.add_route("GET", "/health", answer_own_route)
    router.add_route("GET", "/orders/{id}", answer_own_route)
    everything_else = CatchAll()
    everything_else.add_route("*", answer)
    router.register_resource(everything_else)
    return router


@pytest.mark.parametrize("path", ["/", "/iserver/accounts", "/a/b/c/", "/health/x", "/orders", "/%2F"])
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "PURGE"])
async def test_every_other_path_and_method_is_matched(router: web.UrlDispatcher, method: str, path: str) -> None:
    """The pass-through decides what they are."""
    match = await router.resolve(make_mocked_request(method, path))

    assert match.http_exception is None
    assert match.handler is answer


@pytest.mark.parametrize(("method", "path"), [("GET", "/health"), ("GET", "/orders/7")])
async def test_a_route_of_its_own_comes_first(router: web.UrlDispatcher, method: str, path: str) -> None:
    """The longer path is looked up first."""
    assert (await router.resolve(make_mocked_request(method, path))).handler is answer_own_route


async def test_another_method_of_a_known_path_is_matched_too(router: web.UrlDispatcher) -> None:
    """The pass-through answers 405 with the methods that the path has."""
    assert (await router.resolve(make_mocked_request("POST", "/health"))).handler is answer
