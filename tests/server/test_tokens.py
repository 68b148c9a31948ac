"""Tokens: how they are encoded and decoded, and which keys accept them. No sockets; a test moves the clock."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jwt
import pytest
from hypothesis import given
from hypothesis import settings as quick
from hypothesis import strategies as st

from ibkr_bridge.config.settings import Settings
from ibkr_bridge.errors import BadRequest, InsufficientScope, InvalidKey
from ibkr_bridge.ibkr.endpoint import Effect
from ibkr_bridge.server.keyring import ALL_EFFECTS, KeyRing, Principal
from ibkr_bridge.server.tokens import (
    DEFAULT_TTL_S,
    MAX_TTL_S,
    TokenClaims,
    TokenRequest,
    TokenScope,
    decode_token,
    derive_signing_secret,
    encode_token,
    has_token_form,
    parse_token_request,
)
from tests.clocks import NOON, ManualClock
from tests.harness import KEY, PREVIOUS_KEY, READONLY_KEY, settings_for

NEW = "new-key-for-tests-0123456789-abcdefg"
SECRET = derive_signing_secret(KEY, KEY)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


def keys(**env: str) -> Settings:
    """Settings with a full key and a reading key; `env` replaces variables."""
    return settings_for("https://127.0.0.1:5000", Path("/nowhere"), **{"IBKR_BRIDGE_READONLY_KEY": READONLY_KEY, **env})


@dataclass
class KeyRingSetup:
    """A key ring with a clock of its own."""

    clock: ManualClock = field(default_factory=ManualClock)

    def __post_init__(self) -> None:
        self.keys = KeyRing(keys(), self.clock.utc)

    def key(self, secret: str = KEY) -> Principal:
        """The principal of a key."""
        principal = self.keys.find_key(secret.encode())
        assert principal is not None
        return principal

    def token(self, secret: str = KEY, scope: TokenScope = TokenScope.READ, seconds: int = DEFAULT_TTL_S) -> bytes:
        """Issue a token for a key."""
        return self.keys.issue(self.key(secret), TokenRequest(scope, seconds))[0].encode()

    def principal_of(self, token: bytes) -> Principal:
        """The principal of a valid token."""
        principal = self.keys.find_token(token)
        assert principal is not None
        return principal


@pytest.fixture
def ring() -> KeyRingSetup:
    """A key ring for one test."""
    return KeyRingSetup()


def forge_token(secret: bytes = SECRET, algorithm: str = "HS256", **claims: object) -> bytes:
    """A token signed with a secret and with claims of the test's own; a claim of None is left out."""
    owner = KeyRingSetup().key().owner
    times = {"iat": int(NOON.timestamp()), "exp": int(NOON.timestamp()) + 60}
    usual = {"iss": "ibkr-bridge", **times, "jti": "x", "scope": "read", "owner": owner, **claims}
    present = {name: value for name, value in usual.items() if value is not None}
    return jwt.PyJWS().encode(json.dumps(present).encode(), secret if algorithm != "none" else "", algorithm).encode()


# -- what a token allows


@pytest.mark.parametrize(
    ("secret", "scope", "label", "effects"),
    [
        (KEY, TokenScope.READ, "read-only token", {Effect.READ}),
        (KEY, TokenScope.TRADE, "full token", set(ALL_EFFECTS)),
        (READONLY_KEY, TokenScope.READ, "read-only token", {Effect.READ}),
    ],
)
def test_a_token_allows_what_its_scope_says(
    ring: KeyRingSetup, secret: str, scope: TokenScope, label: str, effects: set[Effect]
) -> None:
    """The owner of the token is the key that requested it, so its orders belong to that key."""
    principal = ring.principal_of(ring.token(secret, scope))

    assert (principal.label, set(principal.effects), principal.owner) == (label, effects, ring.key(secret).owner)
    assert principal.expires == NOON + timedelta(seconds=DEFAULT_TTL_S)


def test_a_reading_key_gets_no_token_that_trades(ring: KeyRingSetup) -> None:
    """A token never allows more than its key."""
    with pytest.raises(InsufficientScope):
        ring.token(READONLY_KEY, TokenScope.TRADE)


def test_a_token_cannot_request_a_token(ring: KeyRingSetup) -> None:
    """Otherwise it could be renewed without end."""
    with pytest.raises(InsufficientScope, match="token"):
        ring.keys.issue(ring.principal_of(ring.token(scope=TokenScope.TRADE)), TokenRequest())


def test_a_key_that_was_just_replaced_gets_no_token(ring: KeyRingSetup) -> None:
    """The key was valid when the head came, but was replaced before the body came."""
    principal = ring.key(READONLY_KEY)
    ring.keys.replace(keys(IBKR_BRIDGE_READONLY_KEY=NEW))

    with pytest.raises(InvalidKey):
        ring.keys.issue(principal, TokenRequest())


