"""The credentials of the road without a Gateway, and how they are written as JSON. Pure.

A credential is all that signs in one IBKR username: what the user uploaded to IBKR and what IBKR gave him. Its texts
are secrets; none of them is in a `repr` or in an error.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, fields
from typing import TypeVar

import msgspec

MAX_BYTES = 64 * 1024  # two keys of 8192 bits in PEM have 13 kB
FIRST_PARTY, THIRD_PARTY, CLIENT = "oauth1a", "oauth1a-third-party", "oauth2"
"""The kinds, as they are written in JSON."""
REALM, TEST_REALM, TEST_CONSUMER = "limited_poa", "test_realm", "TESTCONS"
FIRST_PARTY_KEY = re.compile(r"[A-Za-z]{9}")
NAME = re.compile(r"[A-Za-z0-9._@-]{1,128}")
"""Keys, tokens and names that are sent in a header: none can contain a quote, a comma or a line break."""
BASE64 = re.compile(r"[A-Za-z0-9+/]{4,4096}={0,2}")


class CredentialProblem(ValueError):
    """A credential that cannot be used. The message is for a person, and has nothing of the credential.

    Args:
        hint: what to do about it.
    """

    def __init__(self, detail: str, hint: str) -> None:
        super().__init__(f"{detail}; {hint}")
        self.detail = detail
        self.hint = hint


@dataclass(frozen=True)
class OAuth1Credential:
    """OAuth 1.0a of one username, self-service: the user made the keys and the token on IBKR's page."""

    consumer_key: str = field(repr=False)
    """Nine letters that the user chose; IBKR stores them in capitals."""
    access_token: str = field(repr=False)
    access_token_secret: str = field(repr=False)
    """Base64, encrypted to the encryption key."""
    signature_key: str = field(repr=False)
    """An RSA key in PEM; it signs the handshake."""
    encryption_key: str = field(repr=False)
    """An RSA key in PEM; it decrypts the secret."""
    dh_parameters: str = field(repr=False)
    """The file in PEM that was uploaded."""
    realm: str = REALM
    is_paper: bool | None = None
    """Whether the token is of a paper account; None if nobody has said."""


@dataclass(frozen=True)
class ThirdPartyCredential(OAuth1Credential):
    """OAuth 1.0a of one username through an approved company: `/oauth/access_token` gave token and secret."""


@dataclass(frozen=True)
class OAuth2Credential:
    """OAuth 2.0 with a private key. Nobody of this project has seen it live."""

    client_id: str = field(repr=False)
    key_id: str = field(repr=False)
    """IBKR's id of the public key."""
    private_key: str = field(repr=False)
    """An RSA key in PEM, of 3072 bits at least."""
    username: str = field(repr=False)
    """The IBKR username that is signed in."""
    address: str
    """The public address of this machine, which IBKR compares with that of the caller."""
    scope: str = "sso-sessions.write"
    is_paper: bool | None = None


@dataclass(frozen=True)
class Consumer:
    """A company at IBKR: one pair of keys serves all its users. It signs nobody in by itself."""

    consumer_key: str = field(repr=False)
    signature_key: str = field(repr=False)
    encryption_key: str = field(repr=False)
    dh_parameters: str = field(repr=False)
    realm: str = REALM


Credential = OAuth1Credential | ThirdPartyCredential | OAuth2Credential


class _Written(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, tag_field="kind"):
    """A credential as it is written."""


class _OAuth1(_Written, frozen=True, tag=FIRST_PARTY):
    consumer_key: str
    access_token: str
    access_token_secret: str
    signature_key: str
    encryption_key: str
    dh_parameters: str
    realm: str = ""
    is_paper: bool | None = None


class _ThirdParty(_Written, frozen=True, tag=THIRD_PARTY):
    consumer_key: str
    access_token: str
    access_token_secret: str
    signature_key: str
    encryption_key: str
    dh_parameters: str
    realm: str = ""
    is_paper: bool | None = None


class _OAuth2(_Written, frozen=True, tag=CLIENT):
    client_id: str
    key_id: str
    private_key: str
    username: str
    address: str
    scope: str = "sso-sessions.write"
    is_paper: bool | None = None


