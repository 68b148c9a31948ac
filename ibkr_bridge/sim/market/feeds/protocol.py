"""How a client asks for something: `topic+target+{json}`, any of the last two left out. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class FeedRequest:
    """What was asked for; `target` as it was written, empty where there is none."""

    topic: str
    target: str
    form: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Topic and target, which is the topic of the answers."""
        return f"{self.topic}+{self.target}" if self.target else self.topic


def parse_request(text: str) -> FeedRequest | None:
    """Take a client's words apart; None for what is none of ours."""
    head, brace, tail = text.partition("+{")
    topic, _, target = head.rstrip("+").partition("+")
    try:
        form = json.loads(f"{{{tail}") if brace else {}
    except (ValueError, RecursionError):
        return None
    return FeedRequest(topic, target, form)


def read_texts(value: object) -> list[str]:
    """A JSON array as texts; whatever else it is counts as an empty one."""
    return [str(each) for each in value] if isinstance(value, list) else []
