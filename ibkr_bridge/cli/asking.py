"""How commands ask a running bridge, and what a person is told when it cannot be asked."""

from __future__ import annotations

import os
from typing import Any

import requests

from ibkr_bridge.cli import dotenv_path
from ibkr_bridge.settings import Settings, load

WITHIN = 10.0  # seconds
OURS = "X-Bridge-Mode"  # a header of every answer of the bridge; port 8000 is popular


class NotAnswered(Exception):
    """The bridge could not be asked.

    Args:
        found: what was met instead.
        mend: what to do about it.
    """

    def __init__(self, found: str, mend: str) -> None:
        super().__init__(f"{found}: {mend}")
        self.found = found
        self.mend = mend


def settings() -> Settings:
    """The settings the daemon would have, started here.

    Raises:
        SettingsError: they cannot be used.
    """
    return load(os.environ, dotenv_path())


def ask(told: Settings, path: str) -> dict[str, Any]:
    """One JSON answer of the bridge.

    Raises:
        NotAnswered: nobody is there, or the answer is a refusal.
    """
    with requests.Session() as session:
        session.trust_env = False  # no proxy stands between us and loopback
        try:
            reply = session.get(f"{told.url}{path}", headers={"X-Bridge-Key": told.key}, timeout=WITHIN)
            body = reply.json() if OURS in reply.headers else None
        except requests.ConnectionError as exc:
            raise NotAnswered(
                f"nothing answers at {told.url}", "start the bridge (python bridge.py), or correct IBKR_BRIDGE_URL"
            ) from exc
        except requests.Timeout as exc:
            raise NotAnswered(f"{told.url} does not answer", "look into its log; restart it if this lasts") from exc
        except (requests.RequestException, ValueError):
            body = None
    if not isinstance(body, dict):
        raise NotAnswered(f"what answers at {told.url} is not this bridge", "correct IBKR_BRIDGE_URL")
    if reply.status_code == 401:
        raise NotAnswered("the bridge knows another key", "use the IBKR_BRIDGE_KEY it runs with")
    if not reply.ok:
        raise NotAnswered(f"the bridge refused ({body.get('code')})", str(body.get("hint")))
    return body
