"""One complete response of the bridge. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ibkr_bridge.client.errors import NotJson

SOURCE_HEADER, REQUEST_ID_HEADER = "X-Bridge-Source", "X-Request-ID"


@dataclass(frozen=True)
class Reply:
    """One complete response as it came, decompressed."""

    status: int
    headers: Mapping[str, str]
    """The case of the names does not matter."""
    body: bytes = field(repr=False)

    @property
    def text(self) -> str:
        """The body as text; bytes that are not UTF-8 become U+FFFD."""
        return self.body.decode("utf-8-sig", "replace")

    @property
    def request_id(self) -> str | None:
        """The id of the call in the bridge's log; None if the response names none."""
        return self.headers.get(REQUEST_ID_HEADER)

    @property
    def source(self) -> str | None:
        """Who answered: `gateway` means IBKR, `bridge` the bridge itself; None if the response does not say."""
        return self.headers.get(SOURCE_HEADER)

    def json(self) -> Any:
        """The parsed body; None if it is empty.

        Raises:
            NotJson: the body is not JSON.
        """
        if not self.body.strip():
            return None
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            pass  # raised below instead: the parser's error would put the body into the traceback
        content_type = self.headers.get("Content-Type", "no type")
        raise NotJson(
            f"the response is not JSON ({content_type})",
            status=self.status,
            headers=self.headers,
            body=self.body,
            request_id=self.request_id,
        )
