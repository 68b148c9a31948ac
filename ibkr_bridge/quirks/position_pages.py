"""All positions of an account in one answer: page after page until one is empty, as nobody knows how long a page is."""

from __future__ import annotations

from dataclasses import replace

from ibkr_bridge.calls.messages import Answer, Ask, Call, let_go, says_no
from ibkr_bridge.errors import GatewayGarbled
from ibkr_bridge.ibkr.json_spans import Part, elements, joined

MOST_PAGES = 100  # ten thousand positions; a Gateway that goes on has lost its way


async def positions(ask: Ask, call: Call) -> Answer:
    """The pages joined; where IBKR refuses one, that is the answer.

    Raises:
        GatewayGarbled: the pages have no end, or one of them cannot be read.
    """
    path, mark, query = call.target.partition("?")
    texts: list[str] = []
    for page in range(MOST_PAGES):
        answer = await ask(replace(call, target=f"{path.removesuffix('/')}/{page}{mark}{query}"))
        parts = _page(answer)
        if parts is None and says_no(answer):
            return answer
        if parts is None:
            let_go(answer)
            raise GatewayGarbled("a page of positions cannot be read")
        if not parts:
            return replace(answer, body=joined(texts).encode())
        texts += [text for _, text in parts]
    raise GatewayGarbled("the Gateway has more than a hundred pages of positions")


def _page(answer: Answer) -> list[Part] | None:
    """The positions of one page; None where it is none."""
    if answer.status != 200 or answer.rest is not None:
        return None
    try:
        return elements(answer.body.decode())
    except (ValueError, RecursionError):
        return None
