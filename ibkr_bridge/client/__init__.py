"""The bridge from Python, on requests: for the command line and for Python programs (docs/client.md).

Import everything from here; the modules below are not part of the interface.
"""

from __future__ import annotations

from ibkr_bridge.client.client import BridgeClient
from ibkr_bridge.client.errors import (
    BridgeCutOff,
    BridgeSaidNo,
    BridgeSilent,
    BridgeUnreachable,
    ClientError,
    Conflict,
    GatewayTrouble,
    IbkrSaidNo,
    Internal,
    Malformed,
    NoAnswer,
    NoEntry,
    NotJson,
    NotNow,
    NotThisBridge,
    OrderUnknown,
    Refused,
)
from ibkr_bridge.client.reply import Reply
from ibkr_bridge.config.settings import SettingsError

__all__ = [
    "BridgeClient",
    "BridgeCutOff",
    "BridgeSaidNo",
    "BridgeSilent",
    "BridgeUnreachable",
    "ClientError",
    "Conflict",
    "GatewayTrouble",
    "IbkrSaidNo",
    "Internal",
    "Malformed",
    "NoAnswer",
    "NoEntry",
    "NotJson",
    "NotNow",
    "NotThisBridge",
    "OrderUnknown",
    "Refused",
    "Reply",
    "SettingsError",
]
