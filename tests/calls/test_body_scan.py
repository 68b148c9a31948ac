"""The accounts, sizes and replies in a query and a body, at any depth."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ibkr_bridge.calls.body_scan import ACCOUNT_KEYS, SIZE_KEYS, ScannedFields, scan_fields
from ibkr_bridge.calls.order_tickets import parse_order_tickets
from ibkr_bridge.errors import BadRequest


def scan(query: str, body: bytes) -> ScannedFields:
    """Scan a query and a body."""
    return scan_fields(query, parse_order_tickets(body))


def test_an_empty_query_and_body_contain_no_fields() -> None:
    """A call without a body is not an error."""
    fields = scan("", b"  ")

    assert (fields.accounts, fields.sizes, fields.answers) == (set(), [], [])


@pytest.mark.parametrize("name", sorted(ACCOUNT_KEYS))
def test_an_account_is_found_under_each_of_its_names(name: str) -> None:
    """In any letter case, since IBKR may ignore the case."""
    assert scan(f"{name.upper()}=DU1", f'{{"{name}":"DU2"}}'.encode()).accounts == {"DU1", "DU2"}


@pytest.mark.parametrize("name", sorted(SIZE_KEYS))
def test_a_size_is_found_under_each_of_its_names(name: str) -> None:
    """Its value is exact, as it was written."""
    assert scan("", f'{{"{name}":0.1}}'.encode()).sizes == [Decimal("0.1")]


@given(st.lists(st.sampled_from(["[{}]", '{{"x":{}}}', '{{"orders":[1,{}]}}']), max_size=8))
def test_an_account_is_found_at_any_depth(layers: list[str]) -> None:
    """A wrapper must not hide it from the rules."""
    text = '{"acctId":"DU1"}'
    for layer in layers:
        text = layer.format(text)

    assert scan("", text.encode()).accounts == {"DU1"}


def test_all_values_of_a_repeated_name_count() -> None:
    """A parser keeps the last one; IBKR may use the first."""
    fields = scan("acctId=A;acctId=B&acctId=C", b'{"acctId":"D","acctId":"E","quantity":1,"quantity":2}')

    assert (fields.accounts, fields.sizes) == ({"A", "B", "C", "D", "E"}, [Decimal(1), Decimal(2)])


def test_accounts_are_found_in_a_list() -> None:
    """IBKR's allocations write them as texts or as objects with a name. Empty ones do not count."""
    assert scan("", b'{"accounts":["DU1",{"name":"DU2"},"",null]}').accounts == {"DU1", "DU2"}


@pytest.mark.parametrize("size", ['"ten"', "-1", "true", '"NaN"', '"Infinity"', "[1]", "null", '""'])
def test_an_invalid_size_is_none(size: str) -> None:
    """None tells the rules that the size cannot be limited."""
    assert scan("", f'{{"quantity":{size}}}'.encode()).sizes == [None]


@pytest.mark.parametrize("name", ["cashQty", "fxQty"])
def test_a_size_in_money_is_none(name: str) -> None:
    """A limit in shares cannot be applied to it."""
    assert scan("", f'{{"{name}":100}}'.encode()).sizes == [None]


COMBINATION = '"conidex":"28812380;;;265598/2,8314/-7"'
UNREADABLE = '"conidex":"28812380;;;265598/many"'


@pytest.mark.parametrize(
    ("body", "sizes"),
    [
        (f'{{"quantity":3,{COMBINATION}}}', [Decimal(21)]),
        (f'{{{COMBINATION},"Quantity":"1.5"}}', [Decimal("10.5")]),
        ('{"quantity":3,"ConIdEx":"28812380;;;265598/1,8314/40"}', [Decimal(120)]),
        ('{"quantity":3,"conid":"28812380;;;265598/1,8314/40"}', [Decimal(120)]),
        ('{"quantity":3,"conid":"28812380","conidex":"28812380;;;265598/4"}', [Decimal(12)]),
        ('{"quantity":3,"conidex":"265598@SMART"}', [Decimal(3)]),
        ('{"quantity":3,"conidex":null,"conid":265598,"secType":"265598:STK"}', [Decimal(3)]),
        (f'{{"quantity":3,{UNREADABLE}}}', [None]),
        ('{"quantity":3,"conidex":{"legs":[1]}}', [None]),
        ('{"quantity":3,"secType":"28812380;;;265598/9:BAG"}', [None]),
        (f'{{"orders":[{{"quantity":1,{COMBINATION}}},{{"quantity":5}}]}}', [Decimal(7), Decimal(5)]),
        (f'{{"orders":[{{"quantity":1,{UNREADABLE}}},{{"quantity":5}}]}}', [None, Decimal(5)]),
        (f'{{{COMBINATION},"legs":[{{"quantity":3}}]}}', [Decimal(21)]),
        ('{"quantity":3,"conidex":"28812380;;;265598/2","conidex":"28812380;;;265598/5"}', [Decimal(15)]),
        (f'{{"quantity":9e999999,{COMBINATION}}}', [None]),
    ],
)
def test_the_size_of_a_combination_is_that_of_its_largest_leg(body: str, sizes: list[Decimal | None]) -> None:
    """One combination of ratio 500 is an order for 500 shares; one that cannot be read has no known size."""
    assert scan("", body.encode()).sizes == sizes


@pytest.mark.parametrize(
    ("query", "body"),
    [
        ("conidex=28812380;;;265598/20&qty=2", ""),
        ("qty=2;conidex=28812380%3B%3B%3B265598/20", ""),
        ("conidex=28812380;;;265598/20", '{"quantity":2}'),
        ("qty=2", '{"quantity":1,"conidex":"28812380;;;265598/20"}'),
    ],
)
def test_a_combination_in_the_query_counts_for_all_sizes(query: str, body: str) -> None:
    """It is unknown which size IBKR takes with it."""
    sizes = scan(query, body.encode()).sizes

    assert Decimal(40) in sizes or None in sizes


def test_one_of_several_tickets_without_a_size_is_found() -> None:
    """The size of another ticket says nothing about it."""
    assert scan("", b'{"orders":[{"quantity":1},{"isClose":true}]}').sizes == [Decimal(1), None]
    assert scan("", b'{"orders":[{"conid":1},{"conid":2}]}').sizes == []


def test_every_reply_to_a_question_is_found() -> None:
    """IBKR may use any of them."""
    assert scan("confirmed=true", b'{"confirmed":false,"a":{"Confirmed":1}}').answers.count(False) == 1
    assert len(scan("confirmed=true", b'{"confirmed":false,"a":{"Confirmed":1}}').answers) == 3


@pytest.mark.parametrize(
    "body", [b"{", b"a=1", b"\xff", b"[" * 100_000, b'{"quantity":1e99999999999999999999}', b"\x00"]
)
def test_an_unreadable_body_is_refused(body: bytes) -> None:
    """The rules cannot check it, so it must not be sent; the error is the caller's, not `internal`."""
    with pytest.raises(BadRequest):
        scan("", body)
