"""The body of an order call, which is parsed once for all its readers."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ibkr_bridge.calls.messages import Call
from ibkr_bridge.calls.order_tickets import parse_order_tickets


@pytest.mark.parametrize(
    ("body", "conids"),
    [
        (b'{"orders":[{"conid":1},{"conid":2}]}', [1, 2]),
        (b'[{"conid":1}]', [1]),
        (b'{"conid":1}', [1]),
        (b'{"orders":[{"conid":1},null]}', []),
        (b'{"orders":{}}', []),
        (b"7", []),
        (b"", []),
        (b"nonsense", []),
        (b"\xff\xfe\x00", []),
    ],
)
def test_every_form_of_a_placement_is_read(body: bytes, conids: list[int]) -> None:
    """IBKR's documentation shows three forms; any other body has no tickets."""
    assert [ticket["conid"] for ticket in parse_order_tickets(body).tickets] == conids


def test_numbers_stay_exact() -> None:
    """A price must not become a binary fraction before a limit is checked."""
    (ticket,) = parse_order_tickets(b'{"price":0.1,"quantity":10.00000000000000000000000000001}').tickets

    assert ticket == {"price": Decimal("0.1"), "quantity": Decimal("10.00000000000000000000000000001")}


def test_a_repeated_name_is_found_at_any_depth() -> None:
    """It is unknown which value IBKR uses, so the rules see both and the ticket counts as ambiguous."""
    parsed = parse_order_tickets(b'{"orders":[{"quantity":1,"quantity":900}]}')

    assert (parsed.has_repeated_names, parsed.unambiguous) == (True, ())
    assert [value for name, value in parsed.fields if name == "quantity"] == [1, 900]


def test_the_members_of_each_object_stay_together() -> None:
    """A size belongs to the contract beside it."""
    parsed = parse_order_tickets(b'{"orders":[{"conid":1,"quantity":2},{"conid":3}]}')

    assert parsed.objects[:2] == ((("conid", 1), ("quantity", 2)), (("conid", 3),))


def test_is_json_is_false_for_a_body_that_is_not_json() -> None:
    """The rules refuse such a body, since they cannot check it. An empty body counts as JSON."""
    assert [parse_order_tickets(body).is_json for body in (b"{", b"[" * 100_000, b"", b" \n")] == [
        False,
        False,
        True,
        True,
    ]


def test_a_call_parses_its_body_once() -> None:
    """All readers of one call get the same object."""
    call = Call("POST", "/v1/api/iserver/account/DU1/orders", body=b'{"orders":[{"conid":1}]}')

    assert call.tickets is call.tickets


@given(st.binary())
def test_no_body_raises(body: bytes) -> None:
    """A caller may send any bytes."""
    parsed = parse_order_tickets(body)

    assert parsed.is_json or not parsed.tickets
