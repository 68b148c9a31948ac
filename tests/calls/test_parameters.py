"""The lists in the query and in the body of a call."""

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
def test_the_values_of_a_list_are_separated_by_commas(query: str, values: list[str]) -> None:
    """Escaped or not, in one parameter or in several, as IBKR reads them."""
    assert list_values(Call("GET", PATH + query), "conids") == values


def test_a_list_may_be_in_the_body() -> None:
    """Some of IBKR's calls expect it there. A member that is not a list has no values."""
    assert list_values(Call("POST", f"{PATH}?conids=1", body=b'{"conids":[2,"3"]}'), "conids") == ["1", "2", "3"]
    assert list_values(Call("POST", PATH, body=b'{"conids":"2"}'), "conids") == []
    assert list_values(Call("POST", PATH, body=b"no json"), "conids") == []


def test_contract_ids_are_distinct_numbers() -> None:
    """Other values of a caller are ignored."""
    assert contract_ids(["8", 8, "x", "-1", "8@SMART", "1" * 13, "\u0663", "9"]) == ["8", "9"]


def test_contract_ids_are_limited_to_what_one_call_may_have() -> None:
    """The limit is IBKR's."""
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
def test_the_contract_ids_of_an_order_come_from_its_tickets(body: object, ids: list[str]) -> None:
    """IBKR wants a quote for them before some orders."""
    assert order_contract_ids(Call("POST", "/x", body=json.dumps(body).encode())) == ids


def test_a_list_may_have_the_maximum_length() -> None:
    """IBKR would refuse a longer one, or answer only a part of it."""
    endpoint = endpoint_of("GET", "/trsrv/secdef")
    (name, max_items) = endpoint.max_items[0]
    values = list(map(str, range(max_items)))

    check_list_sizes(endpoint, Call("GET", f"/v1/api/trsrv/secdef?{name}={','.join(values)}"))
    with pytest.raises(BadRequest, match=f"{max_items + 1} {name}") as caught:
        check_list_sizes(endpoint, Call("GET", f"/v1/api/trsrv/secdef?{name}={','.join([*values, '1'])}"))

    assert str(max_items) in caught.value.hint
