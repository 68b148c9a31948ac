"""The file of the OpenAPI document."""

from __future__ import annotations

from tools.openapi import DOCUMENT_FILE, text


def test_the_file_is_the_document() -> None:
    """`python -m tools.openapi` writes it."""
    assert DOCUMENT_FILE.read_text("utf-8") == text()
