"""Makes what a user uploads to IBKR: two RSA keys and the Diffie-Hellman parameters. It takes about a minute.

The program `openssl` makes the parameters, as IBKR's own guide does; Python alone would need many minutes. It is ended
if the caller gives up, so that a bridge that stops waits for nothing.
"""

from __future__ import annotations

import asyncio
import shutil
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import Callable
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from ibkr_bridge.oauth.dh_parameters import read_dh_parameters

BITS = 2048
PUBLIC_EXPONENT = 65_537
BY_HAND = "make the file with openssl dhparam -2 2048, and pass it (--dhparam, or the member dh_parameters)"


class KeysNotMade(Exception):
    """The keys could not be made. The message is for a person."""


@dataclass(frozen=True)
class NewKeys:
    """The private halves, which are sealed; the public files, which are uploaded, follow from them."""

    signature_key: str = field(repr=False)
    encryption_key: str = field(repr=False)
    dh_parameters: str = field(repr=False)

    @property
    def public_files(self) -> dict[str, str]:
        """What is uploaded, by the name that IBKR's page uses for each.

        Raises:
            ValueError: a private half is no RSA key.
        """
        return {
            "public_signature.pem": _public(self.signature_key),
            "public_encryption.pem": _public(self.encryption_key),
            "dhparam.pem": self.dh_parameters.strip() + "\n",
        }

    @property
    def members(self) -> dict[str, str]:
        """The parts of a credential that are known before IBKR has given a token."""
        return {
            "signature_key": self.signature_key,
            "encryption_key": self.encryption_key,
            "dh_parameters": self.dh_parameters,
        }


async def make_keys(dh_parameters: str | None, on_step: Callable[[str], None]) -> NewKeys:
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
    signature, encryption = [await asyncio.to_thread(_new_private_key) for _ in range(2)]
    if dh_parameters is None:
        on_step("making the Diffie-Hellman parameters; this takes about a minute")
        dh_parameters = await make_dh_parameters()
    return NewKeys(signature, encryption, dh_parameters)


async def make_dh_parameters() -> str:
    """New parameters with the generator 2, as a file in PEM.

    Raises:
        KeysNotMade: openssl is missing, or failed.
    """
    program = shutil.which("openssl")
    if program is None:
        raise KeysNotMade(f"the program openssl is missing: {BY_HAND}")
    arguments = ("dhparam", "-2", str(BITS))
    try:
        process = await asyncio.create_subprocess_exec(program, *arguments, stdin=DEVNULL, stdout=PIPE, stderr=DEVNULL)
    except OSError as exc:
        raise KeysNotMade(f"openssl cannot be started ({exc.strerror}): {BY_HAND}") from exc
    try:
        output, _ = await process.communicate()
    finally:
        if process.returncode is None:  # the caller gave up
            process.kill()
            await process.wait()
    if process.returncode != 0:
        raise KeysNotMade(f"openssl dhparam failed: {BY_HAND}")
    return output.decode("ascii", "replace")


def _new_private_key() -> str:
    key = generate_private_key(PUBLIC_EXPONENT, BITS)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode("ascii")


def _public(private: str) -> str:
    # The check of the key would hold the event loop for 60 ms (measured); a broken key only gives a file that IBKR
    # refuses.
    key = load_pem_private_key(private.encode(), password=None, unsafe_skip_rsa_key_validation=True)
    if not isinstance(key, RSAPrivateKey):
        raise ValueError("this is no RSA key")
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode("ascii")
