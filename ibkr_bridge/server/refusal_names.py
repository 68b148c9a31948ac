"""The name of what was refused, for the log, where that is harmless. Pure.

A path can hold an account number, and whatever a stranger sends can hold a key. So only short words are named: a key
has 32 characters at least, and an account number has digits.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from ibkr_bridge.errors import BridgeError, HostNotAllowed, NotBridged, OriginNotAllowed

WORD = re.compile(r"[A-Za-z][A-Za-z_.-]{0,19}")
LABEL = r"[a-z0-9-]{1,20}"
PORT = r":[0-9]{1,5}"
HOST = re.compile(rf"{LABEL}(\.{LABEL}){{1,5}}({PORT})?|{LABEL}{PORT}|\[[0-9a-f:.]{{2,39}}\]({PORT})?")
"""A name with a dot or a port, or an address: a single word may be anything."""


def shown_path(path: str) -> str | None:
    """The first segment of a path, which says which part of an API was called; None if it may be a secret."""
    first = path.partition("?")[0].lstrip("/").split("/")[0]
    return f"/{first}" if WORD.fullmatch(first) else None


def shown_host(host: str) -> str | None:
    """A host and its port, None if it may be something else."""
    return host.lower() if HOST.fullmatch(host.lower()) else None


def shown_origin(origin: str) -> str | None:
    """The host of the page that sent a request."""
    return shown_host(origin.rpartition("//")[2])


NAMES: Mapping[type[BridgeError], Callable[[str, Mapping[str, str]], str | None]] = {
    NotBridged: lambda path, _: shown_path(path),
    HostNotAllowed: lambda _, headers: shown_host(headers.get("Host", "")),
    OriginNotAllowed: lambda _, headers: shown_origin(headers.get("Origin", "")),
}


def refused_name(error: BridgeError, path: str, headers: Mapping[str, str]) -> str | None:
    """What was refused, as people may see it; None if the error does not say so, or it may be a secret.

    Args:
        error: why it was refused.
        path: the path, as it was sent.
        headers: of the request.
    """
    name = NAMES.get(type(error))
    return name(path, headers) if name is not None else None
