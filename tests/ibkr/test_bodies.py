"""Reading IBKR's response bodies."""

from __future__ import annotations

import pytest

from ibkr_bridge.ibkr.bodies import (
    demands_accounts_first,
    has_embedded_error,
    is_empty,
    is_partial,
    looks_like_json,
    looks_like_page,
    parse_json,
    parse_object,
    parse_rows,
    session_phrases,
)


@pytest.mark.parametrize("body", [b"", b"<html>", b"{", b"\xff", b"[" * 100_000])
def test_a_body_that_is_not_json_is_none(body: bytes) -> None:
    """No body raises."""
    assert (parse_json(body), parse_object(body), parse_rows(body)) == (None, {}, None)


@pytest.mark.parametrize(
    ("body", "rows"), [(b"[]", []), (b'[{"a":1}]', [{"a": 1}]), (b'[{"a":1},2]', None), (b"{}", None)]
)
def test_rows_are_objects_and_nothing_else(body: bytes, rows: object) -> None:
    """A list that contains something else is not a list of rows."""
    assert parse_rows(body) == rows


@pytest.mark.parametrize(
    ("body", "partial"),
    [(b'{"snapshot":false}', True), (b'{"snapshot" : false}', True), (b'{"snapshot":true}', False), (b"", False)],
)
def test_a_partial_list_has_a_mark(body: bytes, partial: bool) -> None:
    """With or without spaces in it."""
    assert is_partial(body) is partial


@pytest.mark.parametrize(
    ("body", "empty"),
    [(b"[]", True), (b'{"a":[],"b":{}}', True), (b'{"a":[1]}', False), (b"[[]]", True), (b"[]" + b" " * 300, False)],
)
def test_a_body_of_empty_parts_is_empty(body: bytes, empty: bool) -> None:
    """A long body is not parsed."""
    assert is_empty(body) is empty


@pytest.mark.parametrize(
    ("body", "is_error"),
    [
        (b'{"error":"no"}', True),
        (b'[{"a":1},{"error":null}]', True),
        (b'{"success":false}', True),
        (b'{"success":true}', False),
        (b'{"text":"\\"error\\""}', False),
        (b'{"a":{"error":1}}', False),
        (b'"error"', False),
        (b'{"error"', True),
    ],
)
def test_an_error_inside_a_200_is_found_at_the_top_level_only(body: bytes, is_error: bool) -> None:
    """Deeper, `error` is part of the data. A body that cannot be parsed counts as an error."""
    assert has_embedded_error(body) is is_error


@pytest.mark.parametrize(
    ("status", "body", "demands"),
    [
        (200, b'{"error":"Please query /accounts first"}', True),
        (200, b'{"text":"Please query /accounts first"}', False),
        (200, b" " * 300 + b'{"error":"Please query /accounts first"}', False),
        (500, b" " * 300 + b'{"error":"Please query /accounts first"}', True),
        (400, b"Please query /accounts first", True),
        (400, b" " * 70_000 + b"Please query /accounts first", False),
    ],
)
def test_the_demand_for_accounts_is_searched_in_errors(status: int, body: bytes, demands: bool) -> None:
    """A good body can be long and contain the words as data, so only its beginning is searched."""
    assert demands_accounts_first(status, body) is demands


@pytest.mark.parametrize(
    ("status", "body", "phrases"),
    [
        (400, b"No Bridge", (b"no bridge",)),
        (503, b"<html><body><p>Init session first</p></body></html>", (b"init session first",)),
        (500, b'{"trace":"' + b"t" * 20_000 + b'","error":"no session"}', (b"no session",)),
        (400, b'{"message":"not authenticated: no bridge"}', (b"no bridge", b"not authenticated")),
        (200, b'{"message":"no bridge"}', ()),
        (200, b'{"Error":"no bridge"}', (b"no bridge",)),
        (404, b"no such bridge", ()),
    ],
)
def test_the_words_of_a_lost_session_are_found_in_every_form_of_error(
    status: int, body: bytes, phrases: tuple[bytes, ...]
) -> None:
    """IBKR's layers answer in JSON, in plain text and with pages."""
    assert session_phrases(status, body) == phrases


@pytest.mark.parametrize(
    ("status", "body", "looks"),
    [
        (503, b"<html>", True),
        (200, b"\r\n <!doctype html>", True),
        (502, b" ", True),
        (301, b"", True),
        (200, b"", False),
        (404, b"", False),
        (500, b'{"error":"<b>"}', False),
    ],
)
def test_a_page_is_html_or_an_error_without_content(status: int, body: bytes, looks: bool) -> None:
    """A successful change may have an empty response."""
    assert looks_like_page(status, body) is looks


@pytest.mark.parametrize(("body", "looks"), [(b" {", True), (b"[", True), (b"<", False), (b"", False), (b"1", False)])
def test_an_object_or_a_list_looks_like_json(body: bytes, looks: bool) -> None:
    """A page of HTML does not."""
    assert looks_like_json(body) is looks


@pytest.mark.parametrize(
    ("body", "is_lost"),
    [
        (b'{"error":"no session"}', True),
        (b'{"error":"Bad Request: no session, init first"}', True),
        (b"no session", True),
        (b'{"error":"no session data for this contract: exchange closed"}', False),
        (b"<p>There was no session on Monday.</p>", False),
    ],
)
def test_no_session_is_a_lost_session_only_without_further_words(body: bytes, is_lost: bool) -> None:
    """Otherwise it is about trading sessions, and one endpoint would reopen a healthy session again and again."""
    assert bool(session_phrases(404, body)) is is_lost
