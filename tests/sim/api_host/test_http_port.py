"""The socket of the host."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest
from aiohttp import web

from ibkr_bridge.sim.api_host.http_port import HttpPort


async def test_calls_in_progress_end_with_the_port_and_the_port_stays() -> None:
    arrived, ended = asyncio.Event(), asyncio.Event()

    async def hold(request: web.Request) -> web.StreamResponse:
        arrived.set()
        try:
            await asyncio.get_running_loop().create_future()
            raise AssertionError("nothing sets this future")
        finally:
            ended.set()

    port = HttpPort(hold, 0, None)
    await port.start()
    number = port.number
    async with aiohttp.ClientSession() as session:
        call = asyncio.create_task(session.get(f"{port.scheme}://{port.address}/"))
        await arrived.wait()
        await port.stop()
        assert ended.is_set()
        with pytest.raises(aiohttp.ClientError):
            await call
    await port.start()
    assert port.number == number
    await port.stop()
