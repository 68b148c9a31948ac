"""What the Gateway answers by itself, and how it changes what it forwards."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as some

from ibkr_bridge.sim.gateway.rules import (
    Settings,
    is_allowed,
    is_unanswerable,
    own_response,
    upstream_headers,
    upstream_target,
)
from ibkr_bridge.sim.gateway.wire import Head


@pytest.mark.parametrize(
    ("sent", "arrives"),
    [
        ("/v1/api/a%2Fb+{}|..//x?a&a=&a=1", "/v1/api/a%2Fb+{}|..//x?a&a=&a=1"),
        ("/v1/portal/tickle?x=/v1/portal", "/v1/api/tickle?x=/v1/api"),
        ("/v1/api/caf\xc3\xa9", "/v1/api/caf\xc3\x83\xc2\xa9"),
    ],
)
def test_targets_are_forwarded_unchanged_with_two_exceptions(sent: str, arrives: str) -> None:
    """The old prefix is replaced everywhere, and bytes beyond ASCII are doubled."""
    assert upstream_target(sent) == arrives


@pytest.mark.parametrize(
    ("settings", "address", "allowed"),
    [
        (Settings(), "127.0.0.1", True),
        (Settings(), "10.1.2.3", True),
        (Settings(), "192.168.1.1", True),
        (Settings(), "172.16.0.1", False),
        (Settings(deny=("127.*",)), "127.0.0.1", False),
        (Settings(deny=("0.0.0.0/0",)), "127.0.0.1", True),
        (Settings(allow=None), "8.8.8.8", True),
        (Settings(deny=None), "8.8.8.8", True),
    ],
)
def test_addresses_are_checked_against_two_lists(settings: Settings, address: str, allowed: bool) -> None:
    """Only stars have a meaning, not masks. If a list is missing, every address has access."""
    assert is_allowed(settings, address) is allowed


TEXT = some.text(some.characters(min_codepoint=1, max_codepoint=255), max_size=80)


@given(TEXT, some.lists(some.tuples(TEXT, TEXT), max_size=5))
def test_no_target_or_header_confuses_the_rules(target: str, headers: list[tuple[str, str]]) -> None:
    """Every request is answered, forwarded, or never answered."""
    head = Head("GET", target, "HTTP/1.1", tuple(headers))

    is_unanswerable(head)
    own_response(head, logged_in=True)
    upstream_target(target).encode("latin-1")
    upstream_headers(head, "api.ibkr.com", "")
