"""What the operating system knows of a caller's connection now; the event loop learns it later."""

from __future__ import annotations

import asyncio
import select


def has_hung_up(transport: asyncio.BaseTransport) -> bool:
    """Whether the client has closed its side, or the connection is broken."""
    return bool(_poll(transport, select.POLLRDHUP))


def is_reset(transport: asyncio.BaseTransport) -> bool:
    """Whether the client reset the connection: it closed it before or without reading what was written last."""
    return bool(_poll(transport, 0) & (select.POLLERR | select.POLLHUP))


def _poll(transport: asyncio.BaseTransport, events: int) -> int:
    """Which of these poll events are set; errors and hang-ups are reported in any case."""
    number = transport.get_extra_info("socket").fileno()
    if number < 0:
        return 0
    poll = select.poll()
    poll.register(number, events)
    return sum(flags for _, flags in poll.poll(0))
