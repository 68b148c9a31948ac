"""The rows of the table of routes."""

from __future__ import annotations

from aiohttp import web

from ibkr_bridge.api.route import Auth, document_route, keyed_route, probe_route, stream_route
from ibkr_bridge.errors import BadRequest, Busy, ShuttingDown
from ibkr_bridge.ibkr.endpoint import Effect


async def handler(_: web.Request) -> web.StreamResponse:
    """Answers nothing."""
    return web.Response()


def test_a_probe_answers_head_and_has_one_spelling() -> None:
    """Monitors use HEAD, and no other spelling is open."""
    route = probe_route("/x", handler, "A sentence.")

    assert (route.methods, route.spellings, route.auth) == (("GET", "HEAD"), ("/x",), Auth.OPEN)
    assert (route.media_type, route.may_be_503) == ("text/plain", True)


def test_a_document_takes_a_token_in_its_query() -> None:
    """A browser opens its address."""
    route = document_route("/x", handler, "text/html", "A sentence.")

    assert (route.token_in_query, route.media_type, route.auth) == (True, "text/html", Auth.KEY_OR_TOKEN)


def test_a_keyed_route_may_end_with_a_slash() -> None:
    """Some HTTP libraries add it."""
    route = keyed_route("POST", "/x", Effect.TRADE, handler, "A sentence.")

    assert (route.methods, route.spellings, route.auth) == (("POST",), ("/x", "/x/"), Auth.KEY_OR_TOKEN)


def test_a_stream_has_no_end_and_takes_a_token_in_its_query() -> None:
    """Browsers open it without headers."""
    route = stream_route("/x", handler, "A sentence.", BadRequest)

    assert (route.endless, route.token_in_query, route.errors) == (True, True, (BadRequest, Busy, ShuttingDown))
