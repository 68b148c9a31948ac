"""One whole response of the bridge. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ibkr_bridge.client.errors import (
    NotJson,
)

SOURCE_HEADER, REQUEST_ID_HEADER = "X-Bridge-Source", "X-Request-ID"


@dataclass(frozen=True)
class Reply:
    """One whole answer, as it came."""

    status: int
    headers: Mapping[str, str]
    """Names count without their case."""
    body: bytes = field(repr=False)

    @property
    def text(self) -> str:
        """The body as text; what is not UTF-8 is marked, not fatal."""
        return self.body.decode("utf-8-sig", "replace")

    @property
    def request_id(self) -> str | None:
        """Under which the bridge's log knows the call."""
        return self.headers.get(REQUEST_ID_HEADER)

    @property
    def source(self) -> str | None:
        """Who answered: `gateway` for IBKR, `bridge` for the bridge itself."""
        return self.headers.get(SOURCE_HEADER)

    def json(self) -> Any:
        """The body, parsed; None where there is none.

        Raises:
            NotJson: it is something else.
        """
        if not self.body.strip():
            return None
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            pass  # told below: the parser's own error would bring the body into the traceback
        kind = self.headers.get("Content-Type", "no type")
        raise NotJson(
            f"the answer is no JSON ({kind})",
            status=self.status,
            headers=self.headers,
            body=self.body,
            request_id=self.request_id,
        )
