"""The file of Diffie-Hellman parameters, as `openssl dhparam` writes it (PKCS#3). Pure.

The file is read here, in a few lines, since strict libraries refuse some of those that IBKR takes.
"""

from __future__ import annotations

import base64
import binascii
import re

from ibkr_bridge.oauth.live_session_token import Group

PEM = re.compile(r"-----BEGIN ([A-Z0-9. ]+)-----\s*([A-Za-z0-9+/=\s]+?)-----END \1-----")
LABEL = "DH PARAMETERS"
SEQUENCE, INTEGER = 0x30, 0x02
MAX_BYTES = 8192
MIN_BITS = 1024


class ParametersProblem(ValueError):
    """A file that cannot be used. The message is for a person."""


def read_dh_parameters(text: str) -> Group:
    """The group of a file in PEM.

    Raises:
        ParametersProblem: it is no such file.
    """
    match = PEM.search(text) if len(text) <= MAX_BYTES else None
    if match is None:
        raise ParametersProblem("this is no file in PEM; make one: openssl dhparam -out dhparam.pem 2048")
    if match[1] != LABEL:
        raise ParametersProblem(f"this is a file of {match[1]}, and no {LABEL}; make one without -dsaparam")
    try:
        data = base64.b64decode("".join(match[2].split()), validate=True)
    except (binascii.Error, ValueError) as exc:
        raise ParametersProblem("the file is damaged: it is no Base64") from exc
    p, g = _two_integers(data)
    if p.bit_length() < MIN_BITS or g < 2:
        raise ParametersProblem(f"the number p has {p.bit_length()} bits; IBKR wants 2048")
    return Group(p, g)


def _two_integers(data: bytes) -> tuple[int, int]:
    tag, content, rest = _element(data)
    if tag != SEQUENCE or rest:
        raise ParametersProblem("the file is damaged: it is no sequence")
    numbers = []
    for _ in range(2):
        tag, number, content = _element(content)
        if tag != INTEGER or not number or number[0] & 0x80:
            raise ParametersProblem("the file is damaged: a number is missing or negative")
        numbers.append(int.from_bytes(number, "big"))
    return numbers[0], numbers[1]


def _element(data: bytes) -> tuple[int, bytes, bytes]:
    """The tag, the content and the rest of a DER element (X.690, section 8.1)."""
    if len(data) < 2:
        raise ParametersProblem("the file is damaged: it ends too early")
    tag, length, start = data[0], data[1], 2
    if length & 0x80:
        count = length & 0x7F
        start += count
        if not 1 <= count <= 4 or len(data) < start:
            raise ParametersProblem("the file is damaged: a length cannot be read")
        length = int.from_bytes(data[2:start], "big")
    if len(data) < start + length:
        raise ParametersProblem("the file is damaged: it ends too early")
    return tag, data[start : start + length], data[start + length :]
