"""Packed bodies, unpacked to their end."""

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
def test_a_body_is_unpacked_in_the_reverse_of_how_it_was_packed(body: bytes, codings: str) -> None:
    """Names count without their case."""
    assert decompress(body, codings) == TEXT


def test_a_coding_that_nobody_here_knows_leaves_the_body_as_it_is() -> None:
    """All of it: half unpacked it would be of use to nobody."""
    packed = gzip.compress(TEXT, mtime=0)

    assert decompress(packed, "gzip, zstd") == packed


@pytest.mark.parametrize("body", [gzip.compress(TEXT, mtime=0)[:-1], b"plain", gzip.compress(TEXT, mtime=0)[:5]])
def test_a_body_that_is_broken_or_cut_off_is_an_error(body: bytes) -> None:
    """It has the right length, and gives half of a text without complaint."""
    with pytest.raises(ValueError, match=r".*"):
        decompress(body, "gzip")
