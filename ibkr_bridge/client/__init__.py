"""A synchronous Python client of the bridge, built on requests (docs/client.md). The command line uses it too.

Import everything from here; the modules below are not part of the interface. The shapes of the answers are in
`ibkr_bridge.models`.
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
from ibkr_bridge.models.base import AssetClass, Side
from ibkr_bridge.models.orders import (
    Bracket,
    OrderChange,
    OrderState,
    OrderStatus,
    OrderTicket,
    OrderType,
    TimeInForce,
    Trail,
    TrailUnit,
)

__all__ = [
    "AccessDenied",
    "AssetClass",
    "Bracket",
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
    "OrderChange",
    "OrderState",
    "OrderStatus",
    "OrderTicket",
    "OrderType",
    "OrderUnknown",
    "Refused",
    "Reply",
    "SettingsError",
    "Side",
    "TemporarilyUnavailable",
    "TimeInForce",
    "Trail",
    "TrailUnit",
]
