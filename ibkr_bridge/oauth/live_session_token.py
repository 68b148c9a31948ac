"""The live session token: agreed on by Diffie-Hellman, and never sent. Pure: random numbers are passed in.

IBKR's own example has a p that is no prime and a g above p, which a library for Diffie-Hellman refuses. So the exchange
is two plain modular powers.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

TOKEN_BYTES = 20  # of SHA-1
MAX_LIFE = timedelta(hours=24)
MIN_LIFE = timedelta(hours=1)  # an end that is nearer is taken for the time at which the token was made
HEX = re.compile(r"[0-9a-fA-F]{1,2048}")


@dataclass(frozen=True)
class Group:
    """The Diffie-Hellman parameters that were uploaded to IBKR."""

    p: int = field(repr=False)
    g: int = field(repr=False)

    def challenge(self, a: int) -> str:
        """What IBKR gets: g^a mod p in hex.

        Args:
            a: 256 random bits, not 0, others for each handshake.
        """
        return f"{pow(self.g, a, self.p):x}"

    def shared_number(self, response: str, a: int) -> int:
        """The number that both sides know: B^a mod p.

        Raises:
            ValueError: IBKR's answer is no number between 1 and p - 1: anybody could then know the result.
        """
        if not HEX.fullmatch(response):
            raise ValueError("the answer to the challenge is no hexadecimal number")
        b = int(response, 16)
        if not 1 < b < self.p - 1:
            raise ValueError("the answer to the challenge is out of range")
        return pow(b, a, self.p)


def number_bytes(number: int) -> bytes:
    """A positive number in two's complement, big-endian, as short as possible.

    So a zero byte stands in front whenever the number of bits is a multiple of 8.
    """
    return number.to_bytes(number.bit_length() // 8 + 1, "big")


def derive_token(shared_number: int, secret: bytes) -> bytes:
    """The live session token: 20 bytes, which sign every further call."""
    return hmac.digest(number_bytes(shared_number), secret, "sha1")


def is_confirmed(token: bytes, consumer_key: str, signature: str) -> bool:
    """Whether IBKR has derived the same token: it sends a signature of the consumer key."""
    try:
        received = binascii.unhexlify(signature.strip())
    except (binascii.Error, ValueError):
        return False
    return hmac.compare_digest(hmac.digest(token, consumer_key.encode(), "sha1"), received)


def end_of_life(now: datetime, milliseconds: object) -> datetime:
    """When the token ends, at most a day from now.

    Args:
        milliseconds: IBKR's `live_session_token_expiration`. One document calls it the end, another one the time at
            which the token was computed; a time that is not an hour ahead is taken as the beginning.
    """
    latest = now + MAX_LIFE
    if not isinstance(milliseconds, int) or isinstance(milliseconds, bool):
        return latest
    try:
        stated = datetime.fromtimestamp(milliseconds / 1000, UTC)
    except (OverflowError, OSError, ValueError):
        return latest
    end = stated if stated >= now + MIN_LIFE else stated + MAX_LIFE
    return min(end, latest) if end > now else latest


def token_text(token: bytes) -> str:
    """The token as other programs write it, in Base64."""
    return base64.b64encode(token).decode("ascii")
