"""Responses that came compressed."""

from __future__ import annotations

import gzip
import zlib

import pytest

from ibkr_bridge.calls import content_encoding
from ibkr_bridge.calls.content_encoding import decompress
from ibkr_bridge.calls.messages import Response
from tests.body_stream import FakeBodyStream

TEXT = b'{"a":1}'
PACKED = gzip.compress(TEXT, mtime=0)


def packed(body: bytes, how: str = "gzip") -> Response:
    """A response that says how it is packed."""
    return Response(200, {"Content-Type": "application/json", "Content-Encoding": how}, body)


@pytest.mark.parametrize(
    ("how", "body"),
    [("gzip", PACKED), ("x-gzip", PACKED), (" GZIP ", PACKED), ("deflate", zlib.compress(TEXT)), ("deflate", PACKED)],
)
def test_what_is_packed_in_a_known_way_is_unpacked(how: str, body: bytes) -> None:
    """And no longer says that it is packed."""
    response = decompress(packed(body, how))

    assert (response.body, dict(response.headers)) == (TEXT, {"Content-Type": "application/json"})


@pytest.mark.parametrize(
    ("how", "body"),
    [
        ("br", PACKED),
        ("", TEXT),
        ("gzip", TEXT),
        ("gzip", PACKED[:-1]),
        ("gzip", PACKED + b"more"),
        ("gzip", b""),
    ],
)
def test_what_cannot_be_unpacked_to_its_end_stays_as_it_is(how: str, body: bytes) -> None:
    """Half of a body is never told as a whole one, and nothing is lost."""
    response = packed(body, how)

    assert decompress(response) is response


def test_a_body_that_is_still_coming_stays_as_it_is() -> None:
    """It passes as it comes."""
    response = Response(200, {"Content-Encoding": "gzip"}, PACKED, FakeBodyStream())

    assert decompress(response) is response


@pytest.mark.parametrize(("size", "is_unpacked"), [(1000, True), (1001, False)])
def test_a_body_that_would_be_too_large_is_not_unpacked(
    monkeypatch: pytest.MonkeyPatch, size: int, is_unpacked: bool
) -> None:
    """A few bytes can be packed gigabytes."""
    monkeypatch.setattr(content_encoding, "MAX_KEPT_BYTES", 1000)

    response = decompress(packed(gzip.compress(b" " * size, mtime=0)))

    assert (len(response.body) == size) is is_unpacked
