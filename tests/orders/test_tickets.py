"""The tickets of a placement, and the cOIDs that are inserted into the caller's text."""

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


def coids_of(body: bytes) -> list[Any]:
    """The cOID of each ticket in a placement."""
    return [ticket.members.get(COID) for ticket in check_tickets(parse_order_tickets(body))]


@pytest.mark.parametrize(
    "body",
    [b'{"orders":[{"a":1}]}', b'[{"a":1}]', b'{"a":1}', b' { "b" : 2 , "orders" : [ {"a":1} ] } ', b'\n[ {"a":1} ]\n'],
)
def test_every_form_of_a_placement_gets_a_coid(body: bytes) -> None:
    """IBKR's documentation shows all these forms."""
    placed = with_coids(placement(body), "fresh", add=True)

    assert (placed.names, placed.has_own_identity, coids_of(placed.body)) == (("fresh",), False, ["fresh"])
    assert placed.body.replace(b'"cOID":"fresh",', b"") == body


@given(tickets=st.lists(members.filter(bool), min_size=1, max_size=4), indent=st.sampled_from([None, 1, 2]))
def test_only_the_coid_is_added(tickets: list[dict[str, Any]], indent: int | None) -> None:
    """For any members and any white space."""
    body = json.dumps({"orders": tickets}, indent=indent).encode()

    placed = with_coids(placement(body), "fresh", add=True)

    tickets_with_coids = json.loads(placed.body)["orders"]
    assert [ticket.pop(COID) for ticket in tickets_with_coids] == list(placed.names)
    assert tickets_with_coids == tickets
    assert len(set(placed.names)) == len(tickets)
    assert with_coids(placement(body), "fresh", add=False).body == body


@given(
    body=st.one_of(
        st.binary(max_size=60),
        st.recursive(
            scalars, lambda inner: st.one_of(st.lists(inner), st.dictionaries(st.text(max_size=6), inner)), max_leaves=8
        ).map(lambda value: json.dumps(value).encode()),
    )
)
def test_every_body_has_tickets_or_is_refused(body: bytes) -> None:
    """No body raises any other error."""
    try:
        placed = with_coids(placement(body), "fresh", add=True)
    except BadRequest:
        return
    assert check_tickets(parse_order_tickets(placed.body))


@pytest.mark.parametrize("coid", ["mine", 123])
def test_a_coid_of_the_caller_is_kept(coid: object) -> None:
    """The body stays unchanged."""
    body = json.dumps({"orders": [{COID: coid, "a": 1}]}).encode()

    placed = with_coids(placement(body), "fresh", add=True)

    assert (placed.body, placed.names, placed.has_own_identity) == (body, (str(coid),), True)


@pytest.mark.parametrize("empty", ["", None])
def test_an_empty_coid_is_replaced(empty: object) -> None:
    """The body then has one cOID, not two."""
    placed = with_coids(placement(json.dumps({"a": 1, COID: empty, "b": 2}).encode()), "fresh", add=True)

    assert json.loads(placed.body) == {"a": 1, COID: "fresh", "b": 2}


def test_only_the_parent_of_a_bracket_gets_a_coid() -> None:
    """It is the `parentId` of its children."""
    placed = with_coids(placement(b'[{"a":1},{"parentId":"P"},{"parentId":"P"}]'), "fresh", add=True)

    assert (coids_of(placed.body), placed.names, placed.has_own_identity) == (["P", None, None], ("P",), True)


def test_a_bracket_whose_parent_has_a_coid_stays_unchanged() -> None:
    """Its children get none."""
    body = b'[{"cOID":"P"},{"parentId":"P"}]'

    assert with_coids(placement(body), "fresh", add=True).body == body


def test_another_order_beside_a_bracket_gets_a_coid_of_its_own() -> None:
    """The name of the bracket's parent belongs to the parent, which has it already."""
    placed = with_coids(placement(b'[{"cOID":"P"},{"parentId":"P"},{"a":1}]'), "fresh", add=True)

    assert (coids_of(placed.body), placed.names) == (["P", None, "fresh"], ("P", "fresh"))


def test_a_child_of_an_earlier_order_gets_no_coid() -> None:
    """IBKR does not accept one on a child."""
    body = b'{"orders":[{"parentId":"earlier","a":1}]}'

    assert with_coids(placement(body), "fresh", add=True).names == ()


def test_each_order_of_a_group_gets_a_coid() -> None:
    """One cancels the others, so each must be found on its own."""
    placed = with_coids(placement(b'[{"isSingleGroup":true},{"isSingleGroup":true}]'), "fresh", add=True)

    assert placed.names == ("fresh", "fresh-2")


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
        b"",
        b"\xff\xfe",
        b"[" * 5000,
        b'{"orders":null}',
        b'{"orders":[]}',
        b"{}",
    ],
)
def test_an_ambiguous_placement_is_refused(body: bytes) -> None:
    """It is unknown which of two values IBKR uses."""
    with pytest.raises(BadRequest):
        with_coids(placement(body), "fresh", add=True)


def test_a_placement_with_too_many_tickets_is_refused() -> None:
    """Nobody sends so many in one group; fifty are still accepted."""
    ticket = b'{"a":1}'
    check_tickets(parse_order_tickets(b"[" + b",".join([ticket] * 50) + b"]"))

    with pytest.raises(BadRequest, match="51 tickets"):
        check_tickets(parse_order_tickets(b"[" + b",".join([ticket] * 51) + b"]"))


@pytest.mark.parametrize(("length", "is_accepted"), [(64, True), (65, False)])
@pytest.mark.parametrize("ticket", ['{"cOID":"%s"}', '{"a":1},{"parentId":"%s"}'])
def test_a_coid_has_at_most_64_characters(ticket: str, length: int, is_accepted: bool) -> None:
    """A parent gets the one that its children name."""
    body = f"[{ticket % ('x' * length)}]".encode()

    if is_accepted:
        assert with_coids(placement(body), "fresh", add=True).names == ("x" * length,)
    else:
        with pytest.raises(BadRequest, match="at most 64 characters"):
            with_coids(placement(body), "fresh", add=True)
