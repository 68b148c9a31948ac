"""A placement's tickets, and the names put into the caller's own text."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ibkr_bridge.calls.messages import Call
from ibkr_bridge.calls.order_tickets import parse_order_tickets
from ibkr_bridge.errors import BadRequest
from ibkr_bridge.orders.tickets import COID, check_tickets, with_coids

scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text()
)
members = st.dictionaries(
    st.text(max_size=8).filter(lambda name: name not in (COID, "parentId", "orders")), scalars, max_size=5
)


def placement(body: bytes) -> Call:
    """A placement with this body."""
    return Call("POST", "/v1/api/iserver/account/DU1/orders", (), body, is_change=True)


def names(body: bytes) -> list[Any]:
    """The names in a placement."""
    return [ticket.members.get(COID) for ticket in check_tickets(parse_order_tickets(body))]


@pytest.mark.parametrize(
    "body",
    [b'{"orders":[{"a":1}]}', b'[{"a":1}]', b'{"a":1}', b' { "b" : 2 , "orders" : [ {"a":1} ] } ', b'\n[ {"a":1} ]\n'],
)
def test_every_shape_gets_a_name(body: bytes) -> None:
    """IBKR's own pages show all of them."""
    found = with_coids(placement(body), "fresh", add=True)

    assert (found.names, found.has_own_identity, names(found.body)) == (("fresh",), False, ["fresh"])
    assert found.body.replace(b'"cOID":"fresh",', b"") == body


@given(tickets=st.lists(members.filter(bool), min_size=1, max_size=4), indent=st.sampled_from([None, 1, 2]))
def test_nothing_else_changes(tickets: list[dict[str, Any]], indent: int | None) -> None:
    """Whatever a ticket holds, and however it is written."""
    body = json.dumps({"orders": tickets}, indent=indent).encode()

    found = with_coids(placement(body), "fresh", add=True)

    told = json.loads(found.body)["orders"]
    assert [ticket.pop(COID) for ticket in told] == list(found.names)
    assert told == tickets
    assert len(set(found.names)) == len(tickets)
    assert with_coids(placement(body), "fresh", add=False).body == body


@given(
    body=st.one_of(
        st.binary(max_size=60),
        st.recursive(
            scalars, lambda inner: st.one_of(st.lists(inner), st.dictionaries(st.text(max_size=6), inner)), max_leaves=8
        ).map(lambda told: json.dumps(told).encode()),
    )
)
def test_no_body_is_more_than_refused(body: bytes) -> None:
    """Either it has tickets, or its sender is told so."""
    try:
        found = with_coids(placement(body), "fresh", add=True)
    except BadRequest:
        return
    assert check_tickets(parse_order_tickets(found.body))


@pytest.mark.parametrize("given_name", ["mine", 123])
def test_a_given_name_is_the_callers(given_name: object) -> None:
    """And the text stays as it is."""
    body = json.dumps({"orders": [{COID: given_name, "a": 1}]}).encode()

    found = with_coids(placement(body), "fresh", add=True)

    assert (found.body, found.names, found.has_own_identity) == (body, (str(given_name),), True)


@pytest.mark.parametrize("empty", ["", None])
def test_an_empty_name_gives_way(empty: object) -> None:
    """It stands once, not twice."""
    found = with_coids(placement(json.dumps({"a": 1, COID: empty, "b": 2}).encode()), "fresh", add=True)

    assert json.loads(found.body) == {"a": 1, COID: "fresh", "b": 2}


def test_in_a_bracket_the_parent_alone_has_a_name() -> None:
    """The one its children call it by."""
    found = with_coids(placement(b'[{"a":1},{"parentId":"P"},{"parentId":"P"}]'), "fresh", add=True)

    assert (names(found.body), found.names, found.has_own_identity) == (["P", None, None], ("P",), True)


def test_a_bracket_whose_parent_has_a_name_stays() -> None:
    """Children get none."""
    body = b'[{"cOID":"P"},{"parentId":"P"}]'

    assert with_coids(placement(body), "fresh", add=True).body == body


def test_a_child_of_an_earlier_order_gets_no_name() -> None:
    """IBKR wants none on a child."""
    body = b'{"orders":[{"parentId":"earlier","a":1}]}'

    assert with_coids(placement(body), "fresh", add=True).names == ()


def test_orders_of_a_group_each_have_their_own() -> None:
    """One cancels the other: each can be found."""
    found = with_coids(placement(b'[{"isSingleGroup":true},{"isSingleGroup":true}]'), "fresh", add=True)

    assert found.names == ("fresh", "fresh-2")


@pytest.mark.parametrize(
    "body",
    [
        b'[{"cOID":"a"},{"cOID":"a"}]',
        b'[{"cOID":"a","cOID":"b"}]',
        b'{"orders":[{"a":1}],"orders":[{"a":2}]}',
        b'{"orders":[{"a":{"b":1,"b":2}}]}',
        b'[{"cOID":"' + b"x" * 65 + b'"}]',
        b'{"cOID":1.0}',
        b'{"cOID":true}',
        b'{"parentId":["x"]}',
        b"[" + b",".join([b"{}"] * 51) + b"]",
        b"",
        b"\xff\xfe",
        b"[" * 5000,
        b'{"orders":null}',
        b'{"orders":[]}',
        b"{}",
    ],
)
def test_what_can_be_read_in_two_ways_is_refused(body: bytes) -> None:
    """Nobody knows which of the two IBKR would take."""
    with pytest.raises(BadRequest):
        with_coids(placement(body), "fresh", add=True)
