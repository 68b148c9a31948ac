"""Answers that came packed, although nobody asked for that: unpacked, so that what is in them can be read. Pure."""

from __future__ import annotations

import zlib
from dataclasses import replace

from ibkr_bridge.calls.messages import MAX_KEPT_BYTES, Response

GZIP_OR_ZLIB = 47  # zlib's word for "whichever of them it is"
KNOWN_ENCODINGS = ("gzip", "x-gzip", "deflate")
CONTENT_ENCODING = "Content-Encoding"


def decompress(response: Response) -> Response:
    """The same answer, plain; as it is where it is not whole, not packed in a way we know, broken, or too large."""
    how = response.headers.get(CONTENT_ENCODING, "").strip().lower()
    if how not in KNOWN_ENCODINGS or response.body_stream is not None:
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
