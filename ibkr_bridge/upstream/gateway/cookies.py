"""The cookies that the Gateway sets: stored over restarts, and never shown to a caller.

aiohttp's cookie jar applies the rules (it works for an address such as 127.0.0.1 and ignores foreign domains); this
module stores its content in a file that only the bridge can read. A file that cannot be read is renamed, and an event
reports once if it cannot be written: the session itself lives in the Gateway, so neither stops the bridge.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
from collections.abc import Sequence
from http.cookies import BaseCookie, Morsel
from pathlib import Path
from typing import NoReturn

import aiohttp
from yarl import URL

from ibkr_bridge.clock import Clock
from ibkr_bridge.events import Bus, CookiesSetAside, StateUnavailable
from ibkr_bridge.redaction import Redactor
from ibkr_bridge.state_file import load_text

MAX_COOKIE_BYTES = (
    4096  # bytes of cookies in a request; the Gateway answers 400 to headers of more than 8192 bytes in all
)
UNSENDABLE = re.compile("[\x00-\x1f\x7f\ud800-\udc7f\udd00-\udfff]")  # not allowed in a header, or not encodable
SAVE_INTERVAL_S = 1.0  # seconds; IBKR sets a cookie with nearly every response

_ANYWHERE = URL()


class BoundedCookieJar(aiohttp.CookieJar):
    """aiohttp's cookie jar; it does not send cookies that the Gateway cannot accept, and drops the longest if there are
    too many.
    """

    def filter_cookies(self, request_url: URL = _ANYWHERE) -> BaseCookie[str]:
        """See `aiohttp.CookieJar.filter_cookies`."""
        chosen = super().filter_cookies(request_url)
        for name in [name for name, morsel in chosen.items() if UNSENDABLE.search(cookie_pair(morsel))]:
            del chosen[name]
        while sum(len(morsel.OutputString()) + 2 for morsel in chosen.values()) > MAX_COOKIE_BYTES:
            del chosen[max(chosen, key=lambda name: len(chosen[name].value))]
        return chosen


def cookie_pair(morsel: Morsel[str]) -> str:
    """A cookie as it is sent."""
    return f"{morsel.key}={morsel.coded_value}"


class CookieStore:
    """The cookies of one profile and their file; `path` is None if there is no state directory."""

    def __init__(self, path: Path | None, bus: Bus, redactor: Redactor, clock: Clock) -> None:
        self.cookies = BoundedCookieJar(unsafe=True, quote_cookie=False)
        self._path = path
        self._bus = bus
        self._redactor = redactor
        self._clock = clock
        self._changed = asyncio.Event()
        self._has_failed = False
        self._saved: list[str] = []

    def __repr__(self) -> str:
        return f"<CookieStore {len(self.cookies)} cookies>"

    def load(self) -> None:
        """Read the cookies of an earlier run."""
        if self._path is None:
            return
        try:
            json.loads(load_text(self._path))  # checked first, as aiohttp would try to read it as a pickle
            self.cookies.load(self._path)
            self._saved = self._register_secrets()
        except FileNotFoundError:
            return
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            self.cookies.clear()
            self._move_unreadable(self._path)

    def _move_unreadable(self, path: Path) -> None:
        aside = path.with_suffix(".unreadable")
        try:
            path.replace(aside)
            self._bus.publish(CookiesSetAside(str(aside)))
        except OSError as exc:
            self._publish_failure(exc)

    def _register_secrets(self) -> list[str]:
        """Register every value with the redactor, and return the current cookies as text."""
        held = sorted(f"{morsel['domain']}|{morsel['path']}|{morsel.key}={morsel.value}" for morsel in self.cookies)
        for morsel in self.cookies:
            self._redactor.add_secret(morsel.value)
        return held

    def header(self, address: URL, target: str) -> str:
        """The Cookie header for a call to the Gateway at `address`; empty if there is none."""
        if next(iter(self.cookies), None) is None:
            return ""
        chosen = self.cookies.filter_cookies(address.with_path(target.partition("?")[0], encoded=True))
        return "; ".join(map(cookie_pair, chosen.values()))

    def update(self, lines: Sequence[str], address: URL) -> None:
        """Store the Set-Cookie lines of a response; the values are secrets from now on, and are saved within a
        second.
        """
        if lines:
            self.cookies.update_cookies_from_headers(lines, address)
            self._register_secrets()
            self._changed.set()

    def save(self) -> None:
        """Write the file completely or not at all, readable only by its owner."""
        held = self._register_secrets()
        if self._path is None or held == self._saved:
            return
        draft = self._path.with_suffix(".draft")
        try:
            draft.unlink(missing_ok=True)
            self.cookies.save(draft)
            os.replace(draft, self._path)  # noqa: PTH105  # one system call
        except OSError as exc:
            self._publish_failure(exc)
        else:
            self._saved, self._has_failed = held, False

    def _publish_failure(self, exc: OSError) -> None:
        if not self._has_failed:
            hint = "cookies are not saved over a restart; make the state directory writable and see that it is not full"
            self._bus.publish(StateUnavailable("the cookie file", os.strerror(exc.errno or 0), hint))
        self._has_failed = True

    async def run_loop(self) -> NoReturn:
        """Save changes, at most once a second, until cancelled."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            self.save()
            await self._clock.wait(asyncio.Event(), SAVE_INTERVAL_S)
