"""Decompress response bodies and detect truncated ones. Pure.

The sender of a compressed body may have received only half of it. Its length is then right, and a lenient decoder
returns half of the text. Only the end of the compressed stream shows that something is missing.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping

GZIP, ZLIB, RAW_DEFLATE = 16 + zlib.MAX_WBITS, zlib.MAX_WBITS, -zlib.MAX_WBITS  # `wbits` of zlib: the header to expect


def decompress(body: bytes, codings: str) -> bytes:
    """The decompressed body; the unchanged one if a coding is unknown here.

    Args:
        codings: the value of `Content-Encoding`, in the order in which the codings were applied.

    Raises:
        ValueError: the body is corrupt or incomplete.
    """
    names = [name for each in codings.lower().split(",") if (name := each.strip()) not in ("", "identity")]
    if set(names) - set(DECODERS):
        return body
    for name in reversed(names):
        try:
            body = DECODERS[name](body)
        except zlib.error as exc:
            raise ValueError("the compressed body is corrupt") from exc
    return body


def _gzip(packed: bytes) -> bytes:
    """Decompress all members; a gzip file may have several, which are concatenated."""
    chunks = []
    while packed:
        chunk, packed = _decompress_stream(packed, GZIP)
        chunks.append(chunk)
    return b"".join(chunks)


def _deflate(packed: bytes) -> bytes:
    """Decompress a zlib stream, as the standard says, or a raw deflate stream, as some servers send it."""
    if not packed:
        return b""
    try:
        return _decompress_stream(packed, ZLIB)[0]
    except zlib.error:
        return _decompress_stream(packed, RAW_DEFLATE)[0]


def _decompress_stream(packed: bytes, wbits: int) -> tuple[bytes, bytes]:
    """Decompress one stream. Returns the text and the bytes behind the stream."""
    stream = zlib.decompressobj(wbits)
    plain = stream.decompress(packed)
    if not stream.eof:
        raise ValueError("the compressed body is incomplete")
    return plain, stream.unused_data


DECODERS: Mapping[str, Callable[[bytes], bytes]] = {"gzip": _gzip, "x-gzip": _gzip, "deflate": _deflate}
