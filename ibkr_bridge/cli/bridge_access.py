"""How commands reach a running bridge, and the short text for a person if that fails."""

from __future__ import annotations

import json
import os
import sys

from ibkr_bridge.cli import EXIT_FAILURE, settings_message
from ibkr_bridge.cli.demo_file import DemoFile, find_demo
from ibkr_bridge.client import BridgeClient, BridgeRefused, ClientError
from ibkr_bridge.config.settings import Settings, SettingsError, load_settings, merge_sources
from ibkr_bridge.config.sources import SECRET_NAMES, dotenv_path
from ibkr_bridge.redaction import escape_unprintable

TIMEOUT_S = 10.0  # a person waits no longer; the client's own default would be minutes
# The bridge's own hint names the header that programs send.
WRONG_KEY = "the bridge does not accept this key", "use the IBKR_BRIDGE_KEY that the bridge runs with"


def client_settings() -> Settings:
    """The settings that a daemon would have if it were started here; without any, those of a running demo.

    Raises:
        SettingsError: the settings cannot be used.
    """
    demo = demo_without_settings()
    return load_settings({**os.environ, **(demo.settings if demo is not None else {})}, dotenv_path())


def settings_or_report() -> Settings | None:
    """The same; None if they cannot be used, after every problem was printed."""
    try:
        return client_settings()
    except SettingsError as exc:
        print(settings_message(exc), file=sys.stderr)
        return None


def demo_without_settings() -> DemoFile | None:
    """The running demo, if no settings name another bridge; None if there is none, or if they do.

    The key of the demo names no other bridge: `serve` refuses it, and the demo itself says to export it.
    """
    settings, demo = merge_sources(os.environ, dotenv_path()), find_demo()
    if demo is None or settings.get("IBKR_BRIDGE_URL", "").strip() not in ("", demo.url):
        return None
    keys = {settings.get(name, "").strip() for name in SECRET_NAMES} - {""}
    names_other_parts = any(settings.get(name, "").strip() for name in ("IBKR_GATEWAY_URL", "IBKR_BRIDGE_STATE_DIR"))
    return demo if not keys or (keys == {demo.key} and not names_other_parts) else None


def open_client(settings: Settings) -> BridgeClient:
    """A client with a short timeout and without repeats, since a person waits for it."""
    return BridgeClient(str(settings.url), settings.key, timeout=TIMEOUT_S, repeats=0)


def summarise(error: ClientError) -> tuple[str, str]:
    """What happened and what to do about it, each in one line."""
    if error.code == "invalid_key":
        return WRONG_KEY
    detail = f"the bridge refused ({error.code})" if isinstance(error, BridgeRefused) else error.detail
    return detail, error.hint


def report_failure(error: ClientError, *, as_json: bool, **members: object) -> int:
    """Print why the bridge did not do it, in one line. Returns the exit status.

    Args:
        members: what the JSON has beside the error.
    """
    text = ": ".join(summarise(error))
    print(json.dumps({**members, "error": text}) if as_json else escape_unprintable(text), flush=True)
    return EXIT_FAILURE
