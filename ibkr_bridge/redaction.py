"""What must never be shown, and how it is taken out.

Keys, cookies and session ids are learned as they are met; account numbers and tokens are known by their form. Logs
pass every text through a `Scrubber` as a last line of defence: the first is that nobody writes such things at all.
"""

from __future__ import annotations

import re
from collections import OrderedDict

# It begins with its letter, and looks behind it only then: the search is twice as fast as the other way round.
ACCOUNT_PATTERN = re.compile(r"[DUFIdufi](?<![A-Za-z0-9].)[A-Za-z]{0,2}\d{5,12}(?![A-Za-z0-9])")
UUID_PATTERN = re.compile(r"(?<![A-Za-z0-9-])[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}(?![A-Za-z0-9-])")
UUID_LAST_PART_AT = 24  # characters before a UUID's last part
JWT_PREFIX = "eyJ"  # of a JSON Web Token: `{"` in base64
# Whatever begins so is taken whole, a token or not: else a text full of beginnings would be read again from each.
JWT_PATTERN = re.compile(r"eyJ[A-Za-z0-9_-]*(?:\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*)?")
REDACTED = "[hidden]"
MAX_CHANGING_SECRETS = 512  # cookies change for ever; the newest are the ones that can still be used
MIN_SECRET_LENGTH = 6  # a shorter secret would blot out ordinary words, and protects nothing


def mask_account(account: str) -> str:
    """An account number a person can recognise and nobody can use: `DU*****67`."""
    letters = account.rstrip("0123456789")[:2]
    return f"{letters}*****{account[-2:]}"


class Redactor:
    """Takes known secrets and account numbers out of texts."""

    def __init__(self) -> None:
        self._keys: set[str] = set()
        self._passing: OrderedDict[str, None] = OrderedDict()
        self._longest_first: list[str] = []

    def __repr__(self) -> str:
        return f"<Redactor {len(self._longest_first)} secrets>"

    def add_secret(self, secret: str, *, permanent: bool = False) -> None:
        """Remember a value that must never be shown; `for_good` for keys, which no number of cookies pushes out."""
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

    def contains_secret(self, text: str) -> bool:
        """Whether a known secret or an account number stands in the text."""
        return self.redact(text) != text

    def redact(self, text: str) -> str:
        """The text without its secrets."""
        for secret in self._longest_first:  # else the tail of one that holds another would stay
            if secret in text:
                text = text.replace(secret, REDACTED)
        if JWT_PREFIX in text:  # hardly any line has one, and this is found out sooner than by a pattern
            text = JWT_PATTERN.sub(_redact_token, text)
        return ACCOUNT_PATTERN.sub(_mask_match, text)


def _redact_token(found: re.Match[str]) -> str:
    return REDACTED if "." in found.group() else found.group()


def _mask_match(found: re.Match[str]) -> str:
    """An account number masked; the first or last part of a UUID as it is: requests are named so."""
    places = (found.start(), found.start() - UUID_LAST_PART_AT)
    if any(at >= 0 and UUID_PATTERN.match(found.string, at) for at in places):
        return found.group()
    return mask_account(found.group())