def test_a_token_is_not_a_key_and_a_key_is_not_a_token(ring: KeyRingSetup) -> None:
    """Each is accepted in its own place only."""
    assert ring.keys.find_key(ring.token()) is None
    assert ring.keys.find_token(KEY.encode()) is None


def test_every_token_is_unique(ring: KeyRingSetup) -> None:
    """Each token has its own id."""
    assert len({ring.token() for _ in range(20)}) == 20


def test_a_token_contains_only_the_needed_claims(ring: KeyRingSetup) -> None:
    """Everybody can read the claims in a browser."""
    claims = jwt.decode(ring.token(), options={"verify_signature": False})

    assert set(claims) == {"iss", "iat", "exp", "jti", "scope", "owner", "aud", "profile"}
    assert (claims["iss"], claims["scope"], claims["exp"] - claims["iat"]) == ("ibkr-bridge", "read", DEFAULT_TTL_S)
    assert claims["owner"] == ring.key().owner


# -- when a token ends


@pytest.mark.parametrize("seconds", [1, DEFAULT_TTL_S, MAX_TTL_S])
def test_a_token_is_valid_until_the_second_of_its_end(ring: KeyRingSetup, seconds: int) -> None:
    """There is no leeway."""
    token = ring.token(seconds=seconds)
    principal = ring.principal_of(token)

    ring.clock.advance(seconds - 0.001)
    before = ring.keys.find_token(token), ring.keys.is_still_valid(principal)
    ring.clock.advance(0.002)
    after = ring.keys.find_token(token), ring.keys.is_still_valid(principal)

    assert before == (principal, True)
    assert after == (None, False)


def test_a_token_issued_between_two_seconds_is_valid_for_the_full_time(ring: KeyRingSetup) -> None:
    """A token has whole seconds, so its end is rounded up."""
    ring.clock.advance(0.7)
    token = ring.token(seconds=1)

    ring.clock.advance(0.999)

    assert ring.keys.find_token(token) is not None


def test_a_restart_ends_no_token(ring: KeyRingSetup) -> None:
    """Its signing secret is derived from the keys, which are the same after the restart."""
    token = ring.token()

    ring.keys = KeyRing(keys(), ring.clock.utc)

    assert ring.keys.find_token(token) is not None


ROTATED = {"IBKR_BRIDGE_KEY": NEW, "IBKR_BRIDGE_KEY_PREVIOUS": KEY}


@pytest.mark.parametrize("key", [KEY, READONLY_KEY])
def test_another_full_key_ends_every_token(ring: KeyRingSetup, key: str) -> None:
    """The tokens end at once, although the key that requested them is still valid."""
    token, key_principal = ring.token(key), ring.key(key)
    token_principal = ring.principal_of(token)

    ring.keys.replace(keys(**ROTATED))

    assert ring.keys.find_token(token) is None
    assert not ring.keys.is_still_valid(token_principal)
    assert ring.keys.is_still_valid(key_principal)


def test_removing_the_reading_key_ends_its_tokens(ring: KeyRingSetup) -> None:
    """Other tokens stay valid."""
    reading, full = ring.principal_of(ring.token(READONLY_KEY)), ring.principal_of(ring.token())

    ring.keys.replace(replace(keys(), readonly_key=None))

    assert [ring.keys.is_still_valid(principal) for principal in (reading, full)] == [False, True]


def test_reloading_the_same_keys_ends_no_token(ring: KeyRingSetup) -> None:
    """A reload may concern other settings only."""
    token, key_principal = ring.token(), ring.key()
    token_principal = ring.principal_of(token)

    ring.keys.replace(keys())

    assert ring.keys.find_token(token) == token_principal
    assert ring.keys.is_still_valid(token_principal)
    assert ring.keys.is_still_valid(key_principal)


def test_the_previous_key_gets_tokens_while_keys_rotate(ring: KeyRingSetup) -> None:
    """These tokens end with that key."""
    ring.keys.replace(keys(IBKR_BRIDGE_KEY_PREVIOUS=PREVIOUS_KEY))
    principal = ring.principal_of(ring.token(PREVIOUS_KEY, TokenScope.TRADE))

    ring.keys.replace(keys())

    assert not ring.keys.is_still_valid(principal)


def test_a_full_key_that_becomes_the_reading_key_is_no_longer_valid_as_before(ring: KeyRingSetup) -> None:
    """Its former principal allowed more."""
    principal = ring.key()

    ring.keys.replace(keys(IBKR_BRIDGE_KEY=NEW, IBKR_BRIDGE_READONLY_KEY=KEY))

    assert not ring.keys.is_still_valid(principal)
    assert ring.keys.is_still_valid(ring.key())


