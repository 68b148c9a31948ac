"""Files for developers: the OpenAPI document, the page that shows it, and the client for TypeScript.

The page is one file that asks no other host for anything; its Content-Security-Policy forbids it. It contains the
document, so it can be saved and read without the bridge.
"""

from __future__ import annotations

import asyncio
import base64
import functools
import hashlib
import re
from pathlib import Path

from aiohttp import web

from ibkr_bridge.server.app_keys import OPENAPI

PAGE_FILE = Path(__file__).with_name("pages") / "docs.html"
CLIENT_FILE = PAGE_FILE.with_name("client.ts")
PLACE = b"{{ openapi }}"  # where the page has the document
INLINE = re.compile(rb"<(script|style)>(.*?)</\1>", re.DOTALL)


async def openapi(request: web.Request) -> web.Response:
    """The routes of the bridge as an OpenAPI document."""
    return web.Response(body=await _document(request), content_type="application/json")


async def docs(request: web.Request) -> web.Response:
    """The page that shows the document and tries its reads."""
    body = page(await _document(request))
    headers = {"Content-Security-Policy": content_security_policy(body), "Referrer-Policy": "no-referrer"}
    return web.Response(body=body, headers=headers, content_type="text/html", charset="utf-8")


async def client(_: web.Request) -> web.Response:
    """The client for TypeScript as one file, of the version of this bridge."""
    return web.Response(body=CLIENT_FILE.read_bytes(), content_type="text/plain", charset="utf-8")


async def _document(request: web.Request) -> bytes:
    """The document. It takes a tenth of a second to build, in which no other request may wait: so on a thread."""
    return await asyncio.to_thread(request.app[OPENAPI])


@functools.cache
def page(document: bytes) -> bytes:
    """The page with the document in it. A `<` inside JSON could end the element, so it is escaped."""
    return PAGE_FILE.read_bytes().replace(PLACE, document.replace(b"<", rb"\u003c"))


@functools.cache
def content_security_policy(body: bytes) -> str:
    """Allow the page its own script and style, named by their digests, and requests to its own bridge; nothing else."""
    digests: dict[bytes, str] = {
        name: base64.b64encode(hashlib.sha256(text).digest()).decode() for name, text in INLINE.findall(body)
    }
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src 'sha256-{digests[b'script']}'",
            f"style-src 'sha256-{digests[b'style']}'",
            "img-src data:",  # the empty icon: else a browser requests one from the bridge
            *("connect-src 'self'", "base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'"),
        )
    )
