"""Write the OpenAPI document into docs/openapi.json: `python -m tools.openapi`."""

from __future__ import annotations

import json
from pathlib import Path

from ibkr_bridge.api.openapi.document import build_document

DOCUMENT_FILE = Path(__file__).resolve().parents[1] / "docs" / "openapi.json"


def text() -> str:
    """The text of the file: one member a line, so that a change is easy to read."""
    return json.dumps(build_document(), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    DOCUMENT_FILE.write_text(text(), "utf-8")