def test_subscribers_are_called_when_the_new_keys_are_valid(ring: KeyRingSetup) -> None:
    """A stream then checks whether it may continue."""
    principal = ring.principal_of(ring.token())
    results: list[bool] = []
    ring.keys.subscribe(lambda _: results.append(ring.keys.is_still_valid(principal)))

    ring.keys.replace(keys())
    ring.keys.replace(keys(**ROTATED))

    assert results == [True, False]


# -- invalid tokens


@pytest.mark.parametrize(
    "claims",
    [
        *({name: None} for name in ("iss", "iat", "exp", "jti", "scope", "owner")),
        {"iss": "somebody"},
        {"aud": "somebody"},
        {"scope": "everything"},
        {"scope": ["trade"]},
        {"owner": "0123456789ab"},
        {"owner": 7},
        {"jti": 7},
        {"exp": "tomorrow"},
        {"exp": 1e300},
        {"exp": float("nan")},
        {"exp": -1},
        {"iat": "yesterday"},
        {"exp": int(NOON.timestamp())},
    ],
    ids=str,
)
def test_a_token_with_missing_or_wrong_claims_is_refused(ring: KeyRingSetup, claims: dict[str, Any]) -> None:
    """The right signature does not make such a token valid."""
    assert ring.keys.find_token(forge_token()) is not None
    assert ring.keys.find_token(forge_token(**claims)) is None


@pytest.mark.parametrize(
    "secret",
    [
        b"x" * 32,
        KEY.encode(),
        derive_signing_secret(KEY, READONLY_KEY),
        derive_signing_secret(READONLY_KEY, KEY),
        b"\0" * 32,
    ],
)
def test_a_token_signed_with_another_secret_is_refused(ring: KeyRingSetup, secret: bytes) -> None:
    """Even if it is the secret of another key of the bridge: each key has a signing secret of its own."""
    assert ring.keys.find_token(forge_token(secret)) is None


def test_the_reading_key_cannot_sign_a_token_that_trades(ring: KeyRingSetup) -> None:
    """Its owner knows only one of the two keys of the secret, and its tokens never allow more than reads."""
    owner = ring.key(READONLY_KEY).owner
    guess = forge_token(derive_signing_secret(READONLY_KEY, READONLY_KEY), owner=owner, scope="trade")
    signed = forge_token(derive_signing_secret(KEY, READONLY_KEY), owner=owner, scope="trade")

    assert ring.keys.find_token(guess) is None
    assert ring.principal_of(signed).effects == {Effect.READ}


@pytest.mark.parametrize("algorithm", ["none", "HS384", "HS512"])
def test_only_one_algorithm_is_accepted(ring: KeyRingSetup, algorithm: str) -> None:
    """A token cannot choose the algorithm."""
    secret = SECRET * 2  # long enough for either
    assert ring.keys.find_token(forge_token(secret, algorithm)) is None


@pytest.mark.parametrize(
    "change",
    [
        lambda token: token + b"=",
        lambda token: token + b" ",
        lambda token: token + b"\n",
        lambda token: b" " + token,
        lambda token: token.replace(b".", b"=."),
        lambda token: token + b".x",
        lambda token: token.rpartition(b".")[0] + b".",
        lambda token: token.rpartition(b".")[0],
        lambda token: token * 9,
        lambda token: token.upper(),
    ],
)
def test_a_token_has_one_accepted_form(ring: KeyRingSetup, change: Callable[[bytes], bytes]) -> None:
    """The log hides tokens by their form, so no other form may be accepted."""
    token = ring.token()

    assert has_token_form(token)
    assert ring.keys.find_token(change(token)) is None


@quick(deadline=None)
@given(st.binary() | st.text().map(lambda text: f"eyJ{text}.eyJ{text}.{'A' * 43}".encode("utf-8", "replace")))
def test_no_bytes_are_accepted_or_crash(guess: bytes) -> None:
    """Any bytes in the place of a token are refused without an error of the code."""
    assert KeyRingSetup().keys.find_token(guess) is None


@quick(deadline=None)
@given(st.data())
def test_no_changed_token_is_accepted(data: st.DataObject) -> None:
    """One byte is changed, inserted or left out at any place."""
    ring = KeyRingSetup()
    token = ring.token(scope=TokenScope.TRADE)
    at = data.draw(st.integers(0, len(token) - 1))
    put = data.draw(st.binary(max_size=2))
    left_out = data.draw(st.integers(0, 2))
    spoiled = token[:at] + put + token[at + left_out :]

    assert (ring.keys.find_token(spoiled) is not None) == (spoiled == token)


