"""The keys a user makes before registering: two RSA pairs and the parameters of a key exchange, all as PEM.

Making RSA pairs is slow, so one process makes two and hands them to every user who brings none.
"""

from __future__ import annotations

import base64
import functools
import textwrap
from dataclasses import dataclass

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from ibkr_bridge.sim.api_host.arithmetic import Group

RSA_BITS = 2048


@dataclass(frozen=True)
class UserKeys:
    """What a user keeps; the public halves and the parameters go to IBKR."""

    signature_key_pem: str
    encryption_key_pem: str
    dhparam_pem: str

    @property
    def signature_public_pem(self) -> str:
        """The file `public_signature.pem` that the user uploads."""
        return _public_pem(self.signature_key_pem)

    @property
    def encryption_public_pem(self) -> str:
        """The file `public_encryption.pem` that the user uploads."""
        return _public_pem(self.encryption_key_pem)


def make_keys(group: Group | None = None) -> UserKeys:
    """Make keys that nobody else has. This takes some tenths of a second."""
    return UserKeys(_make_private_pem(), _make_private_pem(), write_group(group or Group()))


@functools.cache
def usual_keys() -> UserKeys:
    """The keys of every user who brings none, made once in a process."""
    return make_keys()


def load_public_key(pem: str) -> rsa.RSAPublicKey:
    """Read an uploaded public key.

    Raises:
        ValueError: it is no RSA key in PEM.
    """
    key = serialization.load_pem_public_key(pem.encode())
    if not isinstance(key, rsa.RSAPublicKey):
        raise ValueError("not an RSA key")
    return key


def encrypt_secret(key: rsa.RSAPublicKey, secret: bytes) -> str:
    """Encrypt an access token's secret as IBKR shows it to the user: base64."""
    return base64.b64encode(key.encrypt(secret, padding.PKCS1v15())).decode()


def write_group(group: Group) -> str:
    """The parameters as `openssl dhparam` writes them: a sequence of two integers."""
    body = base64.b64encode(_der(0x30, _der_integer(group.p) + _der_integer(group.g))).decode()
    lines = "\n".join(textwrap.wrap(body, 64))
    return f"-----BEGIN DH PARAMETERS-----\n{lines}\n-----END DH PARAMETERS-----\n"


def read_group(pem: str) -> Group:
    """Read uploaded parameters.

    Raises:
        ValueError: they are not a sequence that begins with two integers.
    """
    body = "".join(line for line in pem.splitlines() if not line.startswith("-----"))
    tag, content, _ = _read_der(base64.b64decode(body))
    if tag != 0x30:
        raise ValueError("not a sequence")
    (p_tag, p, rest) = _read_der(content)
    (g_tag, g, _) = _read_der(rest)
    if (p_tag, g_tag) != (2, 2):
        raise ValueError("not two integers")
    return Group(int.from_bytes(p, "big"), int.from_bytes(g, "big"))


def _make_private_pem() -> str:
    key = rsa.generate_private_key(public_exponent=65537, key_size=RSA_BITS)
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    return key.private_bytes(encoding, form, serialization.NoEncryption()).decode()


def _public_pem(private_pem: str) -> str:
    key = serialization.load_pem_private_key(private_pem.encode(), password=None).public_key()
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_bytes(serialization.Encoding.PEM, form).decode()


def _der(tag: int, content: bytes) -> bytes:
    size = len(content)
    if size < 0x80:
        return bytes((tag, size)) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(length))) + length + content


def _der_integer(number: int) -> bytes:
    return _der(2, number.to_bytes(number.bit_length() // 8 + 1, "big"))


def _read_der(data: bytes) -> tuple[int, bytes, bytes]:
    """Split off the first element: its tag, its content, and what follows it."""
    if len(data) < 2:
        raise ValueError("too short")
    tag, size, start = data[0], data[1], 2
    if size & 0x80:
        start += size & 0x7F
        size = int.from_bytes(data[2:start], "big")
    if start + size > len(data):
        raise ValueError("too short")
    return tag, data[start : start + size], data[start + size :]
