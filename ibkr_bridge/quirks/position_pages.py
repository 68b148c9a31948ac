"""All positions of an account in one answer: page after page until one is empty, as nobody knows how long a page is."""

from __future__ import annotations

from dataclasses import replace

from ibkr_bridge.calls.messages import Call, FetchCall, Response, discard, is_refusal
from ibkr_bridge.errors import GatewayProtocolError
from ibkr_bridge.ibkr.json_spans import Part, elements, join_array

MAX_PAGES = 100  # ten thousand positions; a Gateway that goes on has lost its way


async def fetch_all_positions(ask: FetchCall, call: Call) -> Response:
    """The pages joined; where IBKR refuses one, that is the answer.

    Raises:
        GatewayGarbled: the pages have no end, or one of them cannot be read.
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
    """The positions of one page; None where it is none."""
    if response.status != 200 or response.body_stream is not None:
        return None
    try:
        return elements(response.body.decode())
    except (ValueError, RecursionError):
        return None
