"""Parses what callers send: the body and the headers of X-Bridge-Wait, X-Bridge-Max-Age, X-Bridge-Confirm,
Idempotency-Key.
"""

from __future__ import annotations

import asyncio
import re

from aiohttp import hdrs, web

from ibkr_bridge.errors import BadRequest, PayloadTooLarge

MAX_BODY_BYTES = 1024 * 1024
BODY_TIMEOUT_S = 15.0  # for a caller to send the complete body
MAX_WAIT_S = 60.0  # the largest X-Bridge-Wait
WORD_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,31}")
MAX_WORDS = 64  # of X-Bridge-Confirm; IBKR has about forty questions
QUOTED_KEY = re.compile(r'"((?:[!#-\[\]-~ ]){1,255})"|([!#-\[\]-~]{1,255})')


def header_words(request: web.Request, header: str) -> frozenset[str]:
    """The words of a header with a comma-separated list.

    Raises:
        BadRequest: the header has too many words, or one that is not a word.
    """
    words = [word.strip() for value in request.headers.getall(header, ()) for word in value.split(",")]
    distinct = frozenset(filter(None, words))
    if len(distinct) > MAX_WORDS or not all(map(WORD_PATTERN.fullmatch, distinct)):
        raise BadRequest(
            f"{header} must be a comma-separated list", hint="send message ids or words, between commas: o163,o354"
        )
    return distinct


def idempotency_key(request: web.Request) -> str | None:
    """The caller's Idempotency-Key, with the quotes of draft-ietf-httpapi-idempotency-key-header or without.

    Raises:
        BadRequest: there are several, or the value is invalid.
    """
    values = request.headers.getall("Idempotency-Key", [])
    if not values:
        return None
    match = QUOTED_KEY.fullmatch(values[0].strip())
    key = match.group(1) or match.group(2) if match else None
    if len(values) != 1 or key is None:
        raise BadRequest("invalid Idempotency-Key", hint="send one value of 1 to 255 visible ASCII characters")
    return key


def header_seconds(request: web.Request, header: str, max_s: float) -> float | None:
    """The seconds in a header, at most `max_s`; None if the header is absent.

    Raises:
        BadRequest: the value is not a number of seconds.
    """
    text = request.headers.get(header)
    if text is None:
        return None
    if not re.fullmatch(r"\d{1,9}(\.\d{1,9})?", text, re.ASCII):
        raise BadRequest(f"{header} must be a number of seconds", hint=f"send a number from 0 to {max_s:.0f}")
    return min(float(text), max_s)


async def read_body(request: web.Request) -> bytes:
    """Read the complete body.

    Raises:
        PayloadTooLarge: it is larger than 1 MiB.
        BadRequest: it came too slowly, or does not match its headers.
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
