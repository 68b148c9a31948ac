"""Signatures: RSA for the handshake, HMAC for every other call; and the decryption of the token secret. Pure."""

from __future__ import annotations

import base64
import binascii
import hmac

from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key

MIN_BITS, MAX_BITS = 2048, 8192
SECRET_BYTES = 32  # of a decrypted token secret, in all that IBKR has shown


class KeyProblem(ValueError):
    """A key that cannot be used. The message is for a person, and has nothing of the key."""


class WrongKey(KeyProblem):
    """The key cannot have encrypted this text."""


def load_rsa_key(pem: bytes) -> RSAPrivateKey:
    """Read a private key, PKCS#1 or PKCS#8.

    Raises:
        KeyProblem: it is no RSA key, has a password, or is too short.
    """
    try:
        key = load_pem_private_key(pem, password=None)
    except TypeError as exc:
        raise KeyProblem("the key has a password; remove it: openssl rsa -in KEY -out KEY") from exc
    except ValueError as exc:
        raise KeyProblem("this is no private key in PEM") from exc
    if not isinstance(key, RSAPrivateKey):
        raise KeyProblem("this is no RSA key")
    if not MIN_BITS <= key.key_size <= MAX_BITS:
        raise KeyProblem(f"the key has {key.key_size} bits; IBKR wants {MIN_BITS}")
    return key


def sign_rsa(key: RSAPrivateKey, base: str) -> bytes:
    """Sign a base string for the handshake, PKCS#1 v1.5 with SHA-256; in Base64."""
    return base64.b64encode(key.sign(base.encode(), padding.PKCS1v15(), SHA256()))


def sign_hmac(live_session_token: bytes, base: str) -> bytes:
    """Sign a base string with the live session token; in Base64."""
    return base64.b64encode(hmac.digest(live_session_token, base.encode(), "sha256"))


def decrypt_secret(key: RSAPrivateKey, encrypted: str) -> bytes:
    """Decrypt the access token secret.

    With the wrong key this mostly does not fail: since version 3.2 OpenSSL returns a made-up text of some length. A
    length other than 32 is a hint; only the signature of the live session token proves that the secret is right.

    Raises:
        WrongKey: the encrypted number is larger than the key's modulus.
        KeyProblem: the secret is no Base64, or not as long as the key.
    """
    try:
        data = base64.b64decode(encrypted.strip(), validate=True)
    except (binascii.Error, ValueError) as exc:
        raise KeyProblem("the access token secret is no Base64 text") from exc
    if len(data) * 8 != key.key_size:
        raise KeyProblem("the access token secret is not as long as the encryption key: one of them is another's")
    try:
        return key.decrypt(data, padding.PKCS1v15())
    except ValueError as exc:
        raise WrongKey("the access token secret does not belong to the encryption key") from exc
