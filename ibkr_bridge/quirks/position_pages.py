"""All positions of an account in one response: fetch pages until one is empty, as the length of a page is not
documented.
"""

from __future__ import annotations

from dataclasses import replace

from ibkr_bridge.calls.messages import Call, FetchCall, Response, discard, is_refusal
from ibkr_bridge.errors import GatewayProtocolError
from ibkr_bridge.ibkr.json_spans import Part, elements, join_array

MAX_PAGES = 100  # ten thousand positions; more pages are an error of the Gateway


async def fetch_all_positions(ask: FetchCall, call: Call) -> Response:
    """Fetch and join the pages; if IBKR refuses one, that is the response.

    Raises:
        GatewayProtocolError: there is no last page, or a page cannot be read.
    """
    path, mark, query = call.target.partition("?")
    texts: list[str] = []
    for page in range(MAX_PAGES):
        response = await ask(replace(call, target=f"{path.removesuffix('/')}/{page}{mark}{query}"))
        parts = _parse_page(response)
        if parts is None and is_refusal(response):
            return response
        if parts is None:
            discard(response)
            raise GatewayProtocolError("a page of positions cannot be read")
        if not parts:
            return replace(response, body=join_array(texts).encode())
        texts += [text for _, text in parts]
    raise GatewayProtocolError("the Gateway has more than a hundred pages of positions")


def _parse_page(response: Response) -> list[Part] | None:
    """The positions of one page; None if the body is not a list."""
    if response.status != 200 or response.body_stream is not None:
        return None
    try:
        return elements(response.body.decode())
    except (ValueError, RecursionError):
        return None
