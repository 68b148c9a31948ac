"""How commands ask a running bridge, and what a person is told in short when it cannot be asked."""

from __future__ import annotations

import os

from ibkr_bridge.client import BridgeClient, BridgeRefused, ClientError
from ibkr_bridge.config.settings import Settings, load_settings
from ibkr_bridge.config.sources import dotenv_path

TIMEOUT_S = 10.0  # seconds
WRONG_KEY = "the bridge knows another key", "use the IBKR_BRIDGE_KEY it runs with"  # its own hint is for programs


def client_settings() -> Settings:
    """The settings the daemon would have, started here.

    Raises:
        SettingsError: they cannot be used.
    """
    return load_settings(os.environ, dotenv_path())


def open_client(settings: Settings) -> BridgeClient:
    """A client that does not keep a person waiting."""
    return BridgeClient(str(settings.url), settings.key, timeout=TIMEOUT_S, repeats=0)


def summarise(error: ClientError) -> tuple[str, str]:
    """What was met instead of an answer, and what to do about it."""
    if error.code == "invalid_key":
        return WRONG_KEY
    found = f"the bridge refused ({error.code})" if isinstance(error, BridgeRefused) else error.detail
    return found, error.hint
