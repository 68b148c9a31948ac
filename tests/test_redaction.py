"""Which secrets are removed from text, and what replaces them."""

from __future__ import annotations

import time

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from ibkr_bridge.redaction import (
    MAX_ACCOUNTS,
    MAX_CHANGING_SECRETS,
    REDACTED,
    Redactor,
    escape_unprintable,
    mask_account,
)
from tests.harness import KEY

SECRETS = st.text(st.characters(codec="ascii", categories=("L", "N")), min_size=6, max_size=20)


@pytest.mark.parametrize(
    ("account", "shown"),
    [
        ("DU1234567", "DU*****67"),
        ("U7654321", "U*****21"),
        ("DFI123456", "DF*****56"),
        ("U7654321F", "U*****1F"),
        ("DU1234567A", "DU*****7A"),
        ("XX90", "XX*****90"),
    ],
)
def test_a_masked_account_can_be_recognised(account: str, shown: str) -> None:
    """The first letters and the last two characters are enough to distinguish accounts of one user."""
    assert mask_account(account) == shown


@pytest.mark.parametrize(
    "text", ["/portfolio/{}/summary", '{{"acctId":"{}"}}', "account={}&x", "{}", "{}.", "acct_{}", "({})"]
)
@pytest.mark.parametrize(
    "account",
    ["U1234567", "DU1234567", "F123456", "DF123456", "I1234567", "DI1234567", "DU1234567A", "U1234567F", "df9876543c"],
)
def test_an_account_number_is_masked_wherever_it_stands(text: str, account: str) -> None:
    """Account numbers get into log lines with paths, bodies and queries."""
    written = text.format(account)

    redacted = Redactor().redact(written)

    assert redacted == text.format(mask_account(account))
    assert Redactor().contains_secret(written)


@pytest.mark.parametrize(
    "text", ["order 1234567", "DU1234567AB", "conid 265598", "UTC2026", "DU12", "request 0f3DU1234567", "USD100"]
)
def test_ordinary_words_are_not_masked(text: str) -> None:
    """A log without its ordinary words would be useless."""
    assert Redactor().redact(text) == text


@pytest.mark.parametrize(
    "name",
    [
        "d6787281-1ed1-4e9f-8983-AD535C686355",
        "1ed1aaaa-1ed1-4e9f-8983-fa0123456789",
        "F1234567-0000-4e9f-8983-d12345678901",
    ],
)
def test_a_uuid_is_no_account_number(name: str) -> None:
    """One in a hundred UUIDs begins or ends like an account number, and the log must show the ids of requests."""
    assert not Redactor().contains_secret(f"request\0{name}\0")


@pytest.mark.parametrize(
    "name",
    [
        "d1234567-1ed1-4e9f-8983-0",
        "U1234567-1234-1234-1234-123456789012",
        "deadbeef-dead-beef-dead-DU1234567",
        "deadbeef-dead-beef-dead-DU1234567.x",
        "1ed1aaaa-1ed1-4e9f-8983-fa0123456789-2",
        "xd6787281-1ed1-4e9f-8983-du1234567890",
        "d123456-1ed1-4e9f-8983-ad535c686355",
    ],
)
def test_a_text_that_only_resembles_a_uuid_is_masked(name: str) -> None:
    """A text is a UUID only if each part has its length and all digits are hexadecimal."""
    assert Redactor().contains_secret(f"request {name} x")


def test_an_account_that_ibkr_names_is_masked_whatever_its_form() -> None:
    """Not every account number has the usual form, but IBKR lists those of the login."""
    redactor = Redactor()
    redactor.add_account("QX77Z123B")

    assert redactor.redact("acct=QX77Z123B, xQX77Z123B") == "acct=QX*****3B, xQX77Z123B"
    assert redactor.contains_secret("/portfolio/QX77Z123B/meta")


@pytest.mark.parametrize("name", ["All", "Family", "265598", "A1", "", "a.b*c12345", "A" * 20 + "1"])
def test_a_word_that_is_no_account_number_is_not_added(name: str) -> None:
    """The name of a group or a plain number would mask ordinary words of the log."""
    redactor = Redactor()
    redactor.add_account(name)

    assert not redactor.contains_secret(f"x {name} y")


def test_the_number_of_accounts_is_limited() -> None:
    """The latest accounts are kept."""
    redactor = Redactor()
    for number in range(MAX_ACCOUNTS + 1):
        redactor.add_account(f"QX{number:04}Z")

    assert not redactor.contains_secret("QX0000Z")
    assert redactor.contains_secret(f"QX{MAX_ACCOUNTS:04}Z")


def test_an_added_secret_is_hidden() -> None:
    """Redaction is the last protection if code writes a secret by mistake."""
    redactor = Redactor()
    redactor.add_secret(KEY)

    assert redactor.redact(f"X-Bridge-Key: {KEY}, again {KEY}") == f"X-Bridge-Key: {REDACTED}, again {REDACTED}"
    assert KEY not in repr(redactor)


TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJpYmtyLWJyaWRnZSJ9.s5-_DU1234567_aB"


