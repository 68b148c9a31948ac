"""Credentials: what is accepted, how it is written, and that nothing of it is shown."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ibkr_bridge.oauth.credential import (
    MAX_BYTES,
    Credential,
    CredentialProblem,
    OAuth1Credential,
    OAuth2Credential,
    ThirdPartyCredential,
    parse_credential,
    secrets_of,
    to_bytes,
)

PEM = "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASC\n-----END PRIVATE KEY-----"
OF_USER = OAuth1Credential("TESTERABC", "a1b2c3d4e5f6a7b8c9d0", "c2VjcmV0LW9mLXRlc3Rz", PEM, PEM, PEM, is_paper=True)
OF_COMPANY = ThirdPartyCredential("0123456789abcdef012345678", *list(vars(OF_USER).values())[1:6])
OF_CLIENT = OAuth2Credential("client-of-tests", "key-of-tests", PEM, "user-of-tests", "203.0.113.7")
ALL: tuple[Credential, ...] = (OF_USER, OF_COMPANY, OF_CLIENT)


@pytest.mark.parametrize("credential", ALL, ids=["user", "company", "client"])
def test_a_credential_is_written_and_read(credential: Credential) -> None:
    """The kind is written too."""
    assert parse_credential(to_bytes(credential)) == credential


def test_a_consumer_key_of_nine_letters_is_stored_in_capitals() -> None:
    """IBKR's page does so; a copy in small letters would be an invalid consumer for ever."""
    parsed = parse_credential(to_bytes(replace(OF_USER, consumer_key="testerabc")))

    assert isinstance(parsed, OAuth1Credential)
    assert parsed.consumer_key == "TESTERABC"


def test_another_consumer_key_stays_as_it_is() -> None:
    """IBKR gave it to a company."""
    parsed = parse_credential(to_bytes(OF_COMPANY))

    assert isinstance(parsed, ThirdPartyCredential)
    assert parsed.consumer_key == OF_COMPANY.consumer_key


@pytest.mark.parametrize(("key", "realm"), [("TESTCONS", "test_realm"), ("TESTERABC", "limited_poa")])
def test_the_realm_follows_from_the_consumer(key: str, realm: str) -> None:
    """IBKR's public test consumer has one of its own."""
    parsed = parse_credential(to_bytes(replace(OF_USER, consumer_key=key, realm="")))

    assert isinstance(parsed, OAuth1Credential)
    assert parsed.realm == realm


def test_spaces_and_broken_lines_of_a_copy_are_removed() -> None:
    """Pages break long texts."""
    parsed = parse_credential(to_bytes(replace(OF_USER, access_token_secret=" c2VjcmV0\nLW9mLXRlc3Rz ")))

    assert parsed == OF_USER


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"consumer_key": 'A"B'}, "consumer key has characters"),
        ({"access_token": ""}, "access token has characters"),
        ({"access_token": "a\r\nX: y"}, "access token has characters"),
        ({"access_token_secret": "%%"}, "no Base64"),
        ({"signature_key": "MIIE"}, "signature key is no text in PEM"),
        ({"encryption_key": 7}, "member encryption_key is not as it should be"),
        ({"kind": "oauth3"}, "kind"),
        ({"colour": "blue"}, "not known"),
    ],
)
def test_what_is_wrong_is_named_with_a_hint_and_without_the_text(change: dict[str, object], words: str) -> None:
    """A person has to find the member; a log must not have its value."""
    members = {**json.loads(to_bytes(OF_USER)), **change}

    with pytest.raises(CredentialProblem, match=words) as found:
        parse_credential(json.dumps(members).encode())

    assert found.value.hint
    assert not any(secret in str(found.value) for secret in secrets_of(OF_USER))


def test_a_missing_member_is_named() -> None:
    """None has a default that could be wrong."""
    members = json.loads(to_bytes(OF_USER))
    del members["dh_parameters"]

    with pytest.raises(CredentialProblem, match="dh_parameters is missing"):
        parse_credential(json.dumps(members).encode())


@given(st.one_of(st.binary(max_size=200), st.text(max_size=50).map(lambda text: f'{{"kind":"{text}"}}'.encode())))
def test_no_bytes_are_more_than_a_problem(data: bytes) -> None:
    """The file comes from a person."""
    with pytest.raises(CredentialProblem):
        parse_credential(data)


def test_a_large_file_is_refused() -> None:
    """It is another one."""
    with pytest.raises(CredentialProblem, match="bytes"):
        parse_credential(b" " * (MAX_BYTES + 1))


@pytest.mark.parametrize("credential", ALL, ids=["user", "company", "client"])
def test_no_secret_is_shown(credential: Credential) -> None:
    """A traceback shows the values of a frame."""
    secrets = secrets_of(credential)

    assert len(secrets) >= 4
    assert not any(secret in repr(credential) for secret in secrets)
