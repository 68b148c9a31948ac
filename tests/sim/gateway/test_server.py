"""The Gateway's port: what happens to connections while the Gateway stops, closes its port or opens it again."""

from __future__ import annotations

import asyncio
import gc
import socket
import ssl
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

import pytest

from ibkr_bridge.sim import Simulator
from ibkr_bridge.sim.faults import Faults
from ibkr_bridge.sim.gateway.server import Gateway
from ibkr_bridge.sim.market_stage import browser_tls, fetch_page
from ibkr_bridge.sim.tasks import Tasks
from tests.clocks import ManualClock
from tests.harness import with_timeout
from tests.sim.wire import connect

SERVER_HELLO_DONE = b"\x0e\x00\x00\x00"  # the last bytes of the server's first flight (RFC 5246, 7.4.5)


async def test_a_connection_accepted_in_the_moment_of_a_stop_is_closed(
    sim: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stop may cancel the task of a connection before the task has made its first step."""
    start_task = Tasks.start

    def start_cancelled(tasks: Tasks, work: Coroutine[Any, Any, Any], name: str | None = None) -> asyncio.Task[Any]:
        task = start_task(tasks, work, name)
        if name == "gateway client":
            task.cancel()
        return task

    monkeypatch.setattr(Tasks, "start", start_cancelled)

    wire = await connect(sim)

    assert await with_timeout(wire.read_to_end()) == b""
    wire.abort()


async def test_a_handshake_that_ends_after_the_port_was_closed_is_dropped(sim: Simulator) -> None:
    """`refuse` drops every connection; one that was still in its TLS handshake is not served either."""
    reader, writer = await asyncio.open_connection("127.0.0.1", sim.port)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = browser_tls().wrap_bio(incoming, outgoing)

    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    writer.write(outgoing.read())
    incoming.write(await with_timeout(reader.readuntil(SERVER_HELLO_DONE)))
    sim.faults.add("refuse")
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    writer.write(outgoing.read())

    with suppress(ConnectionResetError):
        while await with_timeout(reader.read(65536)):
            pass  # the end of the handshake
    writer.transport.abort()


async def test_a_port_closed_while_it_is_being_opened_can_be_opened_again(sim: Simulator) -> None:
    """Closing the socket under a server that is about to listen would leave its number in the event loop."""
    await sim.gateway.stop()
    starting = asyncio.ensure_future(sim.gateway.start(sim.market.port))
    await asyncio.sleep(0)
    sim.gateway.close_port()
    await starting

    sim.gateway.reopen_port()

    assert (await with_timeout(fetch_page(sim.port, "/clear"))).endswith(b"cleared")


async def test_a_refusal_that_is_cleared_during_a_restart_does_not_break_the_restart(sim: Simulator) -> None:
    """While the Gateway stops, only the restart may open the port again."""
    sim.faults.add("refuse")
    sim.faults.add("restart")
    await asyncio.sleep(0)  # the restart has begun to stop the Gateway

    sim.faults.clear("refuse")
    await with_timeout(sim.wait_for_events())

    assert (await with_timeout(fetch_page(sim.port, "/clear"))).endswith(b"cleared")


async def test_a_refusal_that_is_cleared_after_a_stop_leaves_the_port_closed(sim: Simulator) -> None:
    """A timer may clear the refusal later; nobody would close the port again."""
    sim.faults.add("refuse")
    await sim.gateway.stop()

    sim.faults.clear("refuse")

    with pytest.raises(ConnectionRefusedError):
        await connect(sim)


async def test_a_port_in_use_leaves_no_socket_open(clock: ManualClock) -> None:
    """The garbage collector warns of an open socket, and a warning fails the test."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        gateway = Gateway(clock, Faults(), port=other.getsockname()[1])

        with pytest.raises(OSError, match="in use"):
            gateway.open_port()
        gc.collect()
