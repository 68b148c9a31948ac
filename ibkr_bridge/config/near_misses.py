"""Names that were probably meant for a protective setting: one that forbids something and is off by default. Pure.

An app may share the file, so most unknown `IBKR_*` names are its own. A misspelt name sets nothing, and its user does
not notice. A name counts as a misspelt protective setting if no other setting is more similar to it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import SequenceMatcher
from functools import lru_cache

PROTECTIVE_SETTINGS = ("IBKR_READ_ONLY", "IBKR_ALLOWED_ACCOUNTS", "IBKR_MAX_ORDER_QUANTITY", "IBKR_MAX_ORDER_VALUE")
OUR_PREFIX = "IBKR"
OTHER_PREFIXES = ("BRIDGE", "GATEWAY")  # an app may have these in front, so the other words must be exactly ours
MIN_PREFIX_SIMILARITY = 0.66  # of the first word with IBKR: IKBR, IBRK and IB are similar, IBAN and IBEAM are not
MIN_SIMILARITY = 0.8  # tried with a hundred misspelt names and a hundred names of apps; see the test
MIN_REST_SIMILARITY = 0.6  # of what differs: ODER is ORDER, but `IBKR_MAX_ORDER_AGE` is no misspelt value
MAX_WORD, MIN_MAX_SIMILARITY = "MAX", 0.75
SYNONYMS = {
    **{"READONLY": "READ ONLY", "RO": "READ ONLY", "VIEW": "READ"},
    **dict.fromkeys(("QTY", "SIZE", "SIZES", "SHARES", "QUANTITIES", "VOLUME"), "QUANTITY"),
    **dict.fromkeys(("CONTRACTS", "LOT", "LOTS", "UNITS"), "QUANTITY"),
    **dict.fromkeys(("AMOUNT", "AMOUNTS", "AMT", "NOTIONAL", "VAL", "VALUES", "WORTH", "COST"), "VALUE"),
    **dict.fromkeys(("USD", "EUR", "GBP", "CHF", "DOLLAR", "DOLLARS", "EURO", "EUROS"), "VALUE"),
    **dict.fromkeys(("ACCT", "ACCTS", "ACCOUNT", "ACC", "ACCS"), "ACCOUNTS"),
    **dict.fromkeys(("ALLOW", "ALLOWLIST", "WHITELIST", "PERMITTED", "PERMIT"), "ALLOWED"),
    **dict.fromkeys(("AUTHORIZED", "AUTHORISED", "APPROVED", "VALID", "ENABLED", "WHITELISTED"), "ALLOWED"),
    **dict.fromkeys(("MAXIMUM", "LIMIT", "LIMITS", "CAP", "CEILING", "UPPER"), MAX_WORD),
    **dict.fromkeys(("DISABLE", "DISABLED", "FORBID", "FORBIDDEN", "BLOCK", "BLOCKED", "DENY", "OFF"), "NO"),
    **dict.fromkeys(("ORDERS", "TRADE", "TRADES"), "ORDER"),
    **dict.fromkeys(("PER", "EACH", "SINGLE"), ""),
}
"""Words that people use instead of those of the settings."""
EQUIVALENTS = {
    "IBKR_READ_ONLY": ("NO TRADING", "TRADING NO", "NO ORDER", "ORDER NO"),
    "IBKR_ALLOWED_ACCOUNTS": ("ONLY ACCOUNTS", "ACCOUNTS ONLY"),
}
"""Names in other words, in the form that `_words` returns."""
FULL_NAMES = {
    **dict.fromkeys(("MAX_ORDER", "MAXORDER", "ORDER_MAX", "ORDER_LIMIT", "ORDERLIMIT"), "IBKR_MAX_ORDER_QUANTITY"),
    **dict.fromkeys(("ORDER_CAP", "MAX_TRADE", "TRADE_LIMIT"), "IBKR_MAX_ORDER_QUANTITY"),
    **dict.fromkeys(("WHITELIST", "ALLOWLIST", "ALLOW_LIST", "WHITE_LIST"), "IBKR_ALLOWED_ACCOUNTS"),
}
"""Short names that are read as they stand: `IBKR_MAX_ORDERS` is a number, and `IBKR_LIMIT_ORDER` a kind of order."""
KNOWN_WORDS = frozenset(
    [*SYNONYMS, *(word for setting in PROTECTIVE_SETTINGS for word in setting.split("_")), "TRADING", "NO"]
) - {"RO", "", "PER", "LOT", "VAL", "CAP", "ACC"}


def misspelt_protective_setting(name: str, settings: Iterable[str]) -> str | None:
    """The protective setting that a name was probably meant for.

    Returns:
        None for a setting, and for a name of another program.
    """
    names = tuple(settings)
    prefix, *words = _raw_words(name)
    if name in names:
        return None
    if prefix in OTHER_PREFIXES:
        return next((each for each in PROTECTIVE_SETTINGS if set(_words(name)) == set(_words(each))), None)
    if _ratio(prefix, OUR_PREFIX) < MIN_PREFIX_SIMILARITY:
        return None
    similarity, most_similar = max((_similarity(name, each), each) for each in names)
    is_similar = similarity >= MIN_SIMILARITY and most_similar in PROTECTIVE_SETTINGS
    return most_similar if is_similar else FULL_NAMES.get("_".join(words))


def _raw_words(name: str) -> list[str]:
    separated = re.sub(r"^IBKR(?=[A-Z])", "IBKR_", name.upper())
    return [word for word in re.split(r"[^A-Z0-9]+", separated) if word] or [""]


def _words(name: str) -> list[str]:
    """The words of a name without its prefix, each in the form that the settings use."""
    _, *raw_words = _raw_words(name)
    own_words = [word for word in raw_words if word not in (OUR_PREFIX, *OTHER_PREFIXES)]
    words = [part for word in own_words for part in _known_words(word) or [word]]  # `MAXQTY` is two words
    return [part for word in words for part in SYNONYMS.get(word, word).split()]


@lru_cache(maxsize=1024)
def _known_words(text: str) -> tuple[str, ...]:
    """The known words that a text consists of, the longest first; empty if it consists of others."""
    if text in KNOWN_WORDS:
        return (text,)
    for end in range(len(text) - 1, 0, -1):
        if text[:end] in KNOWN_WORDS and (rest := _known_words(text[end:])):
            return (text[:end], *rest)
    return ()


def _similarity(name: str, setting: str) -> float:
    """How similar two names are, from 0 to 1, whatever the order of their words."""
    words, wanted = _words(name), _words(setting)
    if " ".join(words) in EQUIVALENTS.get(setting, ()):
        return 1.0
    if MAX_WORD in wanted and not any(_is_maximum(word) for word in words):
        return 0.0  # `IBKR_ORDER_QUANTITY` is what an app orders, and limits nothing
    if len(words) > 1 and wanted[-1] in words and set(words) <= set(wanted):
        return 1.0  # `IBKR_MAX_VALUE` leaves out a word
    if _has_another_word(words, wanted):
        return 0.0
    return max(_ratio("".join(words), "".join(wanted)), _ratio("".join(sorted(words)), "".join(sorted(wanted))))


def _has_another_word(words: list[str], wanted: list[str]) -> bool:
    """Whether two names share words, and the others are not similar."""
    rest, wanted_rest = (sorted(set(one) - set(other)) for one, other in ((words, wanted), (wanted, words)))
    is_comparable = bool(rest) and 0 < len(wanted_rest) < len(set(wanted))
    return is_comparable and _ratio("".join(rest), "".join(wanted_rest)) < MIN_REST_SIMILARITY


def _is_maximum(word: str) -> bool:
    return word.startswith(MAX_WORD) or _ratio(word, MAX_WORD) >= MIN_MAX_SIMILARITY


def _ratio(one: str, other: str) -> float:
    return SequenceMatcher(None, one, other, autojunk=False).ratio()
