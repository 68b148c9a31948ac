"""The name of what was refused, for the log, where that is harmless."""

from __future__ import annotations

import json
import secrets
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ibkr_bridge.errors import HostNotAllowed, InvalidKey, NotBridged, OriginNotAllowed
from ibkr_bridge.server.refusal_names import refused_name, shown_host, shown_origin, shown_path
from ibkr_bridge.sim.simulator import Simulator
from tests.harness import KEY, Harness

ACCOUNT = "DU1234567"


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("/trsrv/secdef?conids=1", "/trsrv"),
        ("/admin.php", "/admin.php"),
        ("/", None),
        (f"/{ACCOUNT}/orders", None),
        (f"/{KEY}", None),
        ("/%2e%2e/x", None),
        ("/iserver/account/DU1234567", "/iserver"),
    ],
)
def test_of_a_path_only_the_first_word_is_shown(path: str, shown: str | None) -> None:
    """The rest may be an account number."""
    assert shown_path(path) == shown


@pytest.mark.parametrize(
    ("host", "shown"),
    [
        ("Evil.example:8000", "evil.example:8000"),
        ("10.0.0.5", "10.0.0.5"),
        ("[::1]:8000", "[::1]:8000"),
        ("bridge:8000", "bridge:8000"),
        ("bridge", None),
        ("", None),
        (KEY, None),
        (f"{KEY}:8000", None),
        ("a b", None),
        ("host/../x", None),
    ],
)
def test_a_host_is_shown_if_it_looks_like_one(host: str, shown: str | None) -> None:
    """Somebody may send a key in its place."""
    assert shown_host(host) == shown


def test_of_a_page_the_host_is_shown() -> None:
    """The person who looks for the page needs no more."""
    assert shown_origin("https://shop.example") == "shop.example"
    assert shown_origin("null") is None


@given(st.sampled_from([shown_path, shown_host, shown_origin]), st.integers(24, 64))
def test_no_key_is_ever_shown(show: object, length: int) -> None:
    """Whatever a stranger sends."""
    key = secrets.token_urlsafe(length)[:length]

    assert callable(show)
    assert key.lower() not in (show(key) or "").lower()


def test_other_errors_name_nothing() -> None:
    """They concern no path and no host."""
    assert refused_name(InvalidKey("the key is missing or wrong"), "/trsrv/x", {"Host": "evil.example"}) is None
    assert refused_name(NotBridged("no"), "/trsrv/x", {}) == "/trsrv"
    assert refused_name(HostNotAllowed("no"), "/", {}) is None
    assert refused_name(OriginNotAllowed("no"), "/", {"Origin": "https://shop.example"}) == "shop.example"


def request_lines(harness: Harness) -> list[dict[str, Any]]:
    """The lines of the log about requests."""
    lines = [json.loads(text) for text in harness.written.getvalue().splitlines()]
    return [line for line in lines if line["event"] == "request"]


async def test_the_log_names_what_was_refused(harness: Harness) -> None:
    """An operator sees which page or host it was, and which part of the API."""
    await harness.get("/trsrv/secdef")
    await harness.get("/session", headers={"Host": "evil.example"})
    await harness.get("/session", headers={"Origin": "https://shop.example"})

    lines = [line for line in request_lines(harness) if line.get("refused")]
    assert [(line["code"], line["refused"]) for line in lines] == [
        ("not_bridged", "/trsrv"),
        ("host_not_allowed", "evil.example"),
        ("origin_not_allowed", "shop.example"),
    ]


async def test_the_log_has_ibkrs_own_words_where_it_refuses(harness: Harness, sim: Simulator) -> None:
    """Redacted: an account number in them is masked."""
    words = f'{{"error":"no trading permission for {ACCOUNT}"}}'
    sim.faults.add("status", path="/iserver/account/trades", status=400, body=words)
    sim.faults.add("status", path="/portfolio/", status=401, body=words)

    passed, refused = await harness.get("/iserver/account/trades"), await harness.get(f"/portfolio/{ACCOUNT}/summary")

    lines = [line for line in request_lines(harness) if line.get("ibkr_message")]
    assert (passed.status, refused.code) == (400, "upstream_refused")
    assert [line["status"] for line in lines] == [400, 403]
    assert lines[0]["ibkr_message"] == "no trading permission for DU*****67"
    assert "IBKR says: no trading permission" in lines[1]["ibkr_message"]
    assert ACCOUNT not in harness.written.getvalue()
