"""Makes what a user uploads to IBKR: two RSA keys and the Diffie-Hellman parameters. It takes a minute; use a thread.

The program `openssl` makes the parameters, as IBKR's own guide does; Python alone would need many minutes.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from ibkr_bridge.oauth.dh_parameters import read_dh_parameters

BITS = 2048
PUBLIC_EXPONENT = 65_537
OPENSSL_MISSING = "the program openssl is missing: install it, or name a file with --dhparam"


class KeysNotMade(Exception):
    """The keys could not be made. The message is for a person."""


@dataclass(frozen=True)
class NewKeys:
    """The private halves, which are sealed, and the public files, which are uploaded."""

    signature_key: str = field(repr=False)
    encryption_key: str = field(repr=False)
    dh_parameters: str = field(repr=False)
    public_files: dict[str, str]
    """By the name that IBKR's page uses for each."""

    @property
    def members(self) -> dict[str, str]:
        """The parts of a credential that are known before IBKR has given a token."""
        return {
            "signature_key": self.signature_key,
            "encryption_key": self.encryption_key,
            "dh_parameters": self.dh_parameters,
        }


def make_keys(dh_parameters: str | None, on_step: Callable[[str], None]) -> NewKeys:
    """Make both keys and, unless a file is given, the parameters.

    Args:
        dh_parameters: the text of a file that exists already.
        on_step: called with what happens next, in words.

    Raises:
        KeysNotMade: openssl is missing, or failed.
        ParametersProblem: the given file cannot be used.
    """
    if dh_parameters is not None:
        read_dh_parameters(dh_parameters)
    on_step("making two RSA keys")
    signature, encryption = (generate_private_key(PUBLIC_EXPONENT, BITS) for _ in range(2))
    if dh_parameters is None:
        on_step("making the Diffie-Hellman parameters; this takes about a minute")
        dh_parameters = make_dh_parameters()
    files = {
        "public_signature.pem": _public(signature),
        "public_encryption.pem": _public(encryption),
        "dhparam.pem": dh_parameters,
    }
    return NewKeys(_private(signature), _private(encryption), dh_parameters, files)


def make_dh_parameters() -> str:
    """New parameters with the generator 2, as a file in PEM.

    Raises:
        KeysNotMade: openssl is missing, or failed.
    """
    program = shutil.which("openssl")
    if program is None:
        raise KeysNotMade(OPENSSL_MISSING)
    command = [program, "dhparam", "-2", str(BITS)]
    made = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  # no word is a caller's
    if made.returncode != 0:
        raise KeysNotMade("openssl dhparam failed; make the file by hand, and name it with --dhparam")
    return made.stdout


def _private(key: RSAPrivateKey) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode("ascii")


def _public(key: RSAPrivateKey) -> str:
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return public.decode("ascii")
