"""The Gateway's one cookie jar, shared by everybody who reaches its port. Pure.

Only cookies whose name is on a list are stored. Dates and empty values are ignored, so IBKR cannot delete a cookie;
only `/clear` and a restart can. A cookie is sent with every request whose path contains the cookie's path.
"""

from __future__ import annotations

from collections.abc import Iterable

NAMES = "URL_PARAM RL JSESSIONID cp cp.qa cp.alpha cp.beta api api.nn api.alpha portal USERID XYZAB XYZAB_AM.LOGIN"
IBKR_COOKIES = frozenset((*NAMES.split(), "REGION", "web"))
CLIENT_COOKIES = frozenset({"XYZAB", "XYZAB_AM.LOGIN"})
INITIAL_PATHS = {"JSESSIONID": "/sso", "REGION": "/", "USERID": "/"}
"""The paths of the cookies that are sent from the start, without a value."""


class Jar:
    """Cookies by name, each with its path."""

    def __init__(self) -> None:
        self._cookies: dict[str, tuple[str, str]] = {}
        self.clear()

    def clear(self) -> None:
        """Reset to the state after a start."""
        self._cookies = {name: ("", path) for name, path in INITIAL_PATHS.items()}

    def store_from_ibkr(self, lines: Iterable[str]) -> None:
        """Store the cookies of the Set-Cookie lines of one response."""
        for line in lines:
            pair, *attributes = line.split(";")
            paths = (each.strip()[5:] for each in attributes if each.strip().lower().startswith("path="))
            self._store(pair, IBKR_COOKIES, next(paths, "/"))

    def store_from_client(self, line: str | None) -> None:
        """Store the cookies of the Cookie line that a client's browser sent to the login pages."""
        for pair in (line or "").split(";"):
            self._store(pair, CLIENT_COOKIES, "/")

    def cookie_header(self, path: str) -> str:
        """The value of the Cookie header for a request to `path`."""
        return "; ".join(
            f"{name}={value}" for name, (value, cookie_path) in self._cookies.items() if cookie_path in path
        )

    def value(self, name: str) -> str | None:
        """One cookie's value, or None if the jar does not contain it."""
        cookie = self._cookies.get(name)
        return cookie[0] if cookie else None

    def _store(self, pair: str, names: frozenset[str], path: str) -> None:
        name, _, value = pair.strip().partition("=")
        if name in names and value:
            self._cookies[name] = (value, path)
