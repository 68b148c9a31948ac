"""Which headers pass the bridge in each direction. Pure: two tables and the functions that read them.

Callers' cookies and all other headers of theirs are not sent to IBKR; the Gateway's cookies and headers of IBKR's edge
are not sent to callers. `server/response_headers.py` adds `X-Bridge-*` and the other headers of the bridge.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ibkr_bridge import VERSION
from ibkr_bridge.calls.messages import Headers

# Which headers are sent, and the value if the caller sent none.
REQUEST_HEADERS = {"accept": ("Accept", "*/*"), "content-type": ("Content-Type", "")}
RESPONSE_HEADERS = ("Content-Type", "Content-Encoding", "Content-Language", "Retry-After")
USER_AGENT = f"ibkr-bridge/{VERSION}"  # IBKR's edge answers 403 to calls without one
JSON_HEADERS: Headers = (("Content-Type", "application/json"),)
MAX_HEADER_LENGTH = 1024  # the Gateway accepts 8 kB of headers in all, and these must leave room for the cookies


def request_headers(sent: Iterable[tuple[str, str]]) -> Headers:
    """The headers of a call to IBKR, from those that its caller sent; the first of repeated ones counts.

    Values that the Gateway may not accept (long, or outside ASCII) are left out.
    """
    first_values: dict[str, str] = {}
    for name, value in sent:
        key = name.lower()
        if key in REQUEST_HEADERS and key not in first_values and value.isascii() and len(value) <= MAX_HEADER_LENGTH:
            first_values[key] = value
    crossing = [
        (name, value) for key, (name, default) in REQUEST_HEADERS.items() if (value := first_values.get(key) or default)
    ]
    return (*crossing, ("User-Agent", USER_AGENT))


def response_headers(sent: Mapping[str, str]) -> dict[str, str]:
    """The headers of the Gateway's response that are sent to the caller."""
    return {
        name: value
        for name in RESPONSE_HEADERS
        if (value := sent.get(name)) is not None and value.isascii() and value.isprintable()
    }
