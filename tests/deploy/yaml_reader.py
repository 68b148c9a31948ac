"""A reader for the part of YAML that the project's own files use, so that `make test` needs no YAML library.

It reads mappings and lists by indentation, anchors, `<<` merges, quoted text, and JSON on one line. Every scalar stays
text. Everything else is an error: then the file uses more of YAML, or the reader is wrong. `tests/system/containers.sh`
compares it with a complete YAML reader.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

PAIR = re.compile(r"([A-Za-z_<][\w.<-]*):(?: (.*))?")
COMMENT = re.compile(r"(^|\s+)#.*")


def read_plain(path: Path) -> Any:
    """Parse a file.

    Raises:
        ValueError: the file uses another part of YAML.
    """
    without_comments = [COMMENT.sub("", line).rstrip() for line in path.read_text().splitlines()]
    lines = [(len(line) - len(line.lstrip()), line.lstrip()) for line in without_comments if line]
    reader = _Reader(lines)
    content = reader.read_block(0)
    if reader.lines:
        raise ValueError(f"{path.name}: not understood: {reader.lines[0][1]}")
    return content


class _Reader:
    """Reads from `lines`, which has the indentation and the text of each line that is left."""

    def __init__(self, lines: list[tuple[int, str]]) -> None:
        self.lines = lines
        self._anchors: dict[str, Any] = {}

    def read_block(self, indent: int) -> Any:
        """The value of the next lines that have at least this indentation."""
        return self._read_list(indent) if self.lines[0][1].startswith("- ") else self._read_mapping(indent)

    def _read_list(self, indent: int) -> list[Any]:
        items = []
        while self.lines and self.lines[0][0] == indent and self.lines[0][1].startswith("- "):
            text = self.lines[0][1][2:]
            if PAIR.fullmatch(text):
                self.lines[0] = (indent + 2, text)
                items.append(self._read_mapping(indent + 2))
            else:
                del self.lines[0]
                items.append(self._parse_scalar(text))
        return items

    def _read_mapping(self, indent: int) -> dict[str, Any]:
        members: dict[str, Any] = {}
        while self.lines and self.lines[0][0] == indent and (pair := PAIR.fullmatch(self.lines[0][1])):
            del self.lines[0]
            name, value = pair[1], self._read_value(pair[2] or "", indent)
            if name == "<<":
                members = {**value, **members}
            else:
                members[name] = value
        return members

    def _read_value(self, text: str, indent: int) -> Any:
        if text and not text.startswith("&"):
            return self._parse_scalar(text)
        value = self.read_block(self.lines[0][0]) if self.lines and self.lines[0][0] > indent else ""
        if text:
            self._anchors[text[1:]] = value
        return value

    def _parse_scalar(self, text: str) -> Any:
        if text[0] == "*":
            return self._anchors[text[1:]]
        if text[0] in '"[{':
            return json.loads(text)
        if text[0] == "'" and text[-1] == "'" and "'" not in text[1:-1]:
            return text[1:-1]
        if text[0] in "'!|>%@`&?":
            raise ValueError(f"not supported: {text}")
        return text
