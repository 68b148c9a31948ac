"""The recorded answers that the document shows: `tools/examples.py` writes them, and a test repeats them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

EXAMPLES_FILE = Path(__file__).with_name("examples.json")


def body_of(operation_id: str) -> str:
    """The name under which the examples have the body of a request."""
    return f"{operation_id}.body"


def load_examples() -> dict[str, Any]:
    """The answers by operation id: JSON, or the text of an answer that is none. Also the bodies of the requests."""
    examples: dict[str, Any] = json.loads(EXAMPLES_FILE.read_text("utf-8"))
    return examples
