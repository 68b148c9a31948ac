"""A reader for the plain part of YAML that our own files keep to, so that `make test` needs no YAML library.

Mappings and lists by indentation, anchors, `<<` merges, quoted text, and JSON where something stands in one line. Every
scalar stays text. Whatever else it meets is an error: then the file has left the plain part, or the reader is wrong.
`tests/system/containers.sh` holds it against a whole YAML reader.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

PAIR = re.compile(r"([A-Za-z_<][\w.<-]*):(?: (.*))?")
COMMENT = re.compile(r"(^|\s+)#.*")


def read_plain(path: Path) -> Any:
    """The content of a file.

    Raises:
        ValueError: it is more than plain.
    """
    bare = [COMMENT.sub("", line).rstrip() for line in path.read_text().splitlines()]
    lines = [(len(line) - len(line.lstrip()), line.lstrip()) for line in bare if line]
    reader = _Reader(lines)
    found = reader.block(0)
    if reader.lines:
        raise ValueError(f"{path.name}: not understood: {reader.lines[0][1]}")
    return found


class _Reader:
    """What is left to read: the indentation and the text of each line."""

    def __init__(self, lines: list[tuple[int, str]]) -> None:
        self.lines = lines
        self._anchors: dict[str, Any] = {}

    def block(self, indent: int) -> Any:
        """All lines from here that are indented so far, or farther."""
        return self._list(indent) if self.lines[0][1].startswith("- ") else self._mapping(indent)

    def _list(self, indent: int) -> list[Any]:
        found = []
        while self.lines and self.lines[0][0] == indent and self.lines[0][1].startswith("- "):
            text = self.lines[0][1][2:]
            if PAIR.fullmatch(text):
                self.lines[0] = (indent + 2, text)
                found.append(self._mapping(indent + 2))
            else:
                del self.lines[0]
                found.append(self._scalar(text))
        return found

    def _mapping(self, indent: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        while self.lines and self.lines[0][0] == indent and (pair := PAIR.fullmatch(self.lines[0][1])):
            del self.lines[0]
            name, value = pair[1], self._value(pair[2] or "", indent)
            if name == "<<":
                found = {**value, **found}
            else:
                found[name] = value
        return found

    def _value(self, text: str, indent: int) -> Any:
        if text and not text.startswith("&"):
            return self._scalar(text)
        value = self.block(self.lines[0][0]) if self.lines and self.lines[0][0] > indent else ""
        if text:
            self._anchors[text[1:]] = value
        return value

    def _scalar(self, text: str) -> Any:
        if text[0] == "*":
            return self._anchors[text[1:]]
        if text[0] in '"[{':
            return json.loads(text)
        if text[0] == "'" and text[-1] == "'" and "'" not in text[1:-1]:
            return text[1:-1]
        if text[0] in "'!|>%@`&?":
            raise ValueError(f"not plain: {text}")
        return text
