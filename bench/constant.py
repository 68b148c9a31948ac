"""The yardstick for cached reads: an aiohttp server that checks the key and always sends the same body.

    python -m bench.constant PORT

No server made with aiohttp can answer faster than this.
"""

from __future__ import annotations

import hmac
import os
import sys

from aiohttp import web

from bench.programs import MEASURED_PATH

BODY = b'[{"id":"DU1234567","accountId":"DU1234567","accountVan":"DU1234567","currency":"USD","type":"DEMO"}]'
KEY = os.environ.get("BENCH_KEY", "").encode()


async def send_constant(request: web.Request) -> web.Response:
    """Send the constant body, or 401 if the key is wrong."""
    if not hmac.compare_digest(request.headers.get("X-Bridge-Key", "").encode(), KEY):
        return web.Response(status=401)
    return web.Response(body=BODY, content_type="application/json")


def make_app() -> web.Application:
    """Return the application with its one route."""
    app = web.Application()
    app.router.add_get(MEASURED_PATH, send_constant)
    return app


if __name__ == "__main__":
    web.run_app(make_app(), host="127.0.0.1", port=int(sys.argv[1]), access_log=None, print=None)
