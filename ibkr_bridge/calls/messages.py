"""What a road to IBKR takes and gives; everything above talks to an `Upstream` and knows no more of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

from ibkr_bridge.errors import GatewaySilent
from ibkr_bridge.ibkr.bodies import hides_error

LARGEST = 4 * 1024 * 1024  # bytes of an answer that is kept whole
WHOLE_WITHIN = 30.0  # seconds for it to come

Headers = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Call:
    """One request to IBKR.

    Args:
        method: in capitals.
        target: path and query exactly as they go out, `/v1/api/…`.
        headers: what crosses upwards, already chosen.
        body: whole; its length is always said, as the Gateway loses chunked bodies.
        changes: it may change something at IBKR, so it travels alone and is never repeated.
    """

    method: str
    target: str
    headers: Headers = ()
    body: bytes = field(default=b"", repr=False)
    changes: bool = False


class Rest(Protocol):
    """The part of a large body that has not been read yet."""

    def pieces(self) -> AsyncIterator[bytes]:
        """What comes, as it comes.

        Raises:
            GatewaySilent: the next piece did not come within the deadline.
            GatewayGarbled: the connection ended before the body did.
        """
        ...

    def close(self) -> None:
        """No more of it is wanted. Must be called in the end, read or not; again does no harm."""
        ...


@dataclass(frozen=True)
class Answer:
    """What came back: a small body whole, a large one as its beginning and the rest to be read.

    Whoever is given a `rest` must close it: until then the Gateway's slot is taken.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)
    rest: Rest | None = field(default=None, repr=False)
    notes: Mapping[str, str] = field(default_factory=dict)
    """What the bridge has to say of it, as headers of its own."""
    passing: bool = False
    """Whether it will do for now, but is not to be told again."""


def in_words(told: object) -> Answer:
    """An answer of our own making, in IBKR's form."""
    body = json.dumps(told, separators=(",", ":")).encode()
    return Answer(200, {"Content-Type": "application/json;charset=utf-8"}, body)


def let_go(answer: Answer | None) -> None:
    """Nobody wants the rest of an answer."""
    if answer is not None and answer.rest is not None:
        answer.rest.close()


async def whole(answer: Answer, largest: int = LARGEST) -> Answer:
    """An answer with its body read, as far as that is no larger than what may be kept.

    Raises:
        GatewayTrouble: it broke off, or came so slowly that nobody waits for it.
    """
    if answer.rest is None:
        return answer
    pieces, size = [answer.body], len(answer.body)
    try:
        async with asyncio.timeout(WHOLE_WITHIN):
            async for piece in answer.rest.pieces():
                pieces.append(piece)
                size += len(piece)
                if size > largest:
                    return replace(answer, body=b"".join(pieces))
    except TimeoutError as exc:
        let_go(answer)
        raise GatewaySilent("the Gateway sends its answer too slowly") from exc
    except BaseException:
        let_go(answer)
        raise
    let_go(answer)
    return replace(answer, body=b"".join(pieces), rest=None)


Left = Callable[[], None]
"""Called once, when the Gateway no longer works on a call: its slot over there is free again."""


def nobody() -> None:
    """For those who count no slots."""


Late = Callable[[Answer], None]
"""Is told an answer that came when nobody waited for it any more."""


LastLook = Callable[[Callable[[], None]], Awaitable[None]]
"""Awaited when the connection stands and nothing has been sent yet; what it raises stops the call. Where it takes time
it calls what it is given, which raises if the connection has ended meanwhile. The first byte leaves in the same turn of
the loop in which it returns."""


async def go(_: Callable[[], None]) -> None:
    """Nothing stops this call."""


def once(left: Left) -> Left:
    """The same, but harmless when it is called again: a call has several ways to end."""
    waiting = [left]

    def say() -> None:
        if waiting:
            waiting.pop()()

    return say


Ask = Callable[[Call], Awaitable[Answer]]
"""Asks one of the calls that an answer is made of."""


def says_no(answer: Answer) -> bool:
    """Whether IBKR refuses: by its status, or inside its 200."""
    return answer.status != 200 or (answer.rest is None and hides_error(answer.body))
