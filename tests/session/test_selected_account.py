"""The account that a caller selected, and how it is selected again."""

from __future__ import annotations

from pathlib import Path

import pytest

from ibkr_bridge.calls.messages import Response
from ibkr_bridge.events import Bus
from ibkr_bridge.session.preflight import Accounts
from ibkr_bridge.session.selected_account import SelectedAccount, Selection
from tests.calls.stage_setup import context_for

TARGET = "/iserver/account"


def observe(selected: SelectedAccount, body: bytes, status: int = 200, answer: bytes = b'{"set":true}') -> None:
    """Let it see one call to select an account, and IBKR's response."""
    context = context_for("POST", TARGET)
    context.call = context.call.__class__("POST", context.call.target, (), body, is_change=True)
    selected.observe(context, Response(status, {}, answer))


def selection_in(tmp_path: Path) -> SelectedAccount:
    """The selection of this state directory, as a new run reads it."""
    selected = SelectedAccount(tmp_path / "main.selected_account.json", Bus())
    selected.load()
    return selected


def test_the_selection_survives_a_restart(tmp_path: Path) -> None:
    """An order that names no account must not go to another account after a restart."""
    observe(selection_in(tmp_path), b'{"acctId":"DU7654321"}')

    call = selection_in(tmp_path).call_to_select(Accounts(selected="DU1234567"))

    assert call is not None
    assert (call.method, call.target, call.body) == ("POST", "/v1/api/iserver/account", b'{"acctId":"DU7654321"}')
    assert (tmp_path / "main.selected_account.json").stat().st_mode & 0o777 == 0o600


def test_no_link_is_followed(tmp_path: Path) -> None:
    """A link in the state directory must not choose the account that orders go to."""
    (tmp_path / "elsewhere").write_text('"DU7654321"')
    (tmp_path / "main.selected_account.json").symlink_to(tmp_path / "elsewhere")

    assert selection_in(tmp_path).number == ""


@pytest.mark.parametrize(
    ("body", "status", "answer"),
    [
        (b'{"acctId":"DU7654321"}', 500, b'{"error":"Account not found"}'),
        (b'{"acctId":"DU7654321"}', 200, b'{"error":"Account not found"}'),
        (b'{"acctId":7}', 200, b"{}"),
        (b'{"acctId":""}', 200, b"{}"),
        (b'{"acctId":"DU7654321\\u0007"}', 200, b"{}"),
        (b"not JSON", 200, b"{}"),
    ],
)
def test_what_ibkr_did_not_accept_is_no_selection(body: bytes, status: int, answer: bytes) -> None:
    """Nor is a body that names no account."""
    selected = SelectedAccount(None, Bus())

    observe(selected, body, status, answer)

    assert selected.call_to_select(Accounts(selected="DU1234567")) is None


def test_nothing_is_sent_while_ibkr_has_the_selection() -> None:
    """The list of accounts shows it."""
    selected = SelectedAccount(None, Bus())
    observe(selected, b'{"acctId":"DU7654321"}')

    assert selected.call_to_select(Accounts(selected="DU7654321")) is None


@pytest.mark.parametrize(
    ("status", "answer"),
    [
        (500, b'{"error":"Account not found"}'),
        (400, b'{"error":"Bad Request: invalid account"}'),
        (200, b'{"error":"This account is not allowed"}'),
    ],
)
def test_an_account_that_ibkr_refuses_is_forgotten_on_disk_too(tmp_path: Path, status: int, answer: bytes) -> None:
    """The login has no such account any more."""
    selected = selection_in(tmp_path)
    observe(selected, b'{"acctId":"DU7654321"}')

    assert selected.on_response(Response(status, {}, answer), 0.0) is Selection.REFUSED

    assert selection_in(tmp_path).call_to_select(Accounts()) is None
    assert not (tmp_path / "main.selected_account.json").exists()


def test_an_account_that_ibkr_selects_again_stays_selected() -> None:
    """The next session needs the selection too."""
    selected = SelectedAccount(None, Bus())
    observe(selected, b'{"acctId":"DU7654321"}')

    outcome = selected.on_response(Response(200, {}, b'{"set":true,"acctId":"DU7654321"}'), 0.0)

    assert (outcome, selected.number) == (Selection.DONE, "DU7654321")


FAILURES = [
    None,
    Response(503, {}, b""),
    Response(503, {}, b"<html>Service Unavailable</html>"),
    Response(429, {}, b'{"error":"Too many requests"}'),
    Response(400, {}, b'{"error":"Bad Request: no bridge"}'),
    Response(500, {}, b'{"error":"Please query /accounts first"}'),
    Response(401, {}, b"Access Denied"),
    Response(200, {}, b'{"error":"try again later"}'),
]


@pytest.mark.parametrize("response", FAILURES)
def test_a_failure_that_says_nothing_of_the_account_leaves_the_selection(response: Response | None) -> None:
    """It is tried again, and the session is not ready before."""
    selected = SelectedAccount(None, Bus())
    observe(selected, b'{"acctId":"DU7654321"}')

    assert selected.on_response(response, 0.0) is Selection.UNDECIDED
    assert selected.number == "DU7654321"


@pytest.mark.parametrize(
    ("response", "patience_s"),
    [
        *((response, 300.0) for response in FAILURES),
        (Response(500, {}, b"<html>Internal Server Error</html>"), 300.0),
        (Response(400, {}, b'{"error":"of a kind nobody knows"}'), 60.0),
        (Response(403, {}, b"Forbidden"), 60.0),
        (Response(404, {}, b'{"message":"account is closed"}'), 60.0),
    ],
)
def test_a_selection_that_stays_undecided_is_given_up_after_minutes(
    response: Response | None, patience_s: float
) -> None:
    """The session is not ready meanwhile. The time begins anew when IBKR accepts the account once."""
    selected = SelectedAccount(None, Bus())
    observe(selected, b'{"acctId":"DU7654321"}')
    selected.on_response(response, 100.0)
    selected.on_response(Response(200, {}, b'{"set":true}'), 150.0)

    outcomes = [selected.on_response(response, 200.0 + age) for age in (0.0, 1.0, patience_s - 0.1, patience_s)]

    assert outcomes == [Selection.UNDECIDED] * 3 + [Selection.REFUSED]
    assert selected.number == ""


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b'{"a":1}', b"\xff"])
def test_an_unreadable_file_counts_as_no_selection(tmp_path: Path, content: bytes) -> None:
    """The bridge starts all the same."""
    (tmp_path / "main.selected_account.json").write_bytes(content)

    assert selection_in(tmp_path).number == ""
