"""Names that were probably meant for a protective setting: one that forbids something and is off by default. Pure.

An app may share the file, so most unknown `IBKR_*` names are its own. A misspelt name sets nothing, and its user does
not notice. A name counts as a misspelt protective setting if no other setting is more similar to it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import SequenceMatcher

PROTECTIVE_SETTINGS = ("IBKR_READ_ONLY", "IBKR_ALLOWED_ACCOUNTS", "IBKR_MAX_ORDER_QUANTITY", "IBKR_MAX_ORDER_VALUE")
PREFIX_WORDS = ("IBKR", "BRIDGE", "GATEWAY")
MIN_PREFIX_SIMILARITY = 0.66  # of the first word with IBKR: IKBR, IBRK and IB are similar, IBAN and IBEAM are not
MIN_SIMILARITY = 0.8  # tried with sixty misspelt names and eighty names of apps; see the test
MAX_WORD, MIN_MAX_SIMILARITY = "MAX", 0.75
SYNONYMS = {
    **{"READONLY": "READ ONLY", "RO": "READ ONLY"},
    **dict.fromkeys(("QTY", "SIZE", "SIZES", "SHARES", "QUANTITIES"), "QUANTITY"),
    **dict.fromkeys(("AMOUNT", "NOTIONAL", "VAL", "VALUES"), "VALUE"),
    **dict.fromkeys(("ACCT", "ACCTS", "ACCOUNT"), "ACCOUNTS"),
    **dict.fromkeys(("ALLOW", "ALLOWLIST", "WHITELIST", "PERMITTED"), "ALLOWED"),
    **dict.fromkeys(("MAXIMUM", "LIMIT"), MAX_WORD),
    "ORDERS": "ORDER",
}
"""Words that people use instead of those of the settings."""


def misspelt_protective_setting(name: str, settings: Iterable[str]) -> str | None:
    """The protective setting that a name was probably meant for.

    Returns:
        None for a setting, and for a name of another program.
    """
    names = tuple(settings)
    if name in names or not _has_our_prefix(name):
        return None
    similarity, most_similar = max((_similarity(name, each), each) for each in names)
    return most_similar if similarity >= MIN_SIMILARITY and most_similar in PROTECTIVE_SETTINGS else None


def _has_our_prefix(name: str) -> bool:
    return _ratio(_raw_words(name)[0], PREFIX_WORDS[0]) >= MIN_PREFIX_SIMILARITY


def _raw_words(name: str) -> list[str]:
    separated = re.sub(r"^IBKR(?=[A-Z])", "IBKR_", name.upper())
    return [word for word in re.split(r"[^A-Z0-9]+", separated) if word] or [""]


def _words(name: str) -> list[str]:
    """The words of a name without its prefix, each in the form that the settings use."""
    _, *words = _raw_words(name)
    return [part for word in words if word not in PREFIX_WORDS for part in SYNONYMS.get(word, word).split()]


def _similarity(name: str, setting: str) -> float:
    """How similar two names are, from 0 to 1, whatever the order of their words."""
    words, wanted = _words(name), _words(setting)
    if MAX_WORD in wanted and not any(_is_maximum(word) for word in words):
        return 0.0  # `IBKR_ORDER_QUANTITY` is what an app orders, and limits nothing
    if len(words) > 1 and wanted[-1] in words and set(words) <= set(wanted):
        return 1.0  # `IBKR_MAX_VALUE` leaves out a word
    return max(_ratio("".join(words), "".join(wanted)), _ratio("".join(sorted(words)), "".join(sorted(wanted))))


def _is_maximum(word: str) -> bool:
    return word.startswith(MAX_WORD) or _ratio(word, MAX_WORD) >= MIN_MAX_SIMILARITY


def _ratio(one: str, other: str) -> float:
    return SequenceMatcher(None, one, other, autojunk=False).ratio()
