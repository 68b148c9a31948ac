"""The reasons of `stale`: complete, and the same on the page as in the code."""

from __future__ import annotations

import re
from pathlib import Path

from ibkr_bridge.errors import GatewayForbidden, GatewayProtocolError, GatewayTimeout, GatewayUnreachable
from ibkr_bridge.session.state_machine import REASONS
from ibkr_bridge.streaming.stale_reasons import (
    NO_STREAM,
    SESSION_LOST,
    STALE_REASONS,
    STREAM_DISCONNECTED,
    STREAM_TIMEOUT,
    TOPIC_SILENT,
    stale_text,
)
from tools.marked_section import read_section

PAGE = Path(__file__).resolve().parents[2] / "docs" / "streaming.md"
FAILED_OPENINGS = (GatewayForbidden, GatewayProtocolError, GatewayTimeout, GatewayUnreachable)


def test_every_reason_there_can_be_has_a_text() -> None:
    """They are the feed's own, those of a session that is not ready, and those of a websocket that cannot be opened."""
    own = {"starting", NO_STREAM, SESSION_LOST, STREAM_DISCONNECTED, STREAM_TIMEOUT, TOPIC_SILENT}

    assert set(STALE_REASONS) == own | (set(REASONS.values()) - {"ready"}) | {each.code for each in FAILED_OPENINGS}


def test_the_page_has_the_reasons_of_the_code() -> None:
    """A program switches on them, and a person reads what they mean."""
    section = read_section(PAGE.read_text("utf-8"), "stale reasons")
    rows = dict(re.findall(r"^\| `([a-z_]+)` \| (.+) \|$", section, re.MULTILINE))

    assert rows == dict(STALE_REASONS)


def test_each_text_is_a_sentence() -> None:
    """A page may show it as it is."""
    assert [text for text in STALE_REASONS.values() if not re.fullmatch(r"[A-Z].*\.", text)] == []


def test_an_unknown_reason_has_a_text_too() -> None:
    """A reason that is new must not end the stream."""
    assert stale_text("never_seen").endswith(".")
