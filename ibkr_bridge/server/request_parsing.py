"""What callers write in a request: body, X-Bridge-Wait, X-Bridge-Max-Age, X-Bridge-Confirm, Idempotency-Key."""

from __future__ import annotations

import asyncio
import re

from aiohttp import hdrs, web

from ibkr_bridge.errors import BadRequest, PayloadTooLarge

MAX_BODY_BYTES = 1024 * 1024  # bytes
BODY_TIMEOUT_S = 15.0  # seconds for a caller to send it
MAX_WAIT_S = 60.0  # seconds a caller may ask us to wait
WORD_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,31}")
MAX_WORDS = 64  # of X-Bridge-Confirm; IBKR knows some forty questions
QUOTED_KEY = re.compile(r'"((?:[!#-\[\]-~ ]){1,255})"|([!#-\[\]-~]{1,255})')


def header_words(request: web.Request, header: str) -> frozenset[str]:
    """The words of a header that lists some, between commas.

    Raises:
        BadRequest: one is none.
    """
    given = [word.strip() for value in request.headers.getall(header, ()) for word in value.split(",")]
    found = frozenset(filter(None, given))
    if len(found) > MAX_WORDS or not all(map(WORD_PATTERN.fullmatch, found)):
        raise BadRequest(
            f"{header} must be a comma-separated list", hint="send message ids or words, between commas: o163,o354"
        )
    return found


def idempotency_key(request: web.Request) -> str | None:
    """The caller's Idempotency-Key, quoted as its standard's draft says or not.

    Raises:
        BadRequest: there are several, or it is none.
    """
    given = request.headers.getall("Idempotency-Key", [])
    if not given:
        return None
    found = QUOTED_KEY.fullmatch(given[0].strip())
    key = found.group(1) or found.group(2) if found else None
    if len(given) != 1 or key is None:
        raise BadRequest("invalid Idempotency-Key", hint="send one value of 1 to 255 visible ASCII characters")
    return key


def header_seconds(request: web.Request, header: str, most: float) -> float | None:
    """What a header asks for, seconds; None where it asks for nothing.

    Raises:
        BadRequest: it is no number of seconds.
    """
    given = request.headers.get(header)
    if given is None:
        return None
    if not re.fullmatch(r"\d{1,9}(\.\d{1,9})?", given, re.ASCII):
        raise BadRequest(f"{header} must be a number of seconds", hint=f"send a number from 0 to {most:.0f}")
    return min(float(given), most)


async def read_body(request: web.Request) -> bytes:
    """The body, all of it, before anything is sent.

    Raises:
        PayloadTooLarge, BadRequest: it is too large, too slow, or not what its headers say.
    """
    if not request.body_exists:
        return b""
    if (request.content_length or 0) > MAX_BODY_BYTES:
        raise PayloadTooLarge("the body is larger than 1 MiB")
    if request.headers.get(hdrs.EXPECT, "").lower() == "100-continue":
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            return await request.read()
    except web.HTTPRequestEntityTooLarge as exc:
        raise PayloadTooLarge("the body is larger than 1 MiB") from exc
    except TimeoutError as exc:
        raise BadRequest("the body did not come in time", hint="send the whole body at once") from exc
    except (web.RequestPayloadError, ValueError) as exc:
        raise BadRequest("the body is not what its headers say") from exc
