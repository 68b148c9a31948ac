"""What a query and a body mention, at any depth."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ibkr_bridge.calls.body_scan import ACCOUNT_KEYS, SIZE_KEYS, ScannedFields, scan_fields
from ibkr_bridge.calls.order_tickets import parse_order_tickets
from ibkr_bridge.errors import BadRequest


def scan(query: str, body: bytes) -> ScannedFields:
    """What is found in a query and a body."""
    return scan_fields(query, parse_order_tickets(body))


def test_an_empty_query_and_body_mention_nothing() -> None:
    """A call without a body is no error."""
    found = scan("", b"  ")

    assert (found.accounts, found.sizes, found.answers) == (set(), [], [])


@pytest.mark.parametrize("name", sorted(ACCOUNT_KEYS))
def test_an_account_is_found_under_each_of_its_names(name: str) -> None:
    """In whatever case: IBKR may not mind it."""
    assert scan(f"{name.upper()}=DU1", f'{{"{name}":"DU2"}}'.encode()).accounts == {"DU1", "DU2"}


@pytest.mark.parametrize("name", sorted(SIZE_KEYS))
def test_a_size_is_found_under_each_of_its_names(name: str) -> None:
    """As the number that was written, to the digit."""
    assert scan("", f'{{"{name}":0.1}}'.encode()).sizes == [Decimal("0.1")]


@given(st.lists(st.sampled_from(["[{}]", '{{"x":{}}}', '{{"orders":[1,{}]}}']), max_size=8))
def test_an_account_is_found_at_any_depth(layers: list[str]) -> None:
    """A wrapper must not hide it from the rules."""
    text = '{"acctId":"DU1"}'
    for layer in layers:
        text = layer.format(text)

    assert scan("", text.encode()).accounts == {"DU1"}


def test_repeated_names_all_count() -> None:
    """A parser keeps the last one; IBKR may take the first."""
    found = scan("acctId=A;acctId=B&acctId=C", b'{"acctId":"D","acctId":"E","quantity":1,"quantity":2}')

    assert (found.accounts, found.sizes) == ({"A", "B", "C", "D", "E"}, [Decimal(1), Decimal(2)])


def test_accounts_can_stand_in_a_list_with_names() -> None:
    """As allocations write them; empty ones are none."""
    assert scan("", b'{"accounts":["DU1",{"name":"DU2"},"",null]}').accounts == {"DU1", "DU2"}


@pytest.mark.parametrize("size", ['"ten"', "-1", "true", '"NaN"', '"Infinity"', "[1]", "null", '""'])
def test_a_size_that_is_no_plain_number_is_no_size(size: str) -> None:
    """None tells the rules that it cannot be bounded."""
    assert scan("", f'{{"quantity":{size}}}'.encode()).sizes == [None]


@pytest.mark.parametrize("name", ["cashQty", "fxQty"])
def test_a_size_in_money_is_no_count_of_shares(name: str) -> None:
    """No limit of shares could be held against it."""
    assert scan("", f'{{"{name}":100}}'.encode()).sizes == [None]


def test_every_answer_to_a_question_is_found() -> None:
    """Whichever of them IBKR takes."""
    assert scan("confirmed=true", b'{"confirmed":false,"a":{"Confirmed":1}}').answers.count(False) == 1
    assert len(scan("confirmed=true", b'{"confirmed":false,"a":{"Confirmed":1}}').answers) == 3


@pytest.mark.parametrize(
    "body", [b"{", b"a=1", b"\xff", b"[" * 100_000, b'{"quantity":1e99999999999999999999}', b"\x00"]
)
def test_a_body_that_cannot_be_read_is_refused(body: bytes) -> None:
    """What the rules cannot see must not go out; and no such body is an error of our own."""
    with pytest.raises(BadRequest):
        scan("", body)
