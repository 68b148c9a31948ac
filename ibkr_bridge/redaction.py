"""Redaction: removes secrets from text before anybody sees it.

Keys, cookies and session ids are registered when they appear, and so are the account numbers that IBKR names. Account
numbers, tokens and named keys are recognised by their form as well.
Every log text passes a `Redactor` as a last line of defence: the first is that no code writes such things at all.
Characters that would control a terminal are escaped here as well.
"""

from __future__ import annotations

import re
from collections import OrderedDict

# The lookbehind comes after the first letter: this makes the search twice as fast.
# Some numbers end in a letter, such as those of an advisor's clients.
ACCOUNT_PATTERN = re.compile(r"[DUFIdufi](?<![A-Za-z0-9].)[A-Za-z]{0,2}\d{5,12}[A-Za-z]?(?![A-Za-z0-9])")
NAMED_ACCOUNT_PATTERN = re.compile(r"(?=.{5,20}$)[A-Za-z][A-Za-z0-9]*\d[A-Za-z0-9]*")
"""An account number as IBKR names it; anything else, such as `All` or a plain number, would redact ordinary words."""
LEADING_LETTERS = re.compile(r"[A-Za-z]{0,2}")
UUID_PATTERN = re.compile(r"(?<![A-Za-z0-9-])[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}(?![A-Za-z0-9-])")
UUID_LAST_PART_AT = 24  # characters before a UUID's last part
JWT_PREFIX = "eyJ"  # of a JSON Web Token: `{"` in base64
# Matches any text with this beginning as a whole, a token or not: else a text full of beginnings would be read many
# times.
JWT_PATTERN = re.compile(r"eyJ[A-Za-z0-9_-]*(?:\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*)?")
NAMED_KEY_PREFIX = "ibkrb_"  # of the keys that `bridge.py keys` makes; the bridge has only their digests
NAMED_KEY_PATTERN = re.compile(r"ibkrb_[A-Za-z0-9_-]{8,}")
REDACTED = "[hidden]"
MAX_CHANGING_SECRETS = 512  # cookies change all the time; only the newest can still be used
MAX_ACCOUNTS = 512  # an advisor may have more; their numbers still have the usual form
MIN_SECRET_LENGTH = 6  # a shorter secret would redact ordinary words


def escape_unprintable(text: str, *, exempt: str = "") -> str:
    """The text with every character escaped that could move a terminal's cursor, hide text or end a line.

    Words of IBKR and of callers reach people in the log and in the output of commands. `isprintable` is False for
    control characters, for marks of the writing direction, and for surrogates. `exempt` are characters that stay.
    """
    if text.isprintable():
        return text
    return "".join(
        each if each.isprintable() or each in exempt else each.encode("unicode_escape").decode("ascii") for each in text
    )


def mask_account(account: str) -> str:
    """An account number that a person can recognise but not use: `DU*****67`."""
    letters = LEADING_LETTERS.match(account)
    return f"{letters.group() if letters else ''}*****{account[-2:]}"


class Redactor:
    """Removes known secrets and account numbers from texts."""

    def __init__(self) -> None:
        self._keys: set[str] = set()
        self._passing: OrderedDict[str, None] = OrderedDict()
        self._longest_first: list[str] = []
        self._accounts: OrderedDict[str, re.Pattern[str]] = OrderedDict()

    def __repr__(self) -> str:
        return f"<Redactor {len(self._longest_first)} secrets>"

    def add_secret(self, secret: str, *, permanent: bool = False) -> None:
        """Register a value that must never be shown; `permanent` for keys, which newer cookies must not displace."""
        if len(secret) < MIN_SECRET_LENGTH or secret in self._keys:
            return
        if permanent:
            self._keys.add(secret)
        else:
            self._passing[secret] = None
            self._passing.move_to_end(secret)
        while len(self._passing) > MAX_CHANGING_SECRETS:
            self._passing.popitem(last=False)
        self._longest_first = sorted({*self._keys, *self._passing}, key=len, reverse=True)

    def add_account(self, number: str) -> None:
        """Register an account number that IBKR names, whatever its form; only the latest are kept."""
        if number not in self._accounts:
            if not NAMED_ACCOUNT_PATTERN.fullmatch(number):
                return
            self._accounts[number] = re.compile(rf"(?<![A-Za-z0-9]){number}(?![A-Za-z0-9])")
        self._accounts.move_to_end(number)
        while len(self._accounts) > MAX_ACCOUNTS:
            self._accounts.popitem(last=False)

    def contains_secret(self, text: str) -> bool:
        """Whether the text contains a known secret or an account number."""
        return self.redact(text) != text

    def redact(self, text: str) -> str:
        """The text without its secrets."""
        for secret in self._longest_first:  # else the rest of a secret that contains another would stay
            if secret in text:
                text = text.replace(secret, REDACTED)
        if JWT_PREFIX in text:  # hardly any line has one, and this test is faster than a pattern
            text = JWT_PATTERN.sub(lambda match: REDACTED if "." in match.group() else match.group(), text)
        if NAMED_KEY_PREFIX in text:
            text = NAMED_KEY_PATTERN.sub(REDACTED, text)
        for number, pattern in self._accounts.items():
            if number in text:
                text = pattern.sub(mask_account(number), text)
        return ACCOUNT_PATTERN.sub(_mask_match, text)


def _mask_match(match: re.Match[str]) -> str:
    """Mask an account number, but not the first or last part of a UUID, as request ids contain those."""
    places = (match.start(), match.start() - UUID_LAST_PART_AT)
    if any(at >= 0 and UUID_PATTERN.match(match.string, at) for at in places):
        return match.group()
    return mask_account(match.group())
