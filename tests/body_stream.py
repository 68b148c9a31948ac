"""The rest of an answer that is too large to come in one piece, for those who must let go of it."""

from __future__ import annotations

from collections.abc import AsyncIterator


class FakeBodyStream:
    """More of the same; counts how often it was read and let go."""

    def __init__(self) -> None:
        self.read_count = self.close_count = 0

    async def chunks(self) -> AsyncIterator[bytes]:
        """See `upstream.base.Rest.pieces`."""
        self.read_count += 1
        yield b" " * 1000

    def close(self) -> None:
        """See `upstream.base.Rest.close`."""
        self.close_count += 1
