"""The request's target, taken raw and only in its one canonical form. Pure.

The Gateway passes targets on byte for byte, so whatever two programs on the way could read differently is refused
here: what the rules saw is what IBKR gets. Some targets would make the Gateway hang or go astray; they are refused too.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import unquote_plus

from ibkr_bridge.errors import BadPath, BadRequest, UriTooLong
from ibkr_bridge.ibkr.catalogue import MALFORMED_ESCAPE, NOT_VISIBLE_ASCII, decode_segments

MAX_TARGET_BYTES = 4000  # bytes: the Gateway's request line takes 4096, the method, our prefix and HTTP/1.1 included
AMBIGUOUS_IN_PATH = re.compile(r"[\\;#]|%(?:[01][0-9A-F]|2F|5C|25|3B|3F|23|7F)", re.IGNORECASE)
REWRITTEN_BY_GATEWAY = "/v1/portal"  # the Gateway replaces it by /v1/api wherever it stands
HIJACKING_PARAMETER = "param1"  # a parameter of this name changes the Gateway's routing


@dataclass(frozen=True)
class Target:
    """A target that may go on."""

    path: str
    """Raw."""
    query: str
    """Raw, with its question mark; empty where there was none."""
    segments: tuple[str, ...]
    """The path between its slashes, decoded, without a trailing empty one."""

    @property
    def raw_segments(self) -> list[str]:
        """The path between its slashes as it came, a trailing empty one included."""
        return self.path[1:].split("/")


@dataclass(frozen=True)
class UpstreamTarget:
    """Where a bridged call goes: its path below `/v1/api`, decoded for the rules and raw for the wire."""

    segments: tuple[str, ...]
    raw_path: str


@lru_cache(maxsize=1024)  # apps ask the same few questions for ever
def read_target(raw: str) -> Target:
    """Judge a raw target.

    Args:
        raw: as in the request line; bytes outside ASCII as surrogates.

    Raises:
        UriTooLong, BadPath, BadRequest: it cannot go on, and why; the text itself is not repeated.
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
    if NOT_VISIBLE_ASCII.search(path):
        raise BadPath("the path has characters outside visible ASCII", hint="percent-encode them")
    if MALFORMED_ESCAPE.search(path):
        raise BadPath("the path has a malformed percent-escape", hint="write a literal percent sign nowhere in a path")
    if AMBIGUOUS_IN_PATH.search(path):
        raise BadPath("the path has a character that programs on the way could read differently")
    segments = path[1:].removesuffix("/").split("/")
    if path != "/" and ("" in segments or {".", ".."} & set(decode_segments(path))):
        raise BadPath("the path has empty or dot segments")
    if REWRITTEN_BY_GATEWAY in path.lower():
        raise BadPath("the path has /v1/portal in it, which the Gateway would rewrite", hint="use /v1/api instead")


def _check_query(query: str) -> None:
    if NOT_VISIBLE_ASCII.search(query) or "#" in query:
        raise BadPath("the query has characters outside visible ASCII, or a fragment", hint="percent-encode them")
    if MALFORMED_ESCAPE.search(query):
        raise BadRequest("the query has a malformed percent-escape", hint="write a literal percent sign as %25")
    if REWRITTEN_BY_GATEWAY in query.lower():
        raise BadRequest("the query has /v1/portal in it, which the Gateway would rewrite", hint="write its / as %2F")
    names = (unquote_plus(part.partition("=")[0]).strip().lower() for part in re.split("[&;]", query))
    if HIJACKING_PARAMETER in names:
        raise BadRequest("a parameter named param1 would hijack the Gateway's routing", hint="leave it out")
