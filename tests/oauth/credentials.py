"""A credential for tests: keys that open nothing, and what IBKR would know of them."""

from __future__ import annotations

import base64
from functools import cache

from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from ibkr_bridge.oauth.credential import Credential, OAuth1Credential
from tests.oauth.test_dh_parameters import der, integer, pem
from tests.oauth.vectors import GROUP_14

SECRET = bytes(range(32))
CONSUMER_KEY, ACCESS_TOKEN = "TESTERABC", "a1b2c3d4e5f6a7b8c9d0"


@cache
def signature_key() -> rsa.RSAPrivateKey:
    """The key that signs handshakes."""
    return rsa.generate_private_key(65537, 2048)


@cache
def encryption_key() -> rsa.RSAPrivateKey:
    """The key that decrypts the secret."""
    return rsa.generate_private_key(65537, 2048)


def text_of(key: rsa.RSAPrivateKey) -> str:
    """A key in PEM."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


async def load_credential() -> Credential:
    """The credential as the vault returns it."""
    return credential()


@cache
def credential() -> OAuth1Credential:
    """A credential of the first-party kind."""
    encrypted = encryption_key().public_key().encrypt(SECRET, padding.PKCS1v15())
    return OAuth1Credential(
        CONSUMER_KEY,
        ACCESS_TOKEN,
        base64.b64encode(encrypted).decode(),
        text_of(signature_key()),
        text_of(encryption_key()),
        pem(der(0x30, integer(GROUP_14.p) + integer(GROUP_14.g))),
    )
