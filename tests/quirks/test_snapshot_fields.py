"""Which requested fields a snapshot lacks, and the header that names them."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ibkr_bridge.calls.messages import Call, Response
from ibkr_bridge.calls.parameters import check_list_sizes, list_values, order_contract_ids
from ibkr_bridge.errors import BadRequest
from ibkr_bridge.ibkr.catalogue import endpoint_of
from ibkr_bridge.quirks.snapshot_fields import MAX_HEADER_BYTES, SnapshotGaps, find_gaps

SNAPSHOT = "/v1/api/iserver/marketdata/snapshot"
BOTH_FIELDS = ("31", "84")
CONIDS, FIELDS = st.from_regex(r"\A[1-9]\d{3,9}\Z"), st.sampled_from([str(number) for number in range(50)])


def snapshot_call(query: str) -> Call:
    """A call for a snapshot."""
    return Call("GET", f"{SNAPSHOT}?{query}")


def snapshot_response(*rows: object, status: int = 200) -> Response:
    """A snapshot with these rows."""
    return Response(status, {}, json.dumps(rows).encode())


@pytest.mark.parametrize(
    ("query", "rows", "missing", "header"),
    [
        ("conids=1&fields=31,84", [{"conid": 1, "31": "7", "84": "6"}], {}, ""),
        ("conids=1&fields=31,84", [{"conid": 1, "31": "7"}], {"1": ("84",)}, "1:84"),
        (
            "conids=1,2&fields=31,84",
            [{"conid": 1}, {"conid": 2, "84": "1"}],
            {"1": BOTH_FIELDS, "2": ("31",)},
            "1;2:31",
        ),
        ("conids=1,2&fields=31", [{"conid": 1, "31": "7"}], {"2": ("31",)}, "2"),
        ("conids=1%2C2&fields=31&fields=84", [], {"1": BOTH_FIELDS, "2": BOTH_FIELDS}, "1;2"),
        ("conids=1@NYSE,1@ARCA&fields=31", [{"conid": 1, "conidEx": "1@ARCA", "31": "7"}], {}, ""),
        ("conids=1@NYSE&fields=31", [{"conid": 1, "conidEx": "1@NYSE"}], {"1@NYSE": ("31",)}, "1@NYSE"),
        ("conids=1", [{"conid": 1}], {}, ""),
        ("conids=1&fields=", [{"conid": 1}], {}, ""),
        ("fields=31", [], {}, ""),
        ("conids=1%0d%0aX:y&fields=31", [], {}, ""),
        ("conids=1&fields=31%0d%0aX", [{"conid": 1}], {}, ""),
    ],
)
def test_missing_fields_are_found_by_instrument(
    query: str, rows: list[object], missing: dict[str, tuple[str, ...]], header: str
) -> None:
    """Instruments are named as they were requested. Other text never gets into the header."""
    gaps = find_gaps(snapshot_call(query), snapshot_response(*rows))

    assert gaps is not None
    assert (dict(gaps.missing), gaps.as_header) == (missing, header)


@pytest.mark.parametrize("body", [b"", b"{}", b"[1]", b'{"error":"no"}', b"<html>", b"\xff"])
def test_a_body_that_is_not_a_list_of_rows_has_no_gaps(body: bytes) -> None:
    """It is passed on unchanged."""
    assert find_gaps(snapshot_call("conids=1&fields=31"), Response(200, {}, body)) is None


def test_an_error_has_no_gaps() -> None:
    """The rows in its body do not matter."""
    assert find_gaps(snapshot_call("conids=1&fields=31"), snapshot_response({"conid": 1}, status=500)) is None


@given(st.dictionaries(CONIDS, st.sets(FIELDS, min_size=1)))
def test_the_header_is_short_and_counts_what_it_leaves_out(missing_fields: dict[str, set[str]]) -> None:
    """If the list would be too long, its end is the number of the other instruments."""
    gaps = SnapshotGaps({conid: tuple(sorted(fields)) for conid, fields in missing_fields.items()}, requested=50)

    parts = gaps.as_header.split(";") if gaps.as_header else []
    left_out = int(parts.pop()) if parts and parts[-1].startswith("+") else 0

    assert len(gaps.as_header) <= MAX_HEADER_BYTES + 10
    assert len(parts) + left_out == len(missing_fields)


def test_the_longest_header_is_cut() -> None:
    """A hundred instruments lack 49 of 50 fields each."""
    gaps = SnapshotGaps(
        {str(10_000_000 + n): tuple(str(7000 + field) for field in range(49)) for n in range(100)}, requested=50
    )

    assert MAX_HEADER_BYTES - 300 < len(gaps.as_header) <= MAX_HEADER_BYTES + 10
    assert gaps.as_header.endswith(f";+{100 - gaps.as_header.count(';')}")


def test_values_are_read_from_query_and_body() -> None:
    """Escaped, repeated and separated by commas."""
    call = Call("POST", "/x?a=1,2&b=3&a=%34&a", body=b'{"a":[5,"6"],"b":7}')

    assert (list_values(call, "a"), list_values(call, "b"), list_values(call, "c")) == (
        ["1", "2", "4", "5", "6"],
        ["3"],
        [],
    )


@pytest.mark.parametrize(
    ("body", "conids"),
    [
        (b'{"orders":[{"conid":1},{"conid":"2"},{"conid":1},{"conidex":"3"},7]}', ["1", "2"]),
        (b'{"conid":1,"side":"BUY"}', ["1"]),
        (b'{"orders":7}', []),
        ('{"conid":"\u0661"}'.encode(), []),
        (b"nonsense", []),
        (b"[]", []),
    ],
)
def test_the_contract_ids_of_tickets_are_read(body: bytes, conids: list[str]) -> None:
    """Other values, such as `conidex`, are ignored."""
    assert order_contract_ids(Call("POST", "/x", body=body)) == conids


@pytest.mark.parametrize(
    ("method", "path", "name", "max_items"),
    [
        ("GET", "/iserver/marketdata/snapshot", "conids", 100),
        ("GET", "/iserver/marketdata/snapshot", "fields", 50),
        ("GET", "/md/snapshot", "conids", 100),
        ("GET", "/trsrv/secdef", "conids", 200),
        ("POST", "/trsrv/secdef", "conids", 200),
    ],
)
def test_a_list_that_is_too_long_is_refused_with_the_limit(method: str, path: str, name: str, max_items: int) -> None:
    """In the query or in the body. A list of the maximum length passes."""

    def call(count: int) -> Call:
        values = list(range(1, count + 1))
        if method == "POST":
            return Call(method, path, body=json.dumps({name: values}).encode())
        return Call(method, f"{path}?{name}={','.join(map(str, values))}")

    check_list_sizes(endpoint_of(method, path), call(max_items))
    with pytest.raises(BadRequest) as caught:
        check_list_sizes(endpoint_of(method, path), call(max_items + 1))
    assert f"accepts {max_items} {name}" in caught.value.hint
