"""The rest of a large response, for tests of code that must close it."""

from __future__ import annotations

from collections.abc import AsyncIterator


class FakeBodyStream:
    """A body stream of one chunk; counts how often it was read and closed."""

    def __init__(self) -> None:
        self.read_count = self.close_count = 0

    async def chunks(self) -> AsyncIterator[bytes]:
        """See `BodyStream.chunks`."""
        self.read_count += 1
        yield b" " * 1000

    def close(self) -> None:
        """See `BodyStream.close`."""
        self.close_count += 1
