"""Which fields of a snapshot are there, and how it is told which are not."""

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
BOTH = ("31", "84")
CONIDS, FIELDS = st.from_regex(r"\A[1-9]\d{3,9}\Z"), st.sampled_from([str(number) for number in range(50)])


def asked(query: str) -> Call:
    """A call for a snapshot."""
    return Call("GET", f"{SNAPSHOT}?{query}")


def answered(*rows: object, status: int = 200) -> Response:
    """IBKR's answer."""
    return Response(status, {}, json.dumps(rows).encode())


@pytest.mark.parametrize(
    ("query", "rows", "missing", "note"),
    [
        ("conids=1&fields=31,84", [{"conid": 1, "31": "7", "84": "6"}], {}, ""),
        ("conids=1&fields=31,84", [{"conid": 1, "31": "7"}], {"1": ("84",)}, "1:84"),
        (
            "conids=1,2&fields=31,84",
            [{"conid": 1}, {"conid": 2, "84": "1"}],
            {"1": BOTH, "2": ("31",)},
            "1;2:31",
        ),
        ("conids=1,2&fields=31", [{"conid": 1, "31": "7"}], {"2": ("31",)}, "2"),
        ("conids=1%2C2&fields=31&fields=84", [], {"1": BOTH, "2": BOTH}, "1;2"),
        ("conids=1@NYSE,1@ARCA&fields=31", [{"conid": 1, "conidEx": "1@ARCA", "31": "7"}], {}, ""),
        ("conids=1@NYSE&fields=31", [{"conid": 1, "conidEx": "1@NYSE"}], {"1@NYSE": ("31",)}, "1@NYSE"),
        ("conids=1", [{"conid": 1}], {}, ""),
        ("conids=1&fields=", [{"conid": 1}], {}, ""),
        ("fields=31", [], {}, ""),
        ("conids=1%0d%0aX:y&fields=31", [], {}, ""),
        ("conids=1&fields=31%0d%0aX", [{"conid": 1}], {}, ""),
    ],
)
def test_what_is_missing(query: str, rows: list[object], missing: dict[str, tuple[str, ...]], note: str) -> None:
    """By instrument, as it was asked for; what is no instrument and no field can stand in no header."""
    seen = find_gaps(asked(query), answered(*rows))

    assert seen is not None
    assert (dict(seen.missing), seen.as_header) == (missing, note)


@pytest.mark.parametrize("body", [b"", b"{}", b"[1]", b'{"error":"no"}', b"<html>", b"\xff"])
def test_what_is_no_list_of_rows_is_not_judged(body: bytes) -> None:
    """It passes as it is."""
    assert find_gaps(asked("conids=1&fields=31"), Response(200, {}, body)) is None


def test_an_error_is_not_judged_either() -> None:
    """Whatever stands in it."""
    assert find_gaps(asked("conids=1&fields=31"), answered({"conid": 1}, status=500)) is None


@given(st.dictionaries(CONIDS, st.sets(FIELDS, min_size=1)))
def test_a_note_fits_into_a_header_and_hides_nothing(absent: dict[str, set[str]]) -> None:
    """Where it would be too long it says how many instruments there are beyond."""
    seen = SnapshotGaps({conid: tuple(sorted(fields)) for conid, fields in absent.items()}, requested=50)

    parts = seen.as_header.split(";") if seen.as_header else []
    beyond = int(parts.pop()) if parts and parts[-1].startswith("+") else 0

    assert len(seen.as_header) <= MAX_HEADER_BYTES + 10
    assert len(parts) + beyond == len(absent)


def test_the_longest_note_is_cut() -> None:
    """A hundred instruments without forty-nine of fifty fields."""
    seen = SnapshotGaps(
        {str(10_000_000 + n): tuple(str(7000 + field) for field in range(49)) for n in range(100)}, requested=50
    )

    assert MAX_HEADER_BYTES - 300 < len(seen.as_header) <= MAX_HEADER_BYTES + 10
    assert seen.as_header.endswith(f";+{100 - seen.as_header.count(';')}")


def test_values_are_read_from_query_and_body() -> None:
    """However they are written."""
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
def test_the_instruments_of_tickets(body: bytes, conids: list[str]) -> None:
    """Those that are contract ids."""
    assert order_contract_ids(Call("POST", "/x", body=body)) == conids


@pytest.mark.parametrize(
    ("method", "path", "name", "most"),
    [
        ("GET", "/iserver/marketdata/snapshot", "conids", 100),
        ("GET", "/iserver/marketdata/snapshot", "fields", 50),
        ("GET", "/md/snapshot", "conids", 100),
        ("GET", "/trsrv/secdef", "conids", 200),
        ("POST", "/trsrv/secdef", "conids", 200),
    ],
)
def test_more_than_ibkr_takes_is_refused_with_the_limit(method: str, path: str, name: str, most: int) -> None:
    """In query or body; as much as it takes passes."""

    def call(count: int) -> Call:
        values = list(range(1, count + 1))
        if method == "POST":
            return Call(method, path, body=json.dumps({name: values}).encode())
        return Call(method, f"{path}?{name}={','.join(map(str, values))}")

    check_list_sizes(endpoint_of(method, path), call(most))
    with pytest.raises(BadRequest) as caught:
        check_list_sizes(endpoint_of(method, path), call(most + 1))
    assert f"accepts {most} {name}" in caught.value.hint
