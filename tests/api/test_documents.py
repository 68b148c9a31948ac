"""The OpenAPI document and the page that shows it, as a running bridge serves them."""

from __future__ import annotations

import json
import re

import pytest

from ibkr_bridge import VERSION
from ibkr_bridge.api.documents import PAGE_FILE, content_security_policy, page
from ibkr_bridge.api.openapi.document import build_document
from tests.harness import Harness

PATHS = ("/openapi.json", "/docs", "/client.ts")


async def test_the_document_is_served(harness: Harness) -> None:
    """It is the one that `docs/openapi.json` has."""
    reply = await harness.get("/openapi.json")

    assert (reply.status, reply.headers["Content-Type"]) == (200, "application/json")
    assert reply.json == build_document()


@pytest.mark.parametrize("path", PATHS)
async def test_a_browser_may_send_a_token_in_the_query(harness: Harness, path: str) -> None:
    """It cannot send a header when it opens an address. Without a token nothing is shown."""
    token = (await harness.post("/auth/token")).json["token"]

    assert (await harness.get(f"{path}?token={token}", key=None)).status == 200
    assert (await harness.get(path, key=None)).code == "invalid_key"


async def test_the_client_is_that_of_this_version(harness: Harness) -> None:
    """An app that copies it knows for which bridge it was made."""
    reply = await harness.get("/client.ts")

    assert reply.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert f"version {VERSION}:" in reply.body.decode()
    assert "export function createBridge" in reply.body.decode()


async def test_the_page_may_send_nothing_to_another_host(harness: Harness) -> None:
    """Its policy allows its own script and style and requests to the bridge, and it tells no other page its address."""
    reply = await harness.get("/docs")
    policy = dict(part.split(" ", 1) for part in reply.headers["Content-Security-Policy"].split("; "))

    assert (policy["default-src"], policy["connect-src"]) == ("'none'", "'self'")
    assert re.fullmatch(r"'sha256-[A-Za-z0-9+/]{43}='", policy["script-src"])
    assert reply.headers["Referrer-Policy"] == "no-referrer"
    assert reply.headers["Content-Type"] == "text/html; charset=utf-8"


async def test_the_page_contains_the_document(harness: Harness) -> None:
    """So it needs no second request, and can be saved."""
    body = (await harness.get("/docs")).body.decode()
    found = re.search(r'<script id="openapi" type="application/json">(.*?)</script>', body, re.DOTALL)

    assert found is not None
    assert json.loads(found[1]) == build_document()


def test_no_text_of_the_document_can_end_its_element() -> None:
    """A description with `</script>` would run as a page of its own."""
    assert b"</script><b>" not in page(b'{"a": "</script><b>"}')


def test_the_page_has_no_address_and_no_inline_handler() -> None:
    """Its policy would block them."""
    text = PAGE_FILE.read_text()

    assert re.findall(r"(?:src|href)=[\"']?(?:https?:)?//", text) == []
    assert re.findall(r"\son[a-z]+=|style=\"|innerHTML|eval\(", text) == []
    assert content_security_policy(page(b"{}")).count("sha256-") == 2
