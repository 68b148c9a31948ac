"""The facts of a call that the order rules check."""

from __future__ import annotations

from decimal import Decimal

import pytest

from ibkr_bridge.calls.facts import RequestFacts, facts_of_call
from ibkr_bridge.calls.order_tickets import parse_order_tickets
from ibkr_bridge.errors import BadRequest
from ibkr_bridge.ibkr.catalogue import decode_segments, endpoint_of
from ibkr_bridge.ibkr.endpoint import Effect, OrderOperation

ORDERS = "/iserver/account/DU1/orders"


def facts(method: str, path: str, body: bytes = b"", **attributes: frozenset[str]) -> RequestFacts:
    """The facts of a call."""
    path_alone, _, query = path.partition("?")
    return facts_of_call(
        endpoint_of(method, path), decode_segments(path_alone), query, parse_order_tickets(body), **attributes
    )


def test_a_read_has_no_facts_from_its_body() -> None:
    """No rule checks it, and its body may be anything."""
    read = facts("POST", "/pa/performance", b"no json: DU1")

    assert read == RequestFacts(Effect.READ, None)


def test_the_facts_of_an_order_contain_every_account_and_size() -> None:
    """It is unknown which of two values IBKR uses."""
    body = b'{"orders":[{"acctId":"DU2","quantity":5},{"acctId":"DU3","quantity":1.5,"cashQty":9}]}'

    order = facts("POST", f"{ORDERS}?accountId=DU4", body)

    assert (order.effect, order.operation) == (Effect.TRADE, OrderOperation.PLACE)
    assert order.accounts == {"DU1", "DU2", "DU3", "DU4"}
    assert sorted(order.sizes, key=str) == [Decimal("1.5"), Decimal(5), None]
    assert not order.may_concern_other_accounts


@pytest.mark.parametrize(
    ("method", "path", "may_concern_others"),
    [
        ("POST", ORDERS, False),
        ("POST", "/iserver/account/orders", True),
        ("POST", "/iserver/account/orders?accountId=DU1", False),
        ("POST", "/iserver/account/orders/{faGroup}", True),
        ("POST", "/iserver/something/new", True),
        ("POST", "/iserver/something/new/DU1234567", False),
        ("DELETE", "/ccp/order?id=7", True),
        ("POST", "/fa/model/invest-divest-positions", True),
        ("POST", "/iserver/account/allocation/group/delete", True),
        ("PUT", "/iserver/account/allocation/group", True),
        ("POST", "/iserver/reply/abc", False),
        ("POST", "/iserver/notification", False),
        ("POST", "/iserver/watchlist", False),
    ],
)
def test_a_call_without_an_account_may_concern_other_accounts(method: str, path: str, may_concern_others: bool) -> None:
    """A list of allowed accounts cannot be enforced if the account is unknown."""
    assert facts(method, path, b"{}").may_concern_other_accounts is may_concern_others


@pytest.mark.parametrize(
    ("path", "body", "concerns_login"),
    [
        ("/iserver/notification", b'{"orderId":7}', True),
        ("/iserver/notification", b'{"orderId":7,"acctId":"DU1"}', False),
        ("/iserver/questions/suppress", b"{}", True),
        ("/iserver/reply/abc", b'{"confirmed":true}', False),
        ("/iserver/watchlist", b"{}", False),
    ],
)
def test_some_calls_without_an_account_concern_the_login(path: str, body: bytes, concerns_login: bool) -> None:
    """They reach all accounts of the login and no other; a reply concerns the order that was asked about."""
    assert facts("POST", path, body).concerns_login is concerns_login


@pytest.mark.parametrize(
    ("body", "is_declining"),
    [
        (b'{"confirmed":false}', True),
        (b'{"confirmed":true}', False),
        (b"{}", False),
        (b'{"confirmed":false,"Confirmed":true}', False),
        (b'{"confirmed":"false"}', False),
        (b'{"confirmed":true,"confirmed":false}', False),
    ],
)
def test_a_reply_declines_only_if_every_value_is_false(body: bytes, is_declining: bool) -> None:
    """Rules that refuse an order let a decline pass, so a confirmation must never count as one."""
    assert facts("POST", "/iserver/reply/abc", body).is_declining is is_declining


@pytest.mark.parametrize(
    ("path", "may_cancel_several"),
    [
        ("/iserver/account/DU1/order/123", False),
        ("/iserver/account/DU1/order/-1", True),
        ("/iserver/account/DU1/order/0", True),
        ("/iserver/account/DU1/order/12x", True),
        ("/iserver/account/DU1/order/%31", False),
        ("/ccp/order?id=7", False),
        ("/ccp/order?ID=7", False),
        ("/ccp/order?id=7&id=-1", True),
        ("/ccp/order", True),
    ],
)
def test_a_cancel_may_cancel_several_unless_it_names_one_order(path: str, may_cancel_several: bool) -> None:
    """IBKR takes -1 for all orders of an account, and other values are undocumented."""
    assert facts("DELETE", path).may_cancel_several is may_cancel_several


def test_a_change_that_is_not_json_is_refused() -> None:
    """The rules cannot check it."""
    with pytest.raises(BadRequest):
        facts("POST", ORDERS, b"orders=1")


def test_confirmations_are_passed_on() -> None:
    """A rule may require one of them."""
    order = facts("DELETE", "/iserver/account/DU1/order/-1", confirmations=frozenset({"cancel-all"}))

    assert order.confirmations == {"cancel-all"}
