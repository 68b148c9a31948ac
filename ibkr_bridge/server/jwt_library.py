"""PyJWT without `cryptography`, which it imports wherever that is installed.

The bridge signs its tokens with HS256, for which PyJWT needs the standard library alone. `cryptography` costs 11 MB of
memory and 0.1 s of the start (measured); a bridge without a profile over OAuth never needs it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

UNNEEDED = "cryptography"


@contextmanager
def _hidden(name: str) -> Iterator[None]:
    """Let imports of a package fail as if it were not installed. One that was imported earlier stays as it is."""
    if name in sys.modules:
        yield
        return
    sys.modules[name] = None  # type: ignore[assignment]  # documented: the import system then raises
    try:
        yield
    finally:
        del sys.modules[name]


with _hidden(UNNEEDED):
    import jwt
    from jwt.types import Options

__all__ = ["Options", "jwt"]
