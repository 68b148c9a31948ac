"""The request's target: it is accepted only in its canonical form. Pure.

The Gateway passes targets on byte for byte. So a target that two programs could read differently is refused here: IBKR
gets exactly what the rules have checked. Targets on which the Gateway hangs or changes the route are refused too.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import unquote_plus, unquote_to_bytes

from ibkr_bridge.errors import BadPath, BadRequest, UriTooLong
from ibkr_bridge.ibkr.catalogue import MALFORMED_ESCAPE, NOT_VISIBLE_ASCII, decode_segments

MAX_TARGET_BYTES = 4000  # the Gateway's request line takes 4096, the method, our prefix and HTTP/1.1 included
AMBIGUOUS_IN_PATH = re.compile(r"[\\;#]|%(?:[01][0-9A-F]|2F|5C|25|3B|3F|23|7F)", re.IGNORECASE)
ESCAPED_LETTER = re.compile(r"%(?:3[0-9]|[46][1-9A-F]|[57][0-9A])", re.IGNORECASE)
"""Letters and digits, which no library escapes (RFC 3986, section 2.3): a program that compares the raw path would read
another word. Marks such as `-` and `~` are escaped by some, and the rules read them decoded.
"""
FORBIDDEN_IN_PATH: tuple[tuple[re.Pattern[str], str, str | None], ...] = (
    (NOT_VISIBLE_ASCII, "characters outside visible ASCII", "percent-encode them"),
    (MALFORMED_ESCAPE, "a malformed percent-escape", "no literal percent sign is accepted in a path"),
    (AMBIGUOUS_IN_PATH, "a character that two programs could read differently", None),
    (ESCAPED_LETTER, "a letter or digit as a percent-escape", "write it as it is"),
)
"""What may not stand in a path, in words, and what to do instead."""
REWRITTEN_BY_GATEWAY = "/v1/portal"  # the Gateway replaces it by /v1/api, in any place of the target
HIJACKING_PARAMETER = "param1"  # a parameter of this name changes the Gateway's routing


@dataclass(frozen=True)
class Target:
    """A target that was accepted."""

    path: str
    """As it was sent."""
    query: str
    """As it was sent, with its question mark; empty if there was none."""
    segments: tuple[str, ...]
    """The segments of the path, decoded, without an empty last one."""

    @property
    def raw_segments(self) -> list[str]:
        """The segments of the path as they were sent, with an empty last one after a final slash."""
        return self.path[1:].split("/")


@dataclass(frozen=True)
class UpstreamTarget:
    """Where a proxied call goes: its path below `/v1/api`, decoded for the rules and unchanged for IBKR."""

    segments: tuple[str, ...]
    raw_path: str


@lru_cache(maxsize=1024)  # apps send the same few targets again and again
def read_target(raw: str) -> Target:
    """Check a target and split it.

    Args:
        raw: as in the request line; bytes outside ASCII as surrogates.

    Raises:
        UriTooLong, BadPath, BadRequest: it is refused. The error gives the reason and does not repeat the text.
    """
    if len(raw) > MAX_TARGET_BYTES:
        raise UriTooLong("path and query are longer than the Gateway accepts")
    path, mark, query = raw.partition("?")
    _check_path(path)
    _check_query(query)
    return Target(path, mark + query, decode_segments(path))


def _check_path(path: str) -> None:
    if not path.startswith("/"):
        raise BadPath("the target is not a path", hint="send the path alone, beginning with a slash")
    for pattern, detail, hint in FORBIDDEN_IN_PATH:
        if pattern.search(path):
            raise BadPath(f"the path has {detail}", hint=hint)
    if not _is_utf8(path):
        raise BadPath("the path has percent-escapes that are not UTF-8")
    segments = path[1:].removesuffix("/").split("/")
    if path != "/" and ("" in segments or {".", ".."} & set(decode_segments(path))):
        raise BadPath("the path has empty or dot segments")
    if REWRITTEN_BY_GATEWAY in path.lower():
        raise BadPath("the path contains /v1/portal, which the Gateway would rewrite", hint="use /v1/api instead")


def _is_utf8(path: str) -> bool:
    """Whether the escapes decode to UTF-8; an overlong form such as %C0%AE, a dot to some programs, does not."""
    try:
        unquote_to_bytes(path).decode()
    except UnicodeDecodeError:
        return False
    return True


def _check_query(query: str) -> None:
    if NOT_VISIBLE_ASCII.search(query) or "#" in query:
        raise BadPath("the query has characters outside visible ASCII, or a fragment", hint="percent-encode them")
    if MALFORMED_ESCAPE.search(query):
        raise BadRequest("the query has a malformed percent-escape", hint="write a literal percent sign as %25")
    if REWRITTEN_BY_GATEWAY in query.lower():
        raise BadRequest("the query contains /v1/portal, which the Gateway would rewrite", hint="write its / as %2F")
    names = (unquote_plus(part.partition("=")[0]).strip().lower() for part in re.split("[&;]", query))
    if HIJACKING_PARAMETER in names:
        raise BadRequest("a parameter named param1 would change the Gateway's routing", hint="remove it")
