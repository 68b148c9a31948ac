"""The lists in a call's query and body."""

from __future__ import annotations

import json

import pytest

from ibkr_bridge.calls.messages import Call
from ibkr_bridge.calls.parameters import (
    MAX_CONTRACT_IDS,
    check_list_sizes,
    contract_ids,
    list_values,
    order_contract_ids,
)
from ibkr_bridge.errors import BadRequest
from ibkr_bridge.ibkr.catalogue import endpoint_of

PATH = "/v1/api/iserver/marketdata/snapshot"


@pytest.mark.parametrize(
    ("query", "values"),
    [
        ("", []),
        ("?conids=", []),
        ("?conids=1,2", ["1", "2"]),
        ("?conids=1,,2,", ["1", "2"]),
        ("?conids=1%2C2&fields=31", ["1", "2"]),
        ("?c%6Fnids=1&conids=2", ["1", "2"]),
        ("?Conids=1", []),
    ],
)
def test_the_values_of_a_list_stand_between_its_commas(query: str, values: list[str]) -> None:
    """Escaped or not, in one parameter or several, as IBKR reads them."""
    assert list_values(Call("GET", PATH + query), "conids") == values


def test_a_list_can_stand_in_the_body_too() -> None:
    """Some of IBKR's calls take it there; what is no list there has no values."""
    assert list_values(Call("POST", f"{PATH}?conids=1", body=b'{"conids":[2,"3"]}'), "conids") == ["1", "2", "3"]
    assert list_values(Call("POST", PATH, body=b'{"conids":"2"}'), "conids") == []
    assert list_values(Call("POST", PATH, body=b"no json"), "conids") == []


def test_contract_ids_are_numbers_and_each_stands_once() -> None:
    """Whatever else a caller writes is not asked for."""
    assert contract_ids(["8", 8, "x", "-1", "8@SMART", "1" * 13, "\u0663", "9"]) == ["8", "9"]


def test_no_more_contract_ids_are_kept_than_ibkr_takes() -> None:
    """In one call."""
    assert len(contract_ids(range(500))) == MAX_CONTRACT_IDS


@pytest.mark.parametrize(
    ("body", "ids"),
    [
        ({"orders": [{"conid": 1}, {"conid": "2"}, {"conidex": "3"}, "4"]}, ["1", "2"]),
        ({"conid": 5}, ["5"]),
        ({"orders": "none"}, []),
        ([{"conid": 6}], []),
    ],
)
def test_the_contracts_of_an_order_stand_in_its_tickets(body: object, ids: list[str]) -> None:
    """A quote is asked for before the order, where IBKR wants that."""
    assert order_contract_ids(Call("POST", "/x", body=json.dumps(body).encode())) == ids


def test_a_list_may_be_as_long_as_ibkr_takes_it() -> None:
    """And not one longer: IBKR would refuse it, or answer in part."""
    endpoint = endpoint_of("GET", "/trsrv/secdef")
    (name, most) = endpoint.max_items[0]
    values = list(map(str, range(most)))

    check_list_sizes(endpoint, Call("GET", f"/v1/api/trsrv/secdef?{name}={','.join(values)}"))
    with pytest.raises(BadRequest, match=f"{most + 1} {name}") as caught:
        check_list_sizes(endpoint, Call("GET", f"/v1/api/trsrv/secdef?{name}={','.join([*values, '1'])}"))

    assert str(most) in caught.value.hint
