"""What the system knows of a caller's connection at this moment, before the event loop hears of it."""

from __future__ import annotations

import asyncio
import select


def has_hung_up(transport: asyncio.BaseTransport) -> bool:
    """Whether the other end has hung up, or the connection is broken."""
    return bool(_poll(transport, select.POLLRDHUP))


def is_reset(transport: asyncio.BaseTransport) -> bool:
    """Whether what was written last was refused: it reached an end that had hung up, or did so without reading it."""
    return bool(_poll(transport, 0) & (select.POLLERR | select.POLLHUP))


def _poll(transport: asyncio.BaseTransport, events: int) -> int:
    """What is true of these; errors and hang-ups are told unasked."""
    number = transport.get_extra_info("socket").fileno()
    if number < 0:
        return 0
    poll = select.poll()
    poll.register(number, events)
    return sum(found for _, found in poll.poll(0))
