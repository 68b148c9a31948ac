"""How a client requests a topic: `topic+target+{json}`; target and JSON are optional. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class FeedRequest:
    """One request; `target` as the client wrote it, empty if there is none."""

    topic: str
    target: str
    form: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Topic and target together; the responses have it as their topic."""
        return f"{self.topic}+{self.target}" if self.target else self.topic


def parse_request(text: str) -> FeedRequest | None:
    """Parse a client's message; None if it is not a request."""
    head, brace, tail = text.partition("+{")
    topic, _, target = head.rstrip("+").partition("+")
    try:
        form = json.loads(f"{{{tail}") if brace else {}
    except (ValueError, RecursionError):
        return None
    return FeedRequest(topic, target, form)


def read_texts(value: object) -> list[str]:
    """The members of a JSON array as texts; an empty list if the value is not an array."""
    return [str(each) for each in value] if isinstance(value, list) else []
