"""How commands ask a running bridge, and what a person is told in short when it cannot be asked."""

from __future__ import annotations

import os

from ibkr_bridge.client import BridgeClient, BridgeSaidNo, ClientError
from ibkr_bridge.config.settings import Settings, load
from ibkr_bridge.config.sources import dotenv_path

WITHIN = 10.0  # seconds
ANOTHER_KEY = "the bridge knows another key", "use the IBKR_BRIDGE_KEY it runs with"  # its own hint is for programs


def settings() -> Settings:
    """The settings the daemon would have, started here.

    Raises:
        SettingsError: they cannot be used.
    """
    return load(os.environ, dotenv_path())


def open_client(told: Settings) -> BridgeClient:
    """A client that does not keep a person waiting."""
    return BridgeClient(str(told.url), told.key, timeout=WITHIN, repeats=0)


def in_short(error: ClientError) -> tuple[str, str]:
    """What was met instead of an answer, and what to do about it."""
    if error.code == "bad_key":
        return ANOTHER_KEY
    found = f"the bridge refused ({error.code})" if isinstance(error, BridgeSaidNo) else error.detail
    return found, error.hint