_FORMS: tuple[tuple[type[Credential], type[_Written]], ...] = (
    (OAuth1Credential, _OAuth1),
    (ThirdPartyCredential, _ThirdParty),
    (OAuth2Credential, _OAuth2),
)
_AnyForm = _OAuth1 | _ThirdParty | _OAuth2
_NAMES = ("consumer_key", "access_token", "client_id", "key_id", "username", "address", "realm")
_PEMS = ("signature_key", "encryption_key", "dh_parameters", "private_key")


def parse_credential(data: bytes) -> Credential:
    """Read a credential, and bring the consumer key into the form that IBKR stores.

    Raises:
        CredentialProblem: it is none.
    """
    if len(data) > MAX_BYTES:
        raise CredentialProblem(f"the credential has more than {MAX_BYTES} bytes", "it is another file")
    try:
        written = msgspec.json.decode(data, type=_AnyForm)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as exc:
        raise CredentialProblem(f"the credential cannot be read: {_reason(exc)}", "import it again") from None
    kind = next(kind for kind, form in _FORMS if type(written) is form)
    return checked(kind(**msgspec.structs.asdict(written)))


def to_bytes(credential: Credential) -> bytes:
    """A credential as JSON; it is secret."""
    form = next(form for kind, form in _FORMS if type(credential) is kind)
    members = {each.name: getattr(credential, each.name) for each in fields(credential)}
    return msgspec.json.encode(form(**members))


AnyCredential = TypeVar("AnyCredential", bound=Credential | Consumer)


def checked(credential: AnyCredential) -> AnyCredential:
    """The same credential with its texts trimmed and checked; `signing_keys.py` reads the keys themselves.

    Raises:
        CredentialProblem: a text cannot be what it should be.
    """
    members = {each.name: getattr(credential, each.name) for each in fields(credential)}
    texts = {name: value.strip() for name, value in members.items() if isinstance(value, str)}
    if "consumer_key" in texts:
        texts["consumer_key"] = normalised_consumer_key(texts["consumer_key"])
        texts["realm"] = texts["realm"] or (TEST_REALM if texts["consumer_key"] == TEST_CONSUMER else REALM)
    if "access_token_secret" in texts:
        texts["access_token_secret"] = "".join(texts["access_token_secret"].split())  # pages break long lines
    for name, text in texts.items():
        _check_text(name, text)
    members.update(texts)
    return type(credential)(**members)


def normalised_consumer_key(key: str) -> str:
    """A consumer key as IBKR stores it: nine letters are stored in capitals, whatever the page shows."""
    return key.upper() if FIRST_PARTY_KEY.fullmatch(key) else key


def secrets_of(credential: Credential | Consumer) -> tuple[str, ...]:
    """Every secret of a credential as plain text, for redaction."""
    return tuple(getattr(credential, each.name) for each in fields(credential) if not each.repr)


def _check_text(name: str, text: str) -> None:
    label = name.replace("_", " ")
    if name in _NAMES and not NAME.fullmatch(text):
        raise CredentialProblem(f"the {label} has characters that IBKR never uses, or is empty", "copy it again")
    if name == "access_token_secret" and not BASE64.fullmatch(text):
        raise CredentialProblem("the access token secret is no Base64 text", "copy it again from IBKR's page")
    if name in _PEMS and "-----BEGIN " not in text:
        raise CredentialProblem(f"the {label} is no text in PEM", "use the file that openssl wrote")


def _reason(exc: Exception) -> str:
    """What is wrong, without any value: msgspec's words name the type and the member, and never show a value but that
    of an unknown kind.
    """
    if not isinstance(exc, msgspec.ValidationError):
        return "it is no JSON"
    found = re.search(r"`(\$\.?[A-Za-z0-9_.]*)`\s*$", str(exc))
    missing = re.search(r"missing required field `([a-z0-9_]+)`", str(exc))
    if missing:
        return f"the member {missing[1]} is missing"
    if "unknown field" in str(exc):
        return "it has a member that is not known"
    return f"the member {found[1].removeprefix('$.')} is not as it should be" if found else "its form is wrong"
