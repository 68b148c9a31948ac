"""Decompresses responses that came compressed although this was not requested, so that they can be read. Pure."""

from __future__ import annotations

import zlib
from dataclasses import replace

from ibkr_bridge.calls.messages import MAX_KEPT_BYTES, Response

GZIP_OR_ZLIB = 47  # zlib's value for "detect which of them it is"
KNOWN_ENCODINGS = ("gzip", "x-gzip", "deflate")
CONTENT_ENCODING = "Content-Encoding"


def decompress(response: Response) -> Response:
    """The decompressed response; unchanged if it is incomplete, damaged, too large, or has an unknown encoding."""
    encoding = response.headers.get(CONTENT_ENCODING, "").strip().lower()
    if encoding not in KNOWN_ENCODINGS or response.body_stream is not None:
        return response
    unpacker = zlib.decompressobj(GZIP_OR_ZLIB)
    try:
        body = unpacker.decompress(response.body, MAX_KEPT_BYTES + 1)
    except zlib.error:
        return response
    if not unpacker.eof or len(body) > MAX_KEPT_BYTES or unpacker.unused_data:
        return response
    headers = {name: value for name, value in response.headers.items() if name.lower() != CONTENT_ENCODING.lower()}
    return replace(response, body=body, headers=headers)
