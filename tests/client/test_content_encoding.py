"""Decompressing response bodies."""

from __future__ import annotations

import gzip
import zlib

import pytest

from ibkr_bridge.client.content_encoding import decompress

TEXT = b'{"a":1}'


@pytest.mark.parametrize(
    ("body", "codings"),
    [
        (TEXT, ""),
        (TEXT, "identity"),
        (gzip.compress(TEXT, mtime=0), "gzip"),
        (gzip.compress(TEXT, mtime=0), " GZIP , identity"),
        (zlib.compress(TEXT), "deflate"),
        (gzip.compress(zlib.compress(TEXT), mtime=0), "deflate, gzip"),
    ],
)
def test_codings_are_undone_in_reverse_order(body: bytes, codings: str) -> None:
    """The case of their names does not matter."""
    assert decompress(body, codings) == TEXT


def test_an_unknown_coding_leaves_the_body_unchanged() -> None:
    """Also the known codings around it stay: a half decompressed body would be useless."""
    packed = gzip.compress(TEXT, mtime=0)

    assert decompress(packed, "gzip, zstd") == packed


@pytest.mark.parametrize("body", [gzip.compress(TEXT, mtime=0)[:-1], b"plain", gzip.compress(TEXT, mtime=0)[:5]])
def test_a_corrupt_or_truncated_body_is_an_error(body: bytes) -> None:
    """Its length can be right, and a lenient decoder returns half of the text."""
    with pytest.raises(ValueError, match=r".*"):
        decompress(body, "gzip")