@quick(deadline=None)
@given(st.dictionaries(st.sampled_from(["iss", "iat", "exp", "nbf", "jti", "scope", "owner", "aud", "sub"]), JSON))
def test_no_claims_crash(claims: dict[str, Any]) -> None:
    """The claims of a signed token are read completely, or the token is refused."""
    token_claims = decode_token(forge_token(**claims), SECRET)

    assert token_claims is None or isinstance(token_claims.expires, datetime)


@quick(deadline=None)
@given(st.sampled_from(TokenScope), st.integers(0, 4_000_000_000), st.integers(1, MAX_TTL_S))
def test_decoding_returns_the_encoded_claims(scope: TokenScope, issued: int, seconds: int) -> None:
    """Decoding returns all claims that were encoded."""
    at = datetime.fromtimestamp(issued, UTC)
    claims = TokenClaims("0123456789ab", scope, at, at + timedelta(seconds=seconds), "0123456789abcdef")

    assert decode_token(encode_token(claims, SECRET).encode(), SECRET) == claims
    assert decode_token(encode_token(claims, SECRET).encode(), derive_signing_secret(KEY, READONLY_KEY)) is None


def test_no_repr_shows_a_secret(ring: KeyRingSetup) -> None:
    """Objects are shown in tracebacks, so their repr must not have a secret."""
    shown = f"{ring.keys!r} {ring.principal_of(ring.token())!r} {vars(ring.keys)!r}"

    assert SECRET.hex() not in shown
    assert repr(SECRET) not in shown
    assert repr(ring.keys) == "<KeyRing full, read-only>"


def test_the_owner_of_a_key_does_not_reveal_a_signing_secret() -> None:
    """Journal and tokens show the owner of a key. It leads to no signing secret, nor does one secret to another."""
    ring = KeyRingSetup()
    secrets = [derive_signing_secret(full, owner) for full in (KEY, NEW) for owner in (KEY, READONLY_KEY)]

    assert len(set(secrets)) == 4
    assert {len(secret) for secret in secrets} == {32}
    assert not [secret for secret in secrets if ring.key().owner in secret.hex()]


# -- requests for a token


@pytest.mark.parametrize(
    ("body", "token_request"),
    [
        (b"", TokenRequest()),
        (b"{}", TokenRequest(TokenScope.READ, 1800)),
        (b' {"scope": "trade"} ', TokenRequest(TokenScope.TRADE, 1800)),
        (b'{"expires_in": 1}', TokenRequest(TokenScope.READ, 1)),
        (b'{"scope": "read", "expires_in": 86400}', TokenRequest(TokenScope.READ, 86400)),
    ],
)
def test_members_left_out_of_a_token_request_have_defaults(body: bytes, token_request: TokenRequest) -> None:
    """The default scope is `read`, and the default time is half an hour."""
    assert parse_token_request(body) == token_request


@pytest.mark.parametrize("number", [b"300", b"300.0", b"3e2"])
def test_a_whole_number_may_be_written_in_each_way_of_json(number: bytes) -> None:
    """JSON has one kind of number, and some languages write all of them with a point."""
    request = parse_token_request(b'{"expires_in": ' + number + b"}")

    assert (request.ttl_s, type(request.ttl_s)) == (300, int)


@pytest.mark.parametrize(
    "body",
    [
        *(b"[]", b"null", b"true", b'"read"', b"7", b"{", b"read", b"\xff\xfe", b"[" * 100_000, b" "),
        *(b'{"scope": "write"}', b'{"scope": null}', b'{"scope": ["read"]}', b'{"scope": "READ"}', b'{"scope": ""}'),
        *(b'{"expires_in": 0}', b'{"expires_in": -1}', b'{"expires_in": 86401}', b'{"expires_in": 1.5}'),
        *(b'{"expires_in": "60"}', b'{"expires_in": true}', b'{"expires_in": null}', b'{"expires_in": NaN}'),
        *(b'{"expires_in": 1' + b"0" * 5000 + b"}", b'{"expires_in": 1e-3}', b'{"Scope": "read"}', b'{"ttl": 60}'),
    ],
    ids=lambda body: body[:24],
)
def test_an_invalid_token_request_is_refused_with_a_hint(body: bytes) -> None:
    """A caller that requests sixty minutes must not get sixty seconds."""
    with pytest.raises(BadRequest) as error:
        parse_token_request(body)

    assert "send" in error.value.hint


def test_a_token_with_a_changed_time_is_refused() -> None:
    """The signature covers every claim."""
    at = NOON.replace(microsecond=0)
    claims = TokenClaims("0123456789ab", TokenScope.READ, at, at + timedelta(seconds=60), "x")
    head, _, sign = encode_token(claims, SECRET).split(".")
    _, longer, _ = encode_token(replace(claims, expires=at + timedelta(days=1)), SECRET).split(".")

    assert decode_token(f"{head}.{longer}.{sign}".encode(), SECRET) is None
