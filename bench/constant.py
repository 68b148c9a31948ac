"""The yardstick for what is remembered: aiohttp that looks at the key and says the same thing every time.

    python -m bench.constant PORT

No server made with aiohttp can answer faster than this.
"""

from __future__ import annotations

import hmac
import os
import sys

from aiohttp import web

from bench.programs import ASKED

ANSWER = b'[{"id":"DU1234567","accountId":"DU1234567","accountVan":"DU1234567","currency":"USD","type":"DEMO"}]'
KEY = os.environ.get("BENCH_KEY", "").encode()


async def answer(request: web.Request) -> web.Response:
    """The constant, for whoever knows the key."""
    if not hmac.compare_digest(request.headers.get("X-Bridge-Key", "").encode(), KEY):
        return web.Response(status=401)
    return web.Response(body=ANSWER, content_type="application/json")


def application() -> web.Application:
    """One route."""
    app = web.Application()
    app.router.add_get(ASKED, answer)
    return app


if __name__ == "__main__":
    web.run_app(application(), host="127.0.0.1", port=int(sys.argv[1]), access_log=None, print=None)