@pytest.mark.parametrize("text", ["{}", "?token={}&x=1", "token%3D{}", "Bearer {}, again {}", '"{}"', "({}).", "x{} y"])
def test_a_token_is_hidden_by_its_form(text: str) -> None:
    """The bridge issues more tokens than it could remember, so they are recognised by their form."""
    written = text.replace("{}", TOKEN)

    assert Redactor().redact(written) == text.replace("{}", REDACTED)
    assert Redactor().contains_secret(written)


def test_a_token_without_a_signature_is_hidden_too() -> None:
    """Another program might accept such a token."""
    assert Redactor().redact("eyJhbGciOiJub25lIn0.eyJhIjoxfQ. x") == f"{REDACTED} x"


@pytest.mark.parametrize("text", ["eyJ", "heyJoe", "eyJabc.def", "eyJabc..def", "eyJabc. And. So", "/eyJs/x.y.z"])
def test_a_text_that_only_begins_like_a_token_is_not_hidden(text: str) -> None:
    """A token has three parts."""
    assert Redactor().redact(text) == text


def test_the_time_for_a_long_text_grows_with_its_length() -> None:
    """The text is read once, however often a token seems to begin."""

    def cpu_time_s(times: int) -> float:
        text = "eyJ" * times
        began = time.process_time()  # what this process computes, whatever else the machine does
        assert Redactor().redact(text) == text
        return time.process_time() - began

    short, long = (min(cpu_time_s(times) for _ in range(3)) for times in (20_000, 200_000))

    assert long < 50 * short  # it is ten times as long; by the square of its length it would be a hundred times


@pytest.mark.parametrize("word", ["", "a", "true", "12345"])
def test_a_word_too_short_to_be_a_secret_is_not_added(word: str) -> None:
    """A cookie with the value `1` must not hide every digit 1."""
    redactor = Redactor()
    redactor.add_secret(word)

    assert redactor.redact(f"was {word} here") == f"was {word} here"


def test_cookies_do_not_displace_the_key() -> None:
    """IBKR sets a cookie with nearly every response, and cookies must not displace the key."""
    redactor = Redactor()
    redactor.add_secret(KEY, permanent=True)

    for number in range(MAX_CHANGING_SECRETS + 1):
        redactor.add_secret(f"cookie-{number:06}")

    assert redactor.contains_secret(KEY)


def test_the_latest_cookies_are_hidden() -> None:
    """Only the latest cookies can still be used."""
    redactor = Redactor()

    for number in range(MAX_CHANGING_SECRETS * 2):
        redactor.add_secret(f"cookie-{number:06}")

    assert redactor.redact(f"cookie-{MAX_CHANGING_SECRETS * 2 - 1:06}") == REDACTED
    assert repr(redactor) == f"<Redactor {MAX_CHANGING_SECRETS} secrets>"


@pytest.mark.parametrize("order", [("session", "session-of-the-login"), ("session-of-the-login", "session")])
def test_a_secret_within_another_leaves_nothing_of_the_longer_one(order: tuple[str, str]) -> None:
    """The longer secret is hidden completely, whichever of both was added first."""
    redactor = Redactor()
    for secret in order:
        redactor.add_secret(secret)

    assert redactor.redact("cookie: session-of-the-login") == f"cookie: {REDACTED}"


@given(st.lists(SECRETS, min_size=1, max_size=8, unique=True), st.data())
def test_no_secret_survives_in_any_text(secrets: list[str], data: st.DataObject) -> None:
    """This holds for any secrets, in any order and in any text."""
    assume(not any(secret in REDACTED for secret in secrets))
    redactor = Redactor()
    for secret in secrets:
        redactor.add_secret(secret)
    pieces = data.draw(st.lists(st.one_of(st.sampled_from(secrets), st.text(max_size=5)), max_size=10))

    redacted = redactor.redact(" ".join(pieces))

    assert not [secret for secret in secrets if secret in redacted]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain text, Z\u00fcrich \u00a5 \u6771", "plain text, Z\u00fcrich \u00a5 \u6771"),
        ("\x1b[2J\x1b]0;title\x07", "\\x1b[2J\\x1b]0;title\\x07"),
        ("a\nforged line\r", "a\\nforged line\\r"),
        ("\x9b31m", "\\x9b31m"),
        ("a\u202eb\u2028", "a\\u202eb\\u2028"),
        ("\ud800\x7f\0", "\\ud800\\x7f\\x00"),
    ],
)
def test_characters_that_would_control_a_terminal_are_escaped(text: str, shown: str) -> None:
    """Control characters, line ends and marks of the writing direction are escaped; letters of all languages stay."""
    assert escape_unprintable(text) == shown


@given(st.text())
def test_an_escaped_text_is_printable(text: str) -> None:
    """This holds for any text."""
    assert escape_unprintable(text).isprintable()
    assert escape_unprintable("a\n\tb", exempt="\n\t") == "a\n\tb"


def test_a_named_key_is_recognised_by_its_form() -> None:
    """The bridge does not know these keys: it has only their digests."""
    assert Redactor().redact("sent ibkrb_Ab3-_Ab3-_Ab3 here") == "sent [hidden] here"
    assert Redactor().redact("ibkrb_ is a prefix") == "ibkrb_ is a prefix"
