"""How commands ask a running bridge, and what a person is told when it cannot be asked."""

from __future__ import annotations

import os
from typing import Any

import requests

from ibkr_bridge.cli import dotenv_path
from ibkr_bridge.settings import Settings, load

WITHIN = 10.0  # seconds


class NotAnswered(Exception):
    """The bridge could not be asked; the message says why and what to do."""


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
            body = reply.json()
        except requests.ConnectionError as exc:
            raise NotAnswered(f"nothing answers at {told.url}: start the bridge, or correct IBKR_BRIDGE_URL") from exc
        except (requests.RequestException, ValueError) as exc:
            raise NotAnswered(f"what answers at {told.url} is not this bridge") from exc
    if not reply.ok:
        raise NotAnswered(f"the bridge refused: {body.get('detail')}; {body.get('hint')}")
    return dict(body)
