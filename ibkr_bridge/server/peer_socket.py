"""What the operating system knows of a caller's connection now; the event loop learns it later."""

from __future__ import annotations

import asyncio
import fcntl
import select
import struct
import termios


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


def unread_bytes(transport: asyncio.WriteTransport) -> int:
    """Bytes that were written and that the client's machine has not taken: here, and in the kernel."""
    number = transport.get_extra_info("socket").fileno()
    if number < 0:
        return 0
    (in_kernel,) = struct.unpack("i", fcntl.ioctl(number, termios.TIOCOUTQ, bytes(4)))
    return transport.get_write_buffer_size() + int(in_kernel)
