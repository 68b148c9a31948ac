"""Answers made of parts of IBKR's: the orders somebody wants, all pages of positions; each part as IBKR wrote it."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ibkr_bridge.calls.context import CallContext
from ibkr_bridge.calls.messages import Call, Response
from ibkr_bridge.errors import BadRequest, GatewayProtocolError, NotSupported
from ibkr_bridge.ibkr.catalogue import endpoint_of
from ibkr_bridge.ibkr.json_spans import elements, join_array, members
from ibkr_bridge.quirks.composition import ComposeReads
from ibkr_bridge.quirks.order_filters import fetch_filtered_orders, filter_orders, without_filters
from ibkr_bridge.quirks.position_pages import MAX_PAGES, fetch_all_positions
from ibkr_bridge.upstream.gateway.traits import GATEWAY_TRAITS
from tests.calls.road import Road, context_for

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
LIST = "/v1/api/iserver/account/orders"
BOOK = (
    b'{"orders":[{"orderId":1, "status":"PreSubmitted","price":1.10,"lastExecutionTime_r":100},'
    b'{"orderId":2,"status":"Filled","price":2e0,"lastExecutionTime_r":300},'
    b'{"orderId":3,"status":"Cancelled","lastExecutionTime_r":200}],"snapshot":true}'
)


@given(st.lists(VALUES), st.sampled_from([None, 1]), st.sampled_from([(",", ":"), (" ,\n", " : ")]))
def test_an_array_is_its_parts(told: list[object], indent: int | None, separators: tuple[str, str]) -> None:
    """Whatever stands in it, however it is spaced."""
    text = json.dumps(told, indent=indent, separators=separators)

    parts = elements(f" {text}\n")

    assert [value for value, _ in parts] == told
    assert json.loads(join_array([text for _, text in parts])) == told


@given(st.dictionaries(st.text(), VALUES))
def test_an_object_is_its_parts(told: dict[str, object]) -> None:
    """By name."""
    parts = members(json.dumps(told, indent=1))

    assert {name: value for name, (value, _) in parts.items()} == told
    assert all(json.loads(text) == told[name] for name, (_, text) in parts.items())


@pytest.mark.parametrize("text", ["", "{}", "[1 2]", "[1", "[", "[1,", "7", '["a" "b"]', "nonsense"])
def test_what_is_no_array_is_refused(text: str) -> None:
    """Not guessed at."""
    with pytest.raises(ValueError, match=r".*"):
        elements(text)


@pytest.mark.parametrize("text", ["", "[]", '{"a"}', '{"a":1', "{1:2}", '{"a":1 "b":2}', '{"a" 1}'])
def test_what_is_no_object_is_refused(text: str) -> None:
    """Neither."""
    with pytest.raises(ValueError, match=r".*"):
        members(text)


@pytest.mark.parametrize(
    ("query", "left", "wanted"),
    [
        ("", "", set()),
        ("?force=true", "?force=true", set()),
        ("?filters=filled", "", {"filled"}),
        ("?filters=Filled,PreSubmitted&accountId=DU1", "?accountId=DU1", {"filled", "presubmitted"}),
        ("?a=%20&filters=pre_submitted%2Cfilled&filters=&b", "?a=%20&b", {"presubmitted", "filled"}),
        ("?f%69lters=sort_by_time", "", {"sortbytime"}),
    ],
)
def test_filters_are_taken_out_and_everything_else_is_left(query: str, left: str, wanted: set[str]) -> None:
    """Byte for byte."""
    assert without_filters(LIST + query) == (LIST + left, frozenset(wanted))


def test_a_filter_that_is_none_is_refused() -> None:
    """IBKR would answer 500."""
    with pytest.raises(BadRequest) as caught:
        without_filters(f"{LIST}?filters=fileld")

    assert "pre_submitted" in caught.value.hint


@pytest.mark.parametrize(
    ("wanted", "orders"),
    [
        ({"filled"}, b'{"orderId":2,"status":"Filled","price":2e0,"lastExecutionTime_r":300}'),
        ({"presubmitted"}, b'{"orderId":1, "status":"PreSubmitted","price":1.10,"lastExecutionTime_r":100}'),
        ({"inactive"}, b""),
    ],
)
def test_the_orders_that_are_wanted_are_told_as_ibkr_wrote_them(wanted: set[str], orders: bytes) -> None:
    """Their numbers too."""
    assert filter_orders(BOOK, frozenset(wanted)) == b'{"orders":[' + orders + b'],"snapshot":true}'


def test_they_can_be_in_the_order_of_their_time() -> None:
    """The latest first."""
    told = json.loads(filter_orders(BOOK, frozenset({"sortbytime", "filled", "cancelled"})) or b"")

    assert [order["orderId"] for order in told["orders"]] == [2, 3]


@pytest.mark.parametrize("body", [b"", b"[]", b'{"orders":7}', b"\xff", b'{"error":"no"}'])
def test_what_is_no_list_cannot_be_filtered(body: bytes) -> None:
    """Nothing is made up of it."""
    assert filter_orders(body, frozenset({"filled"})) is None


@pytest.mark.parametrize("body", [b"<html>", b"[]", b'{"orders":7}'])
async def test_the_whole_list_is_never_told_as_a_filtered_one(body: bytes) -> None:
    """Where it cannot be filtered, that is said; and nothing is left open."""
    with pytest.raises(GatewayProtocolError):
        await fetch_filtered_orders(Gateway(body).ask, Call("GET", f"{LIST}?filters=filled"))


async def test_ibkrs_own_no_is_passed_on() -> None:
    """It says why."""
    response = await fetch_filtered_orders(Gateway(b'{"error":"no"}').ask, Call("GET", f"{LIST}?filters=filled"))

    assert response.body == b'{"error":"no"}'


@pytest.mark.parametrize("stamp", ["1" + "0" * 400, '"soon"', "null", "true"])
def test_times_that_are_none_stand_last(stamp: str) -> None:
    """However large."""
    body = f'{{"orders":[{{"orderId":1}},{{"orderId":2,"lastExecutionTime_r":{stamp}}}]}}'

    assert filter_orders(body.encode(), frozenset({"sortbytime"})) is not None


class Gateway:
    """Answers by a script, and remembers what it was asked."""

    def __init__(self, *bodies: bytes, status: int = 200) -> None:
        self.asked: list[str] = []
        self._bodies = list(bodies)
        self._status = status

    async def ask(self, call: Call) -> Response:
        """The next of the script; the last one again and again."""
        self.asked.append(call.target)
        body = self._bodies.pop(0) if len(self._bodies) > 1 else self._bodies[0]
        return Response(self._status, {"Content-Type": "application/json"}, body)


async def test_ibkr_is_asked_without_filters() -> None:
    """And the caller gets what they asked for."""
    gateway = Gateway(BOOK)

    response = await fetch_filtered_orders(gateway.ask, Call("GET", f"{LIST}?filters=Filled"))

    assert gateway.asked == [LIST]
    assert [order["orderId"] for order in json.loads(response.body)["orders"]] == [2]


async def test_pages_are_joined_until_one_is_empty() -> None:
    """Thirty or a hundred to a page, nobody knows."""
    gateway = Gateway(b'[{"a":1.10},{"b":2}]', b' [ {"c":3} ] ', b"[]")

    response = await fetch_all_positions(gateway.ask, Call("GET", "/v1/api/portfolio/DU1/positions/?sort=name"))

    assert response.body == b'[{"a":1.10},{"b":2},{"c":3}]'
    assert gateway.asked == [f"/v1/api/portfolio/DU1/positions/{page}?sort=name" for page in range(3)]


async def test_a_page_that_cannot_be_read_is_no_end_of_the_list() -> None:
    """A hundred of 233 positions are not all of them."""
    with pytest.raises(GatewayProtocolError):
        await fetch_all_positions(Gateway(b"[1]", b"<html>").ask, Call("GET", "/v1/api/portfolio/DU1/positions"))


@pytest.mark.parametrize(("body", "status"), [(b'{"error":"no"}', 200), (b"[]", 500), (b"<html>", 502)])
async def test_what_is_no_page_is_the_answer(body: bytes, status: int) -> None:
    """Half a list is never told as a whole one."""
    response = await fetch_all_positions(
        Gateway(body, status=status).ask, Call("GET", "/v1/api/portfolio/DU1/positions")
    )

    assert (response.status, response.body) == (status, body)


async def test_pages_without_an_end_are_given_up() -> None:
    """A Gateway that has lost its way."""
    gateway = Gateway(b"[1]")

    with pytest.raises(GatewayProtocolError):
        await fetch_all_positions(gateway.ask, Call("GET", "/v1/api/portfolio/DU1/positions"))
    assert len(gateway.asked) == MAX_PAGES


# -- the stage


@pytest.mark.parametrize(
    ("path", "asked"),
    [
        ("/iserver/account/orders?filters=filled", ["/iserver/account/orders"]),
        ("/portfolio/DU1/positions", ["/portfolio/DU1/positions/0"]),
        ("/portfolio/accounts", ["/portfolio/accounts"]),
    ],
)
async def test_a_call_is_replaced_by_those_its_response_is_made_of(path: str, asked: list[str]) -> None:
    """Each takes the rest of the road as a call of its own endpoint."""
    road = Road(Response(200, {}, b'{"orders":[]}' if "orders" in path else b"[]"))

    await ComposeReads(GATEWAY_TRAITS)(context_for("GET", path), road)

    assert road.targets == asked
    assert all(part.endpoint is endpoint_of("GET", part.call.target) for part in road.came)


async def test_an_upstream_without_the_trap_gets_the_call_as_it_is() -> None:
    """Its own filters can be trusted."""
    road, path = Road(), "/iserver/account/orders?filters=filled"

    await ComposeReads(replace(GATEWAY_TRAITS, compositions=frozenset()))(context_for("GET", path), road)

    assert road.targets == [path]


async def test_a_list_that_is_too_long_is_refused_before_anything_is_sent() -> None:
    """By the limits of the endpoint, for every call."""
    road = Road()
    conids = ",".join(map(str, range(300)))

    with pytest.raises(BadRequest):
        await ComposeReads(GATEWAY_TRAITS)(context_for("GET", f"/trsrv/secdef?conids={conids}"), road)

    assert road.came == []


async def test_a_composed_response_is_as_old_as_its_oldest_part() -> None:
    """Whatever the other parts say."""
    context, ages = context_for("GET", "/portfolio/DU1/positions"), [4.0, 1.0]

    async def proceed(part: CallContext) -> Response:
        part.source, part.age_s = "cache", ages[int(part.call.target[-1])]
        return Response(200, {}, b"[1]" if part.call.target.endswith("0") else b"[]")

    await ComposeReads(GATEWAY_TRAITS)(context, proceed)

    assert (context.source, context.age_s) == ("cache", 4.0)


async def test_an_endpoint_that_the_upstream_lacks_is_refused_with_the_reason() -> None:
    """Before anything else is done, and in the words of the upstream."""
    traits, road = replace(GATEWAY_TRAITS, missing={"/portfolio/accounts": "no portfolio here"}), Road()

    with pytest.raises(NotSupported, match="no portfolio here"):
        await ComposeReads(traits)(context_for("GET", "/portfolio/accounts"), road)

    assert road.came == []
