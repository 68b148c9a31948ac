"""Asks the running bridge, which knows the session and its conditions without another call to the Gateway.

Only the quote of one contract leads to a call, and only while the session is ready: it is the one way to see whether
the user has market data.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ibkr_bridge.cli.bridge_access import summarise
from ibkr_bridge.client import BridgeClient, ClientError
from ibkr_bridge.config.settings import Settings

TIMEOUT_S = 5.0
QUOTE_TIMEOUT_S = 8.0  # the first quote of a contract takes IBKR some seconds
CONTRACT_ID, CONTRACT = "265598", "AAPL"  # a contract id of IBKR never changes


@dataclass(frozen=True)
class BridgeAnswer:
    """What the bridge has said."""

    status: Mapping[str, Any] | None = None
    """The body of `/gateway/status`; None if it did not come."""
    error_code: str = ""
    error: str = ""
    fix: str = ""
    quote: Mapping[str, Any] | None = None
    """The quote of the contract; None if it was not requested, or did not come."""
    quote_error: str = ""

    @property
    def is_ready(self) -> bool:
        """Whether the brokerage session is open."""
        return self.status is not None and self.status["state"] == "ready"


def probe_bridge(settings: Settings) -> BridgeAnswer:
    """Ask for the status, and for a quote if that does no harm."""
    try:
        with BridgeClient(str(settings.url), settings.key, timeout=TIMEOUT_S, repeats=0) as client:
            status = client.status()
    except ClientError as exc:
        text, fix = summarise(exc)
        return BridgeAnswer(None, exc.code, text, fix)
    if not may_fetch_quote(status):
        return BridgeAnswer(status)
    return _with_quote(settings, status)


def may_fetch_quote(status: Mapping[str, Any]) -> bool:
    """Whether a call now takes nothing from others: the session is good, slots are free, and IBKR refuses nothing."""
    slots, penalty = status["slots"], status["penalty"]
    is_free = slots["ghost_calls"] == slots["waiting"] == 0 and slots["taken"] < slots["total"]
    return status["state"] == "ready" and is_free and not penalty["box_s"] and not penalty["endpoints"]


def _with_quote(settings: Settings, status: Mapping[str, Any]) -> BridgeAnswer:
    try:
        with BridgeClient(str(settings.url), settings.key, timeout=QUOTE_TIMEOUT_S, repeats=0) as client:
            quotes = client.get("/quotes", {"conids": CONTRACT_ID})["quotes"]
    except ClientError as exc:
        return BridgeAnswer(status, quote_error=": ".join(summarise(exc)))
    except (KeyError, TypeError):
        return BridgeAnswer(status, quote_error="the answer has no list of quotes")
    return BridgeAnswer(status, quote=quotes[0] if quotes else None)
