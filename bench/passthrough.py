"""The first yardstick: the smallest proxy with aiohttp. It checks the key, sends the call on and returns the response.

BENCH_UPSTREAM=http://127.0.0.1:5000 python -m bench.passthrough PORT
"""

import os
import sys
from collections.abc import AsyncIterator

import aiohttp
from aiohttp import web

CLIENT = web.AppKey("client", aiohttp.ClientSession)


async def forward(request: web.Request) -> web.Response:
    if request.headers.get("X-Bridge-Key") != os.environ["BENCH_KEY"]:
        raise web.HTTPUnauthorized
    url = f"{os.environ['BENCH_UPSTREAM']}/v1/api{request.path_qs}"
    async with request.app[CLIENT].request(request.method, url, data=await request.read(), ssl=False) as response:
        headers = {"Content-Type": response.headers["Content-Type"]}
        return web.Response(status=response.status, body=await response.read(), headers=headers)


async def open_client(app: web.Application) -> AsyncIterator[None]:
    async with aiohttp.ClientSession(headers={"User-Agent": "bench"}) as app[CLIENT]:
        yield


if __name__ == "__main__":
    app = web.Application()
    app.cleanup_ctx.append(open_client)
    app.router.add_route("*", "/{tail:.*}", forward)
    web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), access_log=None, print=None)
