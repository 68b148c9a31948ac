"""What IBKR has on file: consumers, access tokens with their secrets, and the live session tokens made for them."""

from __future__ import annotations

import math
import secrets
from dataclasses import dataclass, field
from typing import Self

from cryptography.hazmat.primitives.asymmetric import rsa

from ibkr_bridge.sim.api_host.arithmetic import Group
from ibkr_bridge.sim.api_host.keys import encrypt_secret, load_public_key, read_group

SECRET_BYTES = 32


def make_token() -> str:
    """Twenty hexadecimal digits, as all of IBKR's OAuth tokens."""
    return secrets.token_hex(10)


@dataclass(frozen=True)
class UploadedKeys:
    """The public halves of a user's keys, as they were uploaded."""

    signature_key: rsa.RSAPublicKey
    encryption_key: rsa.RSAPublicKey
    group: Group

    @classmethod
    def read(cls, signature_public_pem: str, encryption_public_pem: str, dhparam_pem: str) -> Self:
        """Read the three files.

        Raises:
            ValueError: one of them is not what it should be.
        """
        return cls(
            load_public_key(signature_public_pem), load_public_key(encryption_public_pem), read_group(dhparam_pem)
        )


@dataclass
class Consumer:
    """One registered program: a user's own, or a company's with a callback."""

    key: str
    keys: UploadedKeys
    active_from: float = -math.inf
    """The moment of the simulator's clock from which IBKR's servers have this registration."""
    is_enabled: bool = True
    callback: str | None = None
    next_keys: UploadedKeys | None = None
    next_keys_from: float = 0.0
    """New keys count only after IBKR's next reset; until then the former ones do."""

    def use_due_keys(self, now: float) -> None:
        """Let new keys count whose time has come."""
        if self.next_keys is not None and now >= self.next_keys_from:
            self.keys, self.next_keys = self.next_keys, None


@dataclass
class AccessToken:
    """What binds a username to a consumer. IBKR keeps the secret in the clear, the user gets it encrypted."""

    token: str
    consumer: Consumer
    username: str
    is_paper: bool
    secret: bytes | None = field(default_factory=lambda: secrets.token_bytes(SECRET_BYTES), repr=False)
    """None if IBKR has lost it."""
    is_revoked: bool = False

    def encrypted_secret(self) -> str:
        """The secret as the user sees it: for the encryption key uploaded last, in base64."""
        return encrypt_secret((self.consumer.next_keys or self.consumer.keys).encryption_key, self.secret or b"")

    def renew_secret(self) -> None:
        """Make another secret; the token stays the same."""
        self.secret = secrets.token_bytes(SECRET_BYTES)


@dataclass
class LiveSession:
    """One sign-in of a username and its life: a live session token, or a bearer token of OAuth 2.0."""

    username: str
    made_at: float
    ends_at: float
    login: str
    """The token of the login that this sign-in stands for, in the market of its user."""
    first_midnight: float
    """The first midnight of the serving region after it was made."""
    access_token: AccessToken | None = None
    """None for OAuth 2.0."""
    key: bytes = field(default=b"", repr=False)
    """The live session token itself, with which calls are signed."""
    session_id: str | None = None
    """What the last `/tickle` said; the websocket's cookie must have it."""
    is_logged_out: bool = False
    next_midnight: float = field(init=False)
    tickled_at: float = field(init=False)

    def __post_init__(self) -> None:
        self.next_midnight, self.tickled_at = self.first_midnight, self.made_at


@dataclass
class Registry:
    """Everything on file, by the names that requests give."""

    consumers: dict[str, Consumer] = field(default_factory=dict)
    tokens: dict[str, AccessToken] = field(default_factory=dict)
    sessions: dict[str, list[LiveSession]] = field(default_factory=dict)
    """The live session tokens of each access token, the newest first."""

    def add_token(self, consumer: Consumer, username: str, *, is_paper: bool) -> AccessToken:
        """Make an access token for a username."""
        token = AccessToken(make_token(), consumer, username, is_paper)
        self.tokens[token.token] = token
        return token
