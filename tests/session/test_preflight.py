"""The calls of the preflight, and what is read from their responses."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ibkr_bridge.session.preflight import (
    PREFLIGHT_PATHS,
    Accounts,
    hints_session_loss,
    named_accounts,
    read_accounts,
    read_login,
    shows_login,
)

NAMES = ["accounts", "isPaper", "LOGIN_TYPE", "loginType", "RESULT"]
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text()),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.one_of(st.sampled_from(NAMES), st.text()), inner, max_size=3),
    ),
    max_leaves=10,
)


def test_the_preflight_fetches_both_lists_of_accounts() -> None:
    """Without the first one orders answer 500; without the second one the portfolio is empty."""
    assert PREFLIGHT_PATHS == ("/v1/api/iserver/accounts", "/v1/api/portfolio/accounts")


@pytest.mark.parametrize(
    ("body", "accounts"),
    [
        ({"accounts": ["DU1", "DU2"], "isPaper": True}, Accounts(frozenset({"DU1", "DU2"}), True)),
        (
            {"accounts": ["U1"], "isPaper": False, "selectedAccount": "U1"},
            Accounts(frozenset({"U1"}), False, selected="U1"),
        ),
        ({"accounts": ["U1"], "selectedAccount": ["U1"]}, Accounts(frozenset({"U1"}))),
        ({"accounts": ["U1"]}, Accounts(frozenset({"U1"}), None)),
        ({"accounts": ["U1"], "isPaper": "true"}, Accounts(frozenset({"U1"}), None)),
        ({"accounts": ["U1"], "isPaper": 1}, Accounts(frozenset({"U1"}), None)),
        ({"accounts": "U1", "isPaper": True}, Accounts(frozenset(), True)),
        ({"accounts": None}, Accounts()),
        ({}, Accounts()),
        (
            {"accounts": ["All", "Family", "DU1234567A"], "groups": ["All", "Family"], "profiles": ["Thirds"]},
            Accounts(frozenset({"DU1234567A"}), groups=frozenset({"Family", "Thirds"})),
        ),
        (
            {"accounts": ["U7654321"], "groups": ["U7654321"]},  # a group that hides a live account from paper mode
            Accounts(frozenset({"U7654321"})),
        ),
        (
            {"accounts": ["U1"], "allowFeatures": {"allowDynAccount": True}},
            Accounts(frozenset({"U1"}), is_complete=False),
        ),
        ({"accounts": ["U1"], "allowFeatures": {"allowFA": False}}, Accounts(frozenset({"U1"}))),
        (["U1"], Accounts()),
        (None, Accounts()),
        ("U1", Accounts()),
    ],
)
def test_accounts_are_read_only_from_exact_values(body: object, accounts: Accounts) -> None:
    """Only `true` means paper. Any other value leaves it unknown, and an unknown account is not traded."""
    assert read_accounts(body) == accounts


def test_the_accounts_of_the_portfolio_are_known_too() -> None:
    """An account that may only be read is an account of the login, but it does not trade."""
    accounts = read_accounts({"accounts": ["U1"], "groups": ["G"]}, [{"id": "U1"}, {"accountId": "U2"}, "U3", None])

    assert accounts.numbers == {"U1"}
    assert accounts.others == {"U2"}
    assert accounts.known == {"U1", "U2", "G", "All"}


@pytest.mark.parametrize("body", [{}, {"accounts": ["U1"], "allowFeatures": {"allowFA": True}}])
def test_without_a_complete_list_no_account_is_unknown(body: object) -> None:
    """Nothing can be concluded from a list that lacks some."""
    assert read_accounts(body).known == frozenset()


@pytest.mark.parametrize(
    ("body", "numbers"),
    [
        ([{"id": "U1", "accountId": "U1"}, {"accountId": "U2"}], {"U1", "U2"}),
        ({"accounts": ["U1", "All"]}, {"U1", "All"}),
        ({"metadata": {}, "subaccounts": [{"id": "U3"}]}, {"U3"}),
        ("U1", set()),
        (None, set()),
    ],
)
def test_accounts_are_found_in_every_list_of_them(body: object, numbers: set[str]) -> None:
    """They are redacted from then on."""
    assert named_accounts(body) == numbers


@given(JSON)
def test_no_body_makes_the_readers_raise(body: object) -> None:
    """An unexpected body contains nothing."""
    accounts = read_accounts(body)

    assert accounts.paper in (True, False, None)
    assert all(isinstance(number, str) for number in accounts.numbers)
    assert read_login(body) in (True, False, None)


@pytest.mark.parametrize(
    ("body", "is_paper"),
    [
        ({"LOGIN_TYPE": 2, "RESULT": True}, True),
        ({"LOGIN_TYPE": 1, "RESULT": True}, False),
        ({"loginType": 2}, True),
        ({"loginType": 1}, False),
        ({"LOGIN_TYPE": "2"}, True),
        ({"LOGIN_TYPE": "1"}, False),
        ({"LOGIN_TYPE": 1.0}, False),
        ({"LOGIN_TYPE": 2, "loginType": 2}, True),
        ({"LOGIN_TYPE": 2, "loginType": 1}, False),
        ({"LOGIN_TYPE": 1, "loginType": 2}, False),
        ({"LOGIN_TYPE": 2, "loginType": None}, True),
        ({"LOGIN_TYPE": 1, "RESULT": False}, None),
        ({"LOGIN_TYPE": 2, "RESULT": False}, None),
        ({"LOGIN_TYPE": 3}, None),
        ({"LOGIN_TYPE": True}, None),
        ({"LOGIN_TYPE": [1]}, None),
        ({"LOGIN_TYPE": None}, None),
        ({"login_type": 2}, None),
        ({"RESULT": True}, None),
        ({}, None),
        ([{"LOGIN_TYPE": 2}], None),
        ("2", None),
        (None, None),
    ],
)
def test_a_login_is_paper_only_if_no_value_says_live(body: object, is_paper: bool | None) -> None:
    """One value for live decides; an unknown value leaves it open."""
    assert read_login(body) is is_paper


@pytest.mark.parametrize(
    ("status", "body", "is_login"),
    [
        (200, {"session": "abc"}, True),
        (200, {"RESULT": True}, True),
        (200, {"error": "no session"}, False),
        (401, None, False),
        (601, None, False),
        (200, {"session": "", "RESULT": False}, None),
        (200, {"RESULT": 1}, None),
        (200, {"error": "try later"}, None),
        (200, "session", None),
        (200, None, None),
        (500, {"session": "abc"}, None),
        (503, {"error": "no session"}, None),
    ],
)
def test_a_login_is_shown_only_by_a_complete_response(status: int, body: object, is_login: bool | None) -> None:
    """A server that fails shows neither that somebody is signed in nor that nobody is."""
    assert shows_login(status, body) is is_login


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (401, b""),
        (401, b"<html>"),
        (200, b'{"error":"no session"}'),
        (500, b'{"error":"Please query /accounts first"}'),
        (400, b'{"error":"Bad Request: no bridge","statusCode":400}'),
        (500, b'{ "error" : "Init session first" }'),
        (500, b'{"Error":"NOT AUTHENTICATED"}'),
        (400, b"no bridge"),
        (502, b"<html><body>Not authenticated</body></html>"),
        (400, b'{"path":"' + b"p" * 400 + b'","message":"no session"}'),
    ],
)
def test_a_response_about_a_lost_session_is_a_reason_to_check(status: int, body: bytes) -> None:
    """The call that meets the loss makes it known, not the next round."""
    assert hints_session_loss(status, body)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, b'{"name":"No Bridge Left Inc"}'),
        (200, b'[{"description":"init session first"}]'),
        (500, b'{"error":"internal"}'),
        (404, b"Access Denied"),
        (200, b""),
        (429, b'{"error":"too many requests"}'),
        (200, b"x" * 400 + b'{"error":"no session"}'),
    ],
)
def test_other_responses_cause_no_check(status: int, body: bytes) -> None:
    """Each check costs a call to IBKR."""
    assert not hints_session_loss(status, body)


@given(st.integers(100, 999), st.binary())
def test_no_response_makes_the_hint_raise(status: int, body: bytes) -> None:
    """It is computed for every response that passes."""
    assert hints_session_loss(status, body) in (True, False)
