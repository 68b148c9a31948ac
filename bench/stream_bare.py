"""The yardstick for streams: aiohttp's own websockets, and a loop that sends every message to every reader.

BENCH_UPSTREAM=https://127.0.0.1:5000 BENCH_COMMANDS='["sor+{}"]' python -m bench.stream_bare PORT
"""

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import AsyncIterator

import aiohttp
from aiohttp import web

READERS = web.AppKey[set[web.WebSocketResponse]]("readers")


async def serve_reader(request: web.Request) -> web.WebSocketResponse:
    if request.headers.get("X-Bridge-Key") != os.environ["BENCH_KEY"]:
        raise web.HTTPUnauthorized
    reader = web.WebSocketResponse(compress=False)
    await reader.prepare(request)
    request.app[READERS].add(reader)
    try:
        async for _ in reader:
            pass
    finally:
        request.app[READERS].discard(reader)
    return reader


async def fan_out(app: web.Application) -> None:
    url = os.environ["BENCH_UPSTREAM"].replace("http", "ws", 1) + "/v1/api/ws"
    async with aiohttp.ClientSession() as client, client.ws_connect(url, ssl=False, max_msg_size=0) as upstream:
        async for message in upstream:
            text = message.data.decode()
            if '"success"' in text:
                for command in json.loads(os.environ["BENCH_COMMANDS"]):
                    await upstream.send_str(command)
            readers = app[READERS]
            for reader in tuple(readers):
                with contextlib.suppress(ConnectionError):
                    await reader.send_str(text)


async def run_fan_out(app: web.Application) -> AsyncIterator[None]:
    app[READERS] = set()
    task = asyncio.create_task(fan_out(app))
    yield
    task.cancel()


async def send_health(_: web.Request) -> web.Response:
    return web.Response()


if __name__ == "__main__":
    app = web.Application()
    app.cleanup_ctx.append(run_fan_out)
    app.router.add_get("/health", send_health)
    app.router.add_get("/ws", serve_reader)
    web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), access_log=None, print=None)
