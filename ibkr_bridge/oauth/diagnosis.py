"""Which part of a credential is wrong, by elimination. Pure: what was tried and observed is passed in.

IBKR names the consumer key and the access token when they are wrong. A wrong signature may come from either key or
from the secret: a second request, which is signed without the secret, and the length of the decrypted secret tell.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from ibkr_bridge.oauth.refusals import Refusal
from ibkr_bridge.oauth.signing import SECRET_BYTES

MAX_SKEW_S = 120.0  # IBKR's tolerance is not known; two minutes are more than a clock that is set should differ


class Artefact(Enum):
    """What may be wrong."""

    URL = "url"
    CLOCK = "clock"
    CONSUMER_KEY = "consumer_key"
    SIGNATURE_KEY = "signature_key"
    ENCRYPTION_KEY = "encryption_key"
    SWAPPED_KEYS = "swapped_keys"
    ACCESS_TOKEN = "access_token"  # noqa: S105  # a name
    SECRET = "access_token_secret"  # noqa: S105  # a name
    PARAMETERS = "dh_parameters"


@dataclass(frozen=True)
class Facts:
    """What a check has tried and observed."""

    unreadable: Artefact | None = None
    """The part that is not what it should be, before anything was sent."""
    unreachable: str = ""
    """Why no usable answer came from the address; empty if one did."""
    skew_s: float = 0.0
    """How far IBKR's clock is ahead of this one."""
    refusal: Refusal | None = None
    """What IBKR refused; None if the handshake and a signed call worked."""
    probe_words: str | None = None
    """IBKR's words about a request that is signed without the secret; None if none was sent."""
    secret_bytes: int = SECRET_BYTES
    """The length of the secret, decrypted with the encryption key; 0 if that key cannot have encrypted it."""
    secret_bytes_swapped: int = 0
    """The same with the signature key."""


@dataclass(frozen=True)
class Diagnosis:
    """What is wrong; `artefact` is None if nothing is, or if nothing shows what."""

    artefact: Artefact | None
    text: str
    do: str


GOOD = Diagnosis(None, "every part fits: IBKR accepts the handshake and a signed call", "nothing to do")
SIGNATURE = re.compile(r"signature", re.IGNORECASE)


def diagnose(facts: Facts) -> Diagnosis:
    """The first row whose question is answered with yes."""
    return next((verdict for holds, verdict in ROWS if holds(facts)), GOOD)


def _signature_is_wrong(facts: Facts) -> bool:
    return facts.refusal is Refusal.INVALID_SIGNATURE


def _is_encryption_key_wrong(facts: Facts) -> bool:
    return not facts.secret_bytes or (_signature_is_wrong(facts) and facts.secret_bytes != SECRET_BYTES)


def _is_swapped(facts: Facts) -> bool:
    return _is_encryption_key_wrong(facts) and facts.secret_bytes_swapped == SECRET_BYTES


def _probe_is_refused(facts: Facts) -> bool:
    return _signature_is_wrong(facts) and facts.probe_words is not None and bool(SIGNATURE.search(facts.probe_words))


def _unreadable(artefact: Artefact) -> Callable[[Facts], bool]:
    return lambda facts: facts.unreadable is artefact


COMPARE = "compare it with the file that was uploaded; a change at IBKR counts after its next reset"
ROWS: tuple[tuple[Callable[[Facts], bool], Diagnosis], ...] = (
    (
        _unreadable(Artefact.SIGNATURE_KEY),
        Diagnosis(Artefact.SIGNATURE_KEY, "the signature key is no RSA key of 2048 bits in PEM", "import it again"),
    ),
    (
        _unreadable(Artefact.ENCRYPTION_KEY),
        Diagnosis(Artefact.ENCRYPTION_KEY, "the encryption key is no RSA key of 2048 bits in PEM", "import it again"),
    ),
    (
        _unreadable(Artefact.SECRET),
        Diagnosis(
            Artefact.SECRET,
            "the access token secret is no Base64 text as long as the encryption key: it is cut off",
            "copy it again, whole; else generate the token anew",
        ),
    ),
    (
        _unreadable(Artefact.PARAMETERS),
        Diagnosis(Artefact.PARAMETERS, "the file of parameters cannot be read", "import the file that was uploaded"),
    ),
    (
        lambda facts: bool(facts.unreachable),
        Diagnosis(
            Artefact.URL,
            "IBKR's Web API does not answer at this address",
            "compare IBKR_BRIDGE_API_URL with https://api.ibkr.com, and look at the connection to the Internet",
        ),
    ),
    (
        lambda facts: abs(facts.skew_s) > MAX_SKEW_S,
        Diagnosis(Artefact.CLOCK, "the clock of this machine is wrong", "set it: timedatectl set-ntp true"),
    ),
    (
        lambda facts: facts.refusal is Refusal.INACTIVE,
        Diagnosis(
            Artefact.CONSUMER_KEY,
            "IBKR does not know the consumer key: it is misspelt, or not active yet",
            "compare it with IBKR's page; if it is right, wait and change nothing",
        ),
    ),
    (
        lambda facts: facts.refusal in (Refusal.SECRET_LOST, Refusal.REVOKED),
        Diagnosis(
            Artefact.ACCESS_TOKEN,
            "IBKR does not know the access token, or has lost its secret",
            "compare it with IBKR's page; else generate it anew, keep the keys, and import both again",
        ),
    ),
    (
        lambda facts: facts.refusal is Refusal.MISMATCH,
        Diagnosis(
            Artefact.PARAMETERS,
            "IBKR accepts the signature and derives another token: its Diffie-Hellman parameters are others",
            "use the very file that was uploaded, or upload this one again",
        ),
    ),
    (
        _is_swapped,
        Diagnosis(
            Artefact.SWAPPED_KEYS,
            "the signature key opens the secret, and the encryption key does not: the two are swapped",
            "swap them, here or on IBKR's page",
        ),
    ),
    (
        _probe_is_refused,
        Diagnosis(Artefact.SIGNATURE_KEY, "IBKR refuses a signature that needs the signature key alone", COMPARE),
    ),
    (
        _is_encryption_key_wrong,
        Diagnosis(Artefact.ENCRYPTION_KEY, "the encryption key does not open the access token secret", COMPARE),
    ),
    (
        _signature_is_wrong,
        Diagnosis(
            Artefact.SECRET,
            "the keys fit, and the access token secret is not the one that IBKR has: it was generated anew since",
            "copy token and secret again from IBKR's page",
        ),
    ),
    (
        lambda facts: facts.refusal is not None,
        Diagnosis(
            None,
            "IBKR refuses the call, and its answer does not show why",
            "try again in some minutes; look at IBKR's system status page",
        ),
    ),
)
"""The questions in their order, each with what it means."""
