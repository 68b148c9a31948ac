"""The calls that IBKR wants before all others, and what their responses show of accounts and login. Pure.

Without `/iserver/accounts`, orders, trades and quotes answer 500 "Please query /accounts first"; without
`/portfolio/accounts` the portfolio is empty. The first list of orders is empty as well, and the next one is allowed
five seconds later only, so the keeper requests the first one before a caller does. All must be repeated after each
opening.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from http import HTTPStatus
from urllib.parse import unquote_plus

from ibkr_bridge.calls.messages import Call, Response
from ibkr_bridge.ibkr.bodies import ACCOUNTS_FIRST_PHRASE, session_phrases
from ibkr_bridge.ibkr.catalogue import ACCOUNTS, ORDERS_LIST, PORTFOLIO_ACCOUNTS, api_path
from ibkr_bridge.redaction import ACCOUNT_PATTERN
from ibkr_bridge.session.state_machine import NO_SESSION_STATUSES

PREFLIGHT_PATHS = (api_path(ACCOUNTS), api_path(PORTFOLIO_ACCOUNTS))
ORDERS_WARM_UP = api_path(ORDERS_LIST)


class PreflightOutcome(Enum):
    """What the first brokerage call of the preflight showed."""

    WORKED = "worked"
    REFUSED = "refused"  # with the words of a lost session
    FAILED = "failed"  # nothing usable came, which shows nothing


LOGIN_TYPES: Mapping[object, bool] = {1: False, "1": False, 2: True, "2": True}  # 1 live, 2 paper (OAS, SW2)
ALL_ACCOUNTS = "All"  # IBKR's own group of all accounts of the login
SEARCH_FEATURES = ("allowDynAccount", "allowFA")
"""Logins whose accounts are searched for, or held in models; IBKR's lists do not show all of them."""
LOGIN_TYPE_MEMBERS = ("LOGIN_TYPE", "loginType")  # IBKR's examples have the first name, its schemas the second


@dataclass(frozen=True)
class Accounts:
    """The accounts of the login; `paper` and `login_is_paper` come from IBKR, None if it does not say."""

    numbers: frozenset[str] = frozenset()
    """The accounts that may trade, without groups."""
    paper: bool | None = None
    """By `isPaper` of `/iserver/accounts`."""
    login_is_paper: bool | None = None
    """By the type of the login in `/sso/validate`."""
    groups: frozenset[str] = frozenset()
    """Names that stand for several of these accounts; `All` always does and is left out."""
    others: frozenset[str] = frozenset()
    """Further accounts of the login, by `/portfolio/accounts`."""
    is_complete: bool = True
    """Whether IBKR lists all accounts of the login."""
    selected: str = ""
    """The account that later calls apply to if they name none."""

    @property
    def known(self) -> frozenset[str]:
        """Every account and group of the login; empty if IBKR does not list all of them."""
        return (
            self.numbers | self.others | self.groups | {ALL_ACCOUNTS}
            if self.numbers and self.is_complete
            else frozenset()
        )


def read_accounts(body: object, portfolio: object = None) -> Accounts:
    """Read the responses of `/iserver/accounts` and `/portfolio/accounts`; an unexpected body counts as empty."""
    if not isinstance(body, dict):
        return Accounts()
    paper, features, selected = body.get("isPaper"), body.get("allowFeatures"), body.get("selectedAccount")
    listed = _texts(body.get("accounts"))
    groups = {ALL_ACCOUNTS, *_texts(body.get("groups")), *_texts(body.get("profiles"))}
    # IBKR lists groups among the accounts. A group that is named like an account stays an account.
    numbers = frozenset(name for name in listed if name not in groups or ACCOUNT_PATTERN.fullmatch(name))
    return Accounts(
        numbers,
        paper if isinstance(paper, bool) else None,
        groups=frozenset(groups) - numbers - {ALL_ACCOUNTS},
        others=named_accounts(portfolio) - numbers - groups,
        selected=selected if isinstance(selected, str) else "",
        is_complete=not (isinstance(features, dict) and any(features.get(name) is True for name in SEARCH_FEATURES)),
    )


def named_accounts(body: object) -> frozenset[str]:
    """The account numbers in a list of accounts, whichever call returned it."""
    if isinstance(body, dict):
        return _texts(body.get("accounts")) | named_accounts(body.get("subaccounts"))
    rows = body if isinstance(body, list) else []
    return frozenset(
        str(row[name]) for row in rows if isinstance(row, dict) for name in ("id", "accountId") if row.get(name)
    )


def _texts(listed: object) -> frozenset[str]:
    return frozenset(str(each) for each in listed) if isinstance(listed, list) else frozenset()


def read_login(body: object) -> bool | None:
    """Whether `/sso/validate` shows a paper login; None if it shows neither type.

    If its two members differ, live counts. `RESULT` false means nothing: IBKR sends it for valid logins too.
    """
    if not isinstance(body, dict) or body.get("RESULT") is False:
        return None
    types = [_login_type(body[name]) for name in LOGIN_TYPE_MEMBERS if name in body]
    return None if types.count(None) == len(types) else False not in types


def shows_login(status: int, body: object) -> bool | None:
    """Whether a response of `tickle` or `/sso/validate` shows a valid login; None if it shows nothing.

    `RESULT` false means nothing: IBKR sends it for valid logins too.
    """
    if status in NO_SESSION_STATUSES:
        return False
    if status != HTTPStatus.OK or not isinstance(body, dict):
        return None
    if body.get("error") == "no session":
        return False
    return True if body.get("RESULT") is True or body.get("session") else None


def _login_type(value: object) -> bool | None:
    plain = isinstance(value, int | float | str) and not isinstance(value, bool)
    return LOGIN_TYPES.get(value) if plain else None


def refuses_for_session(call: Call, response: Response) -> bool:
    """Whether a brokerage call was answered with the words of a lost session, which contradicts a good `auth/status`.

    A 401 may mean that this user may not make this call, and IBKR's demand for `/iserver/accounts` is met by the
    preflight: neither counts. Words that stand in the call itself do not count either: IBKR may repeat them.
    """
    phrases = session_phrases(response.status, response.body)
    if response.status == HTTPStatus.UNAUTHORIZED or ACCOUNTS_FIRST_PHRASE in phrases:
        return False
    sent = (unquote_plus(call.target).encode() + call.body).lower() if phrases else b""
    return any(phrase not in sent for phrase in phrases)


def hints_session_loss(status: int, body: bytes) -> bool:
    """Whether a response is a reason to check the session at once."""
    return status == HTTPStatus.UNAUTHORIZED or bool(session_phrases(status, body))


def is_access_denied(status: int, body: bytes) -> bool:
    """Whether the Gateway refused the call by its own address rules (users report a 403; it is a 404)."""
    return status == 404 and body.strip() == b"Access Denied"
