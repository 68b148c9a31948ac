"""What must never be shown, and how it is taken out.

Keys, cookies and session ids are learned as they are met; account numbers and tokens are known by their form. Logs
pass every text through a `Scrubber` as a last line of defence: the first is that nobody writes such things at all.
"""

from __future__ import annotations

import re
from collections import OrderedDict

# It begins with its letter, and looks behind it only then: the search is twice as fast as the other way round.
ACCOUNT = re.compile(r"[DUFIdufi](?<![A-Za-z0-9].)[A-Za-z]{0,2}\d{5,12}(?![A-Za-z0-9])")
UUID = re.compile(r"(?<![A-Za-z0-9-])[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}(?![A-Za-z0-9-])")
LAST_OF_UUID = 24  # characters before a UUID's last part
BEGINNING = "eyJ"  # of a JSON Web Token: `{"` in base64
# Whatever begins so is taken whole, a token or not: else a text full of beginnings would be read again from each.
TOKEN_LIKE = re.compile(r"eyJ[A-Za-z0-9_-]*(?:\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*)?")
HIDDEN = "[hidden]"
REMEMBERED = 512  # cookies change for ever; the newest are the ones that can still be used
SHORTEST = 6  # a shorter secret would blot out ordinary words, and protects nothing


def mask_account(account: str) -> str:
    """An account number a person can recognise and nobody can use: `DU*****67`."""
    letters = account.rstrip("0123456789")[:2]
    return f"{letters}*****{account[-2:]}"


class Scrubber:
    """Takes known secrets and account numbers out of texts."""

    def __init__(self) -> None:
        self._keys: set[str] = set()
        self._passing: OrderedDict[str, None] = OrderedDict()
        self._longest_first: list[str] = []

    def __repr__(self) -> str:
        return f"<Scrubber {len(self._longest_first)} secrets>"

    def learn(self, secret: str, *, for_good: bool = False) -> None:
        """Remember a value that must never be shown; `for_good` for keys, which no number of cookies pushes out."""
        if len(secret) < SHORTEST or secret in self._keys:
            return
        if for_good:
            self._keys.add(secret)
        else:
            self._passing[secret] = None
            self._passing.move_to_end(secret)
        while len(self._passing) > REMEMBERED:
            self._passing.popitem(last=False)
        self._longest_first = sorted({*self._keys, *self._passing}, key=len, reverse=True)

    def holds_secret(self, text: str) -> bool:
        """Whether a known secret or an account number stands in the text."""
        return self.scrub(text) != text

    def scrub(self, text: str) -> str:
        """The text without its secrets."""
        for secret in self._longest_first:  # else the tail of one that holds another would stay
            if secret in text:
                text = text.replace(secret, HIDDEN)
        if BEGINNING in text:  # hardly any line has one, and this is found out sooner than by a pattern
            text = TOKEN_LIKE.sub(_hidden_token, text)
        return ACCOUNT.sub(_masked, text)


def _hidden_token(found: re.Match[str]) -> str:
    return HIDDEN if "." in found.group() else found.group()


def _masked(found: re.Match[str]) -> str:
    """An account number masked; the first or last part of a UUID as it is: requests are named so."""
    places = (found.start(), found.start() - LAST_OF_UUID)
    if any(at >= 0 and UUID.match(found.string, at) for at in places):
        return found.group()
    return mask_account(found.group())
