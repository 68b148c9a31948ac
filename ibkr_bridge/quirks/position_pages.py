"""All positions of an account in one response: fetch pages until one has nothing new, as the length of a page is not
documented.

IBKR ends the list with an empty page. For some accounts it repeats an earlier page instead. The prices in it may differ
from those of the first time, so a page is recognised by its positions and not by its bytes.
"""

from __future__ import annotations

import copy
from collections.abc import Hashable
from dataclasses import replace

from ibkr_bridge.calls.messages import Call, FetchCall, Response, discard, is_refusal
from ibkr_bridge.errors import BridgeError, GatewayProtocolError
from ibkr_bridge.ibkr.json_spans import Part, elements, join_array

MAX_PAGES = 100  # ten thousand positions; more pages are an error of the Gateway


async def fetch_all_positions(ask: FetchCall, call: Call) -> Response:
    """Fetch and join the pages; if IBKR refuses one, that is the response.

    Raises:
        GatewayProtocolError: there is no last page, or a page cannot be read.
        BridgeError: a page could not be fetched. The detail says how many came before it.
    """
    path, mark, query = call.target.partition("?")
    texts: list[str] = []
    read_so_far: set[Hashable] = set()
    for page in range(MAX_PAGES):
        try:
            response = await ask(replace(call, target=f"{path.removesuffix('/')}/{page}{mark}{query}"))
            parts = _parse_page(response)
        except BridgeError as exc:
            raise _with_progress(exc, page, len(texts)) from exc
        if parts is None:
            return response
        identities = {_identity(part) for part in parts}
        if identities <= read_so_far:  # an empty page, or one that repeats what came before
            return replace(response, body=join_array(texts).encode())
        read_so_far |= identities
        texts += [text for _, text in parts]
    raise _with_progress(GatewayProtocolError("the Gateway has more than a hundred pages"), MAX_PAGES, len(texts))


def _with_progress(error: BridgeError, pages: int, positions: int) -> BridgeError:
    """The same error, which says how far the list was read. A copy, as other callers may have got the error too."""
    copied = copy.copy(error)
    copied.detail = f"{error.detail}; {pages} complete pages with {positions} positions were read before that"
    return copied


def _identity(part: Part) -> Hashable:
    """What makes a position the same when its page is repeated: account, contract and model; else its text."""
    row, text = part
    if not isinstance(row, dict) or "conid" not in row:
        return text
    return tuple(str(row.get(name)) for name in ("acctId", "conid", "model"))


def _parse_page(response: Response) -> list[Part] | None:
    """The positions of one page; None if IBKR refuses it.

    Raises:
        GatewayProtocolError: it is neither a list nor a refusal.
    """
    if response.status == 200 and response.body_stream is None:
        try:
            return elements(response.body.decode())
        except (ValueError, RecursionError):
            pass
    if is_refusal(response):
        return None
    discard(response)
    raise GatewayProtocolError("a page of positions cannot be read")
