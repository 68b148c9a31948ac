"""Compressed responses."""

from __future__ import annotations

import gzip
import zlib

import pytest

from ibkr_bridge.calls import content_encoding
from ibkr_bridge.calls.content_encoding import decompress
from ibkr_bridge.calls.messages import Response
from tests.body_stream import FakeBodyStream

TEXT = b'{"a":1}'
COMPRESSED = gzip.compress(TEXT, mtime=0)


def compressed_response(body: bytes, encoding: str = "gzip") -> Response:
    """A response with this Content-Encoding."""
    return Response(200, {"Content-Type": "application/json", "Content-Encoding": encoding}, body)


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("gzip", COMPRESSED),
        ("x-gzip", COMPRESSED),
        (" GZIP ", COMPRESSED),
        ("deflate", zlib.compress(TEXT)),
        ("deflate", COMPRESSED),
    ],
)
def test_a_body_in_a_known_encoding_is_decompressed(encoding: str, body: bytes) -> None:
    """Its header Content-Encoding is removed."""
    response = decompress(compressed_response(body, encoding))

    assert (response.body, dict(response.headers)) == (TEXT, {"Content-Type": "application/json"})


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("br", COMPRESSED),
        ("", TEXT),
        ("gzip", TEXT),
        ("gzip", COMPRESSED[:-1]),
        ("gzip", COMPRESSED + b"more"),
        ("gzip", b""),
    ],
)
def test_a_body_that_cannot_be_decompressed_completely_stays_unchanged(encoding: str, body: bytes) -> None:
    """Half a body never passes for a complete one, and no byte is lost."""
    response = compressed_response(body, encoding)

    assert decompress(response) is response


def test_a_streamed_body_stays_compressed() -> None:
    """It is passed on to the caller as it arrives."""
    response = Response(200, {"Content-Encoding": "gzip"}, COMPRESSED, FakeBodyStream())

    assert decompress(response) is response


@pytest.mark.parametrize(("size", "is_decompressed"), [(1000, True), (1001, False)])
def test_a_body_that_would_be_too_large_is_not_decompressed(
    monkeypatch: pytest.MonkeyPatch, size: int, is_decompressed: bool
) -> None:
    """A few compressed bytes can become gigabytes."""
    monkeypatch.setattr(content_encoding, "MAX_KEPT_BYTES", 1000)

    response = decompress(compressed_response(gzip.compress(b" " * size, mtime=0)))

    assert (len(response.body) == size) is is_decompressed
