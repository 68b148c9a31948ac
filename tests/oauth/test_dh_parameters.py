"""The file of Diffie-Hellman parameters."""

from __future__ import annotations

import base64
import shutil
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ibkr_bridge.oauth.dh_parameters import ParametersProblem, read_dh_parameters
from tests.oauth.vectors import EXAMPLE_GROUP, GROUP_14


def der(tag: int, content: bytes) -> bytes:
    """An element, with a length in the short or the long form."""
    if len(content) < 128:
        return bytes((tag, len(content))) + content
    length = len(content).to_bytes((len(content).bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(length))) + length + content


def integer(number: int) -> bytes:
    """An INTEGER, with a zero byte if its first bit is set."""
    return der(2, number.to_bytes(number.bit_length() // 8 + 1, "big"))


def pem(data: bytes, label: str = "DH PARAMETERS") -> str:
    """A file."""
    text = base64.encodebytes(data).decode()
    return f"-----BEGIN {label}-----\n{text}-----END {label}-----\n"


@pytest.mark.parametrize("group", [GROUP_14, EXAMPLE_GROUP], ids=["RFC 3526", "IBKR's example"])
@pytest.mark.parametrize("more", [b"", integer(225)], ids=["two numbers", "with a length"])
def test_the_group_of_a_file(group: object, more: bytes) -> None:
    """Also one that a strict library refuses, and one with the length of the exponent."""
    assert isinstance(group, type(GROUP_14))
    data = der(0x30, integer(group.p) + integer(group.g) + more)

    assert read_dh_parameters("before\r\n" + pem(data).replace("\n", "\r\n")) == group


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is missing")
def test_openssl_writes_what_is_read() -> None:
    """A small group, since a large one takes a minute."""
    made = subprocess.run(["openssl", "dhparam", "-2", "1024"], capture_output=True, text=True, check=True)

    group = read_dh_parameters(made.stdout)

    assert (group.p.bit_length(), group.g) == (1024, 2)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no file in PEM"),
        ("x" * 10_000, "no file in PEM"),
        (pem(b"x", "X9.42 DH PARAMETERS"), "X9.42"),
        (pem(b"x", "PRIVATE KEY"), "PRIVATE KEY"),
        (pem(der(0x30, integer(GROUP_14.p))), "damaged"),
        (pem(der(0x31, integer(GROUP_14.p) + integer(2))), "damaged"),
        (pem(der(0x30, integer(GROUP_14.p) + integer(2)) + b"more"), "damaged"),
        (pem(der(0x30, integer(GROUP_14.p) + integer(2))[:-3]), "damaged"),
        (pem(b"\x30\x85\x01\x01\x01\x01\x01"), "damaged"),
        (pem(der(0x30, der(2, b"\xff" * 200) + integer(2))), "negative"),
        (pem(der(0x30, integer(23) + integer(2))), "5 bits"),
    ],
)
def test_another_file_is_named(text: str, words: str) -> None:
    """The message says what it is and what to do."""
    with pytest.raises(ParametersProblem, match=words):
        read_dh_parameters(text)


@given(st.binary(max_size=300))
def test_no_bytes_are_more_than_a_problem(data: bytes) -> None:
    """Whatever somebody uploads."""
    try:
        read_dh_parameters(pem(data))
    except ParametersProblem as exc:
        assert str(exc)
