"""The route of every path that no other route has.

aiohttp's pattern `/{tail:.*}` does the same. It searches the text of each path for nothing, and takes several times as
long for each proxied call.
"""

from __future__ import annotations

from typing import NoReturn

from aiohttp import web
from yarl import URL


class CatchAll(web.Resource):
    """Matches every path. It is looked up after all resources with a longer path."""

    @property
    def canonical(self) -> str:
        """Where the router looks for it."""
        return "/"

    def _match(self, path: str) -> dict[str, str] | None:
        return {}

    def raw_match(self, path: str) -> bool:
        """Whether a route that is added later may share it: none may."""
        return False

    def get_info(self) -> NoReturn:
        """Part of aiohttp's interface; nothing asks for it."""
        raise NotImplementedError

    def url_for(self, **_: str) -> URL:
        """Part of aiohttp's interface; nothing asks for it."""
        raise NotImplementedError

    def add_prefix(self, prefix: str) -> None:
        """Part of aiohttp's interface; nothing asks for it."""
        raise NotImplementedError
