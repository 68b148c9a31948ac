"""The numbers of IBKR's OAuth 1.0a, computed from IBKR's side: key exchange, live session token, signatures.

Written from IBKR's description and not from the bridge's code, so that a mistake in one of them shows. Pure functions.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote

RFC3526_GROUP_14 = int(
    "FFFFFFFFFFFFFFFFC90FDAA22168C234C4C6628B80DC1CD129024E088A67CC74020BBEA63B139B22514A08798E3404DDEF9519B3CD3A431B"
    "302B0A6DF25F14374FE1356D6D51C245E485B576625E7EC6F44C42E9A637ED6B0BFF5CB6F406B7EDEE386BFB5A899FA5AE9F24117C4B1FE6"
    "49286651ECE45B3DC2007CB8A163BF0598DA48361C55D39A69163FA8FD24CF5F83655D23DCA3AD961C62F356208552BB9ED529077096966D"
    "670C354E4ABC9804F1746C08CA18217C32905E462E36CE3BE39E772C180E86039B2783A2EC07A28FB5C55DF06F4C52C9DE2BCBF695581718"
    "3995497CEA956AE515D2261898FA051015728E5A8AACAA68FFFFFFFFFFFFFFFF",
    16,
)
"""A prime of 2048 bits; its generator is 2."""


@dataclass(frozen=True)
class Group:
    """The parameters of a key exchange, as they stand in a user's `dhparam.pem`."""

    p: int = RFC3526_GROUP_14
    g: int = 2


@dataclass(frozen=True)
class Agreement:
    """What one key exchange gives: the number that the client gets, and the live session token it leads to."""

    response: int
    shared: int
    live_session_token: bytes

    def signature(self, consumer_key: str) -> str:
        """The proof that the client can check: HMAC-SHA1 of the consumer key, in hexadecimal."""
        return hmac.new(self.live_session_token, consumer_key.encode(), hashlib.sha1).hexdigest()


def agree(group: Group, challenge: int, own_number: int, secret: bytes) -> Agreement:
    """Answer a client's challenge with IBKR's own random number."""
    shared = pow(challenge, own_number, group.p)
    token = hmac.new(shortest_twos_complement(shared), secret, hashlib.sha1).digest()
    return Agreement(pow(group.g, own_number, group.p), shared, token)


def find_number(group: Group, challenge: int, start: int, bits: int) -> int:
    """The first number from `start` on with which the shared number has exactly so many bits.

    One step is one multiplication, so even the rare lengths are found at once.
    """
    number, shared = start, pow(challenge, start, group.p)
    while shared.bit_length() != bits:
        number, shared = number + 1, shared * challenge % group.p
    return number


def shortest_twos_complement(number: int) -> bytes:
    """The bytes of a number as Java writes a BigInteger: as few as possible, and the top bit is free for the sign."""
    return number.to_bytes(number.bit_length() // 8 + 1, "big")


def escape(text: str) -> str:
    """Percent-encode all but letters, digits and `-._~`."""
    return quote(text, safe="-._~")


def base_string(method: str, url: str, parameters: Mapping[str, str], prepend: str = "") -> str:
    """The text that is signed: method, URL, and the sorted parameters, which are joined before they are encoded."""
    joined = "&".join(f"{name}={parameters[name]}" for name in sorted(parameters))
    return f"{prepend}{method}&{escape(url)}&{escape(joined)}"


def hmac_signature(live_session_token: bytes, base: str) -> str:
    """The signature of an ordinary call: HMAC-SHA256 in base64, not yet percent-encoded."""
    return base64.b64encode(hmac.new(live_session_token, base.encode(), hashlib.sha256).digest()).decode()
