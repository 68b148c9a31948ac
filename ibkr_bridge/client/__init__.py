"""A synchronous Python client of the bridge, built on requests (docs/client.md). The command line uses it too.

Import everything from here; the modules below are not part of the interface.
"""

from __future__ import annotations

from ibkr_bridge.client.client import BridgeClient
from ibkr_bridge.client.errors import (
    AccessDenied,
    BridgeConnectionLost,
    BridgeRefused,
    BridgeTimeout,
    BridgeUnreachable,
    ClientError,
    Conflict,
    GatewayError,
    IbkrError,
    Internal,
    InvalidRequest,
    NoResponse,
    NotJson,
    NotThisBridge,
    OrderUnknown,
    Refused,
    TemporarilyUnavailable,
)
from ibkr_bridge.client.reply import Reply
from ibkr_bridge.config.settings import SettingsError

__all__ = [
    "AccessDenied",
    "BridgeClient",
    "BridgeConnectionLost",
    "BridgeRefused",
    "BridgeTimeout",
    "BridgeUnreachable",
    "ClientError",
    "Conflict",
    "GatewayError",
    "IbkrError",
    "Internal",
    "InvalidRequest",
    "NoResponse",
    "NotJson",
    "NotThisBridge",
    "OrderUnknown",
    "Refused",
    "Reply",
    "SettingsError",
    "TemporarilyUnavailable",
]
