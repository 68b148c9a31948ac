"""Responses made of several parts of IBKR's: filtered orders, all pages of positions; each part as IBKR wrote it."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ibkr_bridge.calls.context import CallContext
from ibkr_bridge.calls.messages import Call, Response
from ibkr_bridge.errors import BadRequest, GatewayProtocolError, NotSupported, RateLimited
from ibkr_bridge.ibkr.catalogue import endpoint_of
from ibkr_bridge.ibkr.json_spans import elements, join_array, members
from ibkr_bridge.quirks.composition import ComposeReads
from ibkr_bridge.quirks.order_filters import fetch_filtered_orders, filter_orders, without_filters
from ibkr_bridge.quirks.position_pages import MAX_PAGES, fetch_all_positions
from ibkr_bridge.upstream.gateway.traits import GATEWAY_TRAITS
from tests.calls.stage_setup import FakeUpstream, context_for

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
LIST = "/v1/api/iserver/account/orders"
ORDERS_LIST = (
    b'{"orders":[{"orderId":1, "status":"PreSubmitted","price":1.10,"lastExecutionTime_r":100},'
    b'{"orderId":2,"status":"Filled","price":2e0,"lastExecutionTime_r":300},'
    b'{"orderId":3,"status":"Cancelled","lastExecutionTime_r":200}],"snapshot":true}'
)


@given(st.lists(VALUES), st.sampled_from([None, 1]), st.sampled_from([(",", ":"), (" ,\n", " : ")]))
def test_an_array_is_split_into_its_elements(
    array: list[object], indent: int | None, separators: tuple[str, str]
) -> None:
    """For any elements and any white space."""
    text = json.dumps(array, indent=indent, separators=separators)

    parts = elements(f" {text}\n")

    assert [value for value, _ in parts] == array
    assert json.loads(join_array([text for _, text in parts])) == array


@given(st.dictionaries(st.text(), VALUES))
def test_an_object_is_split_into_its_members(obj: dict[str, object]) -> None:
    """The members are found by their names."""
    parts = members(json.dumps(obj, indent=1))

    assert {name: value for name, (value, _) in parts.items()} == obj
    assert all(json.loads(text) == obj[name] for name, (_, text) in parts.items())


@pytest.mark.parametrize("text", ["", "{}", "[1 2]", "[1", "[", "[1,", "7", '["a" "b"]', "nonsense"])
def test_text_that_is_not_an_array_is_refused(text: str) -> None:
    """Nothing is guessed."""
    with pytest.raises(ValueError, match=r".*"):
        elements(text)


@pytest.mark.parametrize("text", ["", "[]", '{"a"}', '{"a":1', "{1:2}", '{"a":1 "b":2}', '{"a" 1}'])
def test_text_that_is_not_an_object_is_refused(text: str) -> None:
    """Nothing is guessed."""
    with pytest.raises(ValueError, match=r".*"):
        members(text)


@pytest.mark.parametrize(
    ("query", "remaining_query", "filters"),
    [
        ("", "", set()),
        ("?force=true", "?force=true", set()),
        ("?filters=filled", "", {"filled"}),
        ("?filters=Filled,PreSubmitted&accountId=DU1", "?accountId=DU1", {"filled", "presubmitted"}),
        ("?a=%20&filters=pre_submitted%2Cfilled&filters=&b", "?a=%20&b", {"presubmitted", "filled"}),
        ("?f%69lters=sort_by_time", "", {"sortbytime"}),
    ],
)
def test_filters_are_removed_from_the_query(query: str, remaining_query: str, filters: set[str]) -> None:
    """The rest of the query stays byte for byte."""
    assert without_filters(LIST + query) == (LIST + remaining_query, frozenset(filters))


def test_an_unknown_filter_is_refused() -> None:
    """IBKR would answer 500."""
    with pytest.raises(BadRequest) as caught:
        without_filters(f"{LIST}?filters=fileld")

    assert "pre_submitted" in caught.value.hint


@pytest.mark.parametrize(
    ("filters", "orders"),
    [
        ({"filled"}, b'{"orderId":2,"status":"Filled","price":2e0,"lastExecutionTime_r":300}'),
        ({"presubmitted"}, b'{"orderId":1, "status":"PreSubmitted","price":1.10,"lastExecutionTime_r":100}'),
        ({"inactive"}, b""),
    ],
)
def test_filtered_orders_are_written_as_ibkr_wrote_them(filters: set[str], orders: bytes) -> None:
    """Numbers keep their form too."""
    assert filter_orders(ORDERS_LIST, frozenset(filters)) == b'{"orders":[' + orders + b'],"snapshot":true}'


def test_orders_can_be_sorted_by_time() -> None:
    """The latest comes first."""
    filtered = json.loads(filter_orders(ORDERS_LIST, frozenset({"sortbytime", "filled", "cancelled"})) or b"")

    assert [order["orderId"] for order in filtered["orders"]] == [2, 3]


@pytest.mark.parametrize("body", [b"", b"[]", b'{"orders":7}', b"\xff", b'{"error":"no"}'])
def test_a_body_without_orders_cannot_be_filtered(body: bytes) -> None:
    """The result is None, not an empty list."""
    assert filter_orders(body, frozenset({"filled"})) is None


@pytest.mark.parametrize("body", [b"<html>", b"[]", b'{"orders":7}'])
async def test_a_list_that_cannot_be_filtered_is_an_error(body: bytes) -> None:
    """The unfiltered list must not pass for a filtered one."""
    with pytest.raises(GatewayProtocolError):
        await fetch_filtered_orders(Gateway(body).send, Call("GET", f"{LIST}?filters=filled"))


async def test_a_refusal_of_ibkr_is_passed_on() -> None:
    """It contains the reason."""
    response = await fetch_filtered_orders(Gateway(b'{"error":"no"}').send, Call("GET", f"{LIST}?filters=filled"))

    assert response.body == b'{"error":"no"}'


@pytest.mark.parametrize("stamp", ["1" + "0" * 400, '"soon"', "null", "true"])
def test_an_invalid_time_does_not_prevent_sorting(stamp: str) -> None:
    """A number of any size is such a time too."""
    body = f'{{"orders":[{{"orderId":1}},{{"orderId":2,"lastExecutionTime_r":{stamp}}}]}}'

    assert filter_orders(body.encode(), frozenset({"sortbytime"})) is not None


class Gateway:
    """Responds with these bodies in order, the last one repeatedly; lists the targets of the calls."""

    def __init__(self, *bodies: bytes, status: int = 200) -> None:
        self.targets: list[str] = []
        self._bodies = list(bodies)
        self._status = status

    async def send(self, call: Call) -> Response:
        """See `FetchCall`."""
        self.targets.append(call.target)
        body = self._bodies.pop(0) if len(self._bodies) > 1 else self._bodies[0]
        return Response(self._status, {"Content-Type": "application/json"}, body)


async def test_ibkr_gets_the_call_without_filters() -> None:
    """The bridge filters the response."""
    gateway = Gateway(ORDERS_LIST)

    response = await fetch_filtered_orders(gateway.send, Call("GET", f"{LIST}?filters=Filled"))

    assert gateway.targets == [LIST]
    assert [order["orderId"] for order in json.loads(response.body)["orders"]] == [2]


async def test_pages_are_joined_up_to_the_first_empty_one() -> None:
    """The size of a page is not documented: it may be 30 or 100."""
    gateway = Gateway(b'[{"a":1.10},{"b":2}]', b' [ {"c":3} ] ', b"[]")

    response = await fetch_all_positions(gateway.send, Call("GET", "/v1/api/portfolio/DU1/positions/?sort=name"))

    assert response.body == b'[{"a":1.10},{"b":2},{"c":3}]'
    assert gateway.targets == [f"/v1/api/portfolio/DU1/positions/{page}?sort=name" for page in range(3)]


async def test_an_unreadable_page_is_an_error() -> None:
    """A hundred of 233 positions must not pass for all of them."""
    with pytest.raises(GatewayProtocolError):
        await fetch_all_positions(Gateway(b"[1]", b"<html>").send, Call("GET", "/v1/api/portfolio/DU1/positions"))


@pytest.mark.parametrize(("body", "status"), [(b'{"error":"no"}', 200), (b"[]", 500), (b"<html>", 502)])
async def test_a_refusal_of_the_first_page_is_passed_on(body: bytes, status: int) -> None:
    """Half a list never passes for a complete one."""
    response = await fetch_all_positions(
        Gateway(body, status=status).send, Call("GET", "/v1/api/portfolio/DU1/positions")
    )

    assert (response.status, response.body) == (status, body)


async def test_an_endless_list_of_pages_is_an_error() -> None:
    """A faulty Gateway may send new pages without end."""
    gateway = Gateway(*(b'[{"conid":%d}]' % number for number in range(MAX_PAGES + 1)))

    with pytest.raises(GatewayProtocolError, match="hundred pages"):
        await fetch_all_positions(gateway.send, Call("GET", "/v1/api/portfolio/DU1/positions"))
    assert len(gateway.targets) == MAX_PAGES


# -- the stage


@pytest.mark.parametrize(
    ("path", "targets"),
    [
        ("/iserver/account/orders?filters=filled", ["/iserver/account/orders"]),
        ("/portfolio/DU1/positions", ["/portfolio/DU1/positions/0"]),
        ("/portfolio/accounts", ["/portfolio/accounts"]),
    ],
)
async def test_a_call_is_replaced_by_the_calls_for_its_parts(path: str, targets: list[str]) -> None:
    """Each part passes the following stages as a call to its own endpoint."""
    upstream = FakeUpstream(Response(200, {}, b'{"orders":[]}' if "orders" in path else b"[]"))

    await ComposeReads(GATEWAY_TRAITS)(context_for("GET", path), upstream)

    assert upstream.targets == targets
    assert all(part.endpoint is endpoint_of("GET", part.call.target) for part in upstream.contexts)


async def test_an_upstream_without_the_quirk_gets_the_call_unchanged() -> None:
    """Its own filters are reliable."""
    upstream, path = FakeUpstream(), "/iserver/account/orders?filters=filled"

    await ComposeReads(replace(GATEWAY_TRAITS, compositions=frozenset()))(context_for("GET", path), upstream)

    assert upstream.targets == [path]


async def test_a_list_that_is_too_long_is_refused_before_anything_is_sent() -> None:
    """The limits of the endpoint apply to each call."""
    upstream = FakeUpstream()
    conids = ",".join(map(str, range(300)))

    with pytest.raises(BadRequest):
        await ComposeReads(GATEWAY_TRAITS)(context_for("GET", f"/trsrv/secdef?conids={conids}"), upstream)

    assert upstream.contexts == []


async def test_a_composed_response_is_as_old_as_its_oldest_part() -> None:
    """The age tells how stale any part may be."""
    context, ages = context_for("GET", "/portfolio/DU1/positions"), [4.0, 1.0]

    async def proceed(part: CallContext) -> Response:
        part.source, part.age_s = "cache", ages[int(part.call.target[-1])]
        return Response(200, {}, b"[1]" if part.call.target.endswith("0") else b"[]")

    await ComposeReads(GATEWAY_TRAITS)(context, proceed)

    assert (context.source, context.age_s) == ("cache", 4.0)


async def test_an_endpoint_that_the_upstream_lacks_is_refused_with_the_reason() -> None:
    """It is refused first of all, with the reason from the traits of the upstream."""
    traits, upstream = replace(GATEWAY_TRAITS, missing={"/portfolio/accounts": "no portfolio here"}), FakeUpstream()

    with pytest.raises(NotSupported, match="no portfolio here"):
        await ComposeReads(traits)(context_for("GET", "/portfolio/accounts"), upstream)

    assert upstream.contexts == []


class PagesInTime:
    """A way to IBKR on which each page takes some seconds, on a clock of its own."""

    def __init__(self, count: int, waiting_s: float) -> None:
        self.now = 100.0
        self.max_waits: list[float] = []
        self._count, self._waiting_s = count, waiting_s

    async def proceed(self, context: CallContext) -> Response:
        """Answer one page after its time in the queue."""
        self.max_waits.append(context.remaining_wait())
        self.now += self._waiting_s
        context.timing.waited_s += self._waiting_s
        page = int(context.call.target.rpartition("/")[2])
        return Response(200, {}, b'[{"conid":%d}]' % page if page < self._count else b"[]")

    async def read_all(self, wait_s: float) -> CallContext:
        """Read all pages for a caller that waits so long for a call; return its context."""
        context = context_for("GET", "/portfolio/DU1/positions")
        context.wait_s = wait_s
        await ComposeReads(GATEWAY_TRAITS, lambda: self.now)(context, self.proceed)
        return context


async def test_each_part_may_wait_as_long_as_a_call() -> None:
    """Forty pages at six a second take longer than the five seconds that a caller waits for one."""
    pages = PagesInTime(40, 0.5)
    context = await pages.read_all(5.0)

    assert pages.max_waits == [5.0] * 41
    assert context.timing.waited_s == pytest.approx(20.5)


async def test_all_parts_together_have_a_minute() -> None:
    """The last of them may wait only for what is left of it."""
    pages = PagesInTime(90, 7.0)

    with pytest.raises(RateLimited, match="longer than a minute") as caught:
        await pages.read_all(20.0)

    assert pages.max_waits[-3:] == [18.0, 11.0, 4.0]
    assert "9 complete pages with 9 positions" in caught.value.detail
