"""Answers that came packed, although nobody asked for that: unpacked, so that what is in them can be read. Pure."""

from __future__ import annotations

import zlib
from dataclasses import replace

from ibkr_bridge.calls.messages import LARGEST, Answer

GZIP_OR_ZLIB = 47  # zlib's word for "whichever of them it is"
PACKED = ("gzip", "x-gzip", "deflate")
ENCODING = "Content-Encoding"


def unpacked(answer: Answer) -> Answer:
    """The same answer, plain; as it is where it is not whole, not packed in a way we know, broken, or too large."""
    how = answer.headers.get(ENCODING, "").strip().lower()
    if how not in PACKED or answer.rest is not None:
        return answer
    unpacker = zlib.decompressobj(GZIP_OR_ZLIB)
    try:
        body = unpacker.decompress(answer.body, LARGEST + 1)
    except zlib.error:
        return answer
    if not unpacker.eof or len(body) > LARGEST or unpacker.unused_data:
        return answer
    headers = {name: value for name, value in answer.headers.items() if name.lower() != ENCODING.lower()}
    return replace(answer, body=body, headers=headers)
