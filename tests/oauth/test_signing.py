"""Keys, signatures, and the decryption of the secret."""

from __future__ import annotations

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from ibkr_bridge.oauth.signing import KeyProblem, WrongKey, decrypt_secret, load_rsa_key, sign_rsa

SECRET = bytes(range(32))


@pytest.fixture(scope="module")
def key() -> rsa.RSAPrivateKey:
    """A key of the size that IBKR wants."""
    return rsa.generate_private_key(65537, 2048)


@pytest.mark.parametrize("form", [PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL])
def test_both_forms_of_a_key_are_read(key: rsa.RSAPrivateKey, form: PrivateFormat) -> None:
    """As different versions of OpenSSL write them."""
    pem = key.private_bytes(Encoding.PEM, form, NoEncryption())

    assert load_rsa_key(pem).private_numbers() == key.private_numbers()


def test_a_key_that_cannot_be_used_is_named_without_its_content(key: rsa.RSAPrivateKey) -> None:
    """Each with what to do."""
    locked = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))
    curve = ec.generate_private_key(ec.SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    short = rsa.generate_private_key(65537, 1024).private_bytes(  # noqa: S505  # it is refused
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    )
    for pem, words in ((locked, "password"), (curve, "no RSA key"), (short, "1024 bits"), (b"x", "no private key")):
        with pytest.raises(KeyProblem, match=words):
            load_rsa_key(pem)


def test_a_signature_can_be_verified(key: rsa.RSAPrivateKey) -> None:
    """With the public key that IBKR has."""
    signature = base64.b64decode(sign_rsa(key, "00ffPOST&x"))

    key.public_key().verify(signature, b"00ffPOST&x", padding.PKCS1v15(), SHA256())


def test_the_secret_is_decrypted(key: rsa.RSAPrivateKey) -> None:
    """With spaces and line ends around it, as it is copied from a page."""
    encrypted = base64.b64encode(key.public_key().encrypt(SECRET, padding.PKCS1v15())).decode()

    assert decrypt_secret(key, f" {encrypted}\n") == SECRET


@pytest.mark.parametrize("encrypted", ["", "no Base64!", "AAAA", base64.b64encode(b"x" * 255).decode()])
def test_a_secret_that_cannot_be_decrypted_is_a_problem(key: rsa.RSAPrivateKey, encrypted: str) -> None:
    """In words, and without it."""
    with pytest.raises(KeyProblem) as error:
        decrypt_secret(key, encrypted)

    assert not encrypted or encrypted not in str(error.value)


def test_a_number_above_the_modulus_is_of_another_key(key: rsa.RSAPrivateKey) -> None:
    """About one wrong key in ten is found so."""
    with pytest.raises(WrongKey, match="does not belong"):
        decrypt_secret(key, base64.b64encode(b"\xff" * 256).decode())


def test_a_wrong_key_gives_another_secret_or_a_problem(key: rsa.RSAPrivateKey) -> None:
    """So that it decrypts proves nothing."""
    encrypted = base64.b64encode(key.public_key().encrypt(SECRET, padding.PKCS1v15())).decode()
    other = rsa.generate_private_key(65537, 2048)

    try:
        assert decrypt_secret(other, encrypted) != SECRET
    except KeyProblem as exc:
        assert "does not belong" in str(exc)
