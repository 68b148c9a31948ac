"""The Gateway's one cookie jar: whoever reaches its port shares it. Pure.

Only names on a list enter. Nothing ever leaves: dates and empty values are ignored, so IBKR cannot delete a cookie;
only `/clear` and a restart can. A cookie goes along wherever the request's path contains the cookie's path.
"""

from __future__ import annotations

from collections.abc import Iterable

NAMES = "URL_PARAM RL JSESSIONID cp cp.qa cp.alpha cp.beta api api.nn api.alpha portal USERID XYZAB XYZAB_AM.LOGIN"
IBKR_COOKIES = frozenset((*NAMES.split(), "REGION", "web"))
CLIENT_COOKIES = frozenset({"XYZAB", "XYZAB_AM.LOGIN"})
INITIAL_PATHS = {"JSESSIONID": "/sso", "REGION": "/", "USERID": "/"}
"""Sent from the start, without a value, each on its path."""


class Jar:
    """Cookies by name, each with its path."""

    def __init__(self) -> None:
        self._cookies: dict[str, tuple[str, str]] = {}
        self.clear()

    def clear(self) -> None:
        """As after a start."""
        self._cookies = {name: ("", path) for name, path in INITIAL_PATHS.items()}

    def store_from_ibkr(self, lines: Iterable[str]) -> None:
        """Take in the Set-Cookie lines of one answer."""
        for line in lines:
            pair, *attributes = line.split(";")
            paths = (each.strip()[5:] for each in attributes if each.strip().lower().startswith("path="))
            self._store(pair, IBKR_COOKIES, next(paths, "/"))

    def store_from_client(self, line: str | None) -> None:
        """Take in what a client's browser sends along to the login pages."""
        for pair in (line or "").split(";"):
            self._store(pair, CLIENT_COOKIES, "/")

    def cookie_header(self, path: str) -> str:
        """The Cookie header for a request to `path`."""
        return "; ".join(
            f"{name}={value}" for name, (value, cookie_path) in self._cookies.items() if cookie_path in path
        )

    def value(self, name: str) -> str | None:
        """One cookie's value."""
        cookie = self._cookies.get(name)
        return cookie[0] if cookie else None

    def _store(self, pair: str, names: frozenset[str], path: str) -> None:
        name, _, value = pair.strip().partition("=")
        if name in names and value:
            self._cookies[name] = (value, path)
