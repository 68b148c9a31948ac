"""The cookies the Gateway sets for us: one private jar, kept over restarts, never shown to a caller.

aiohttp's jar does the judging (it works for an address such as 127.0.0.1 and ignores foreign domains); this room
keeps it in a file only we can read. A file that cannot be read is set aside, one that cannot be written is announced
once: the session itself lives in the Gateway, so neither stops anything.
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

MAX_COOKIE_BYTES = 4096  # of cookies in a request; the Gateway answers 400 to more than 8192 of headers in all
UNSENDABLE = re.compile("[\x00-\x1f\x7f\ud800-\udc7f\udd00-\udfff]")  # in a header, or as bytes at all
SAVE_INTERVAL_S = 1.0  # seconds; IBKR sets a cookie with nearly every answer


_ANYWHERE = URL()


class BoundedCookieJar(aiohttp.CookieJar):
    """aiohttp's jar, never sending what the Gateway cannot take: such cookies stay behind, and the longest ones."""

    def filter_cookies(self, request_url: URL = _ANYWHERE) -> BaseCookie[str]:
        """See aiohttp's own."""
        chosen = super().filter_cookies(request_url)
        for name in [name for name, morsel in chosen.items() if UNSENDABLE.search(cookie_pair(morsel))]:
            del chosen[name]
        while sum(len(morsel.OutputString()) + 2 for morsel in chosen.values()) > MAX_COOKIE_BYTES:
            del chosen[max(chosen, key=lambda name: len(chosen[name].value))]
        return chosen


def cookie_pair(morsel: Morsel[str]) -> str:
    """A cookie as it goes out."""
    return f"{morsel.key}={morsel.coded_value}"


class CookieStore:
    """The jar of one line and its file; `path` is None where there is no state directory."""

    def __init__(self, path: Path | None, bus: Bus, redactor: Redactor, clock: Clock) -> None:
        self.cookies = BoundedCookieJar(unsafe=True, quote_cookie=False)
        self._path = path
        self._bus = bus
        self._redactor = redactor
        self._clock = clock
        self._changed = asyncio.Event()
        self._troubled = False
        self._saved: list[str] = []

    def __repr__(self) -> str:
        return f"<CookieStore {len(self.cookies)} cookies>"

    def load(self) -> None:
        """Take back what an earlier run kept."""
        if self._path is None:
            return
        try:
            json.loads(self._path.read_text("utf-8"))  # aiohttp would go on to try a pickle
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
        """Tell the scrubber every value, and say what the jar holds now."""
        held = sorted(f"{morsel['domain']}|{morsel['path']}|{morsel.key}={morsel.value}" for morsel in self.cookies)
        for morsel in self.cookies:
            self._redactor.add_secret(morsel.value)
        return held

    def header(self, address: URL, target: str) -> str:
        """The Cookie header for a call to the Gateway at `address`; empty where none goes along."""
        if next(iter(self.cookies), None) is None:
            return ""
        chosen = self.cookies.filter_cookies(address.with_path(target.partition("?")[0], encoded=True))
        return "; ".join(map(cookie_pair, chosen.values()))

    def update(self, lines: Sequence[str], address: URL) -> None:
        """Take in the Set-Cookie lines of one answer: secrets from now on, and saved soon."""
        if lines:
            self.cookies.update_cookies_from_headers(lines, address)
            self._register_secrets()
            self._changed.set()

    def save(self) -> None:
        """Write the file whole or not at all, readable by us alone."""
        held = self._register_secrets()
        if self._path is None or held == self._saved:
            return
        draft = self._path.with_suffix(".draft")
        try:
            draft.unlink(missing_ok=True)
            self.cookies.save(draft)
            os.replace(draft, self._path)  # noqa: PTH105  # one line, one system call
        except OSError as exc:
            self._publish_failure(exc)
        else:
            self._saved, self._troubled = held, False

    def _publish_failure(self, exc: OSError) -> None:
        if not self._troubled:
            hint = "cookies are not kept over a restart; make the state directory writable and see that it is not full"
            self._bus.publish(StateUnavailable("the cookie file", os.strerror(exc.errno or 0), hint))
        self._troubled = True

    async def run_loop(self) -> NoReturn:
        """Save what changed, at most once a second, for ever."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            self.save()
            await self._clock.wait(asyncio.Event(), SAVE_INTERVAL_S)
