"""Packed bodies, unpacked to their end. Pure.

A body that was cut off before it was sent on has the right length and gives half of a text without complaint; only its
packing knows that something is missing.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping

GZIP, ZLIB, RAW_DEFLATE = 16 + zlib.MAX_WBITS, zlib.MAX_WBITS, -zlib.MAX_WBITS  # zlib's names for how a stream begins


def decompress(body: bytes, codings: str) -> bytes:
    """The body as it was before it was packed; as it is, where nobody here knows how to unpack it.

    Args:
        codings: what `Content-Encoding` says: how it was packed, in that order.

    Raises:
        ValueError: it is broken, or not all of it is here.
    """
    names = [name for each in codings.lower().split(",") if (name := each.strip()) not in ("", "identity")]
    if set(names) - set(DECODERS):
        return body
    for name in reversed(names):
        try:
            body = DECODERS[name](body)
        except zlib.error as exc:
            raise ValueError("the packed body is broken") from exc
    return body


def _gzip(packed: bytes) -> bytes:
    """One member after the other: several make one text."""
    pieces = []
    while packed:
        chunk, packed = _decompress_stream(packed, GZIP)
        pieces.append(chunk)
    return b"".join(pieces)


def _deflate(packed: bytes) -> bytes:
    """A zlib stream, as the standard says, or a bare one, as some send it."""
    if not packed:
        return b""
    try:
        return _decompress_stream(packed, ZLIB)[0]
    except zlib.error:
        return _decompress_stream(packed, RAW_DEFLATE)[0]


def _decompress_stream(packed: bytes, begins: int) -> tuple[bytes, bytes]:
    """One stream to its end, and what lies behind it."""
    stream = zlib.decompressobj(begins)
    plain = stream.decompress(packed)
    if not stream.eof:
        raise ValueError("the packed body breaks off")
    return plain, stream.unused_data


DECODERS: Mapping[str, Callable[[bytes], bytes]] = {"gzip": _gzip, "x-gzip": _gzip, "deflate": _deflate}
