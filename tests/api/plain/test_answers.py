"""Bodies and parameters as structs."""

from __future__ import annotations

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from ibkr_bridge.api.plain.answers import (
    answer,
    boolean_parameter,
    enum_parameter,
    integer_parameter,
    list_parameter,
    text_parameter,
)
from ibkr_bridge.errors import BadRequest
from ibkr_bridge.models.accounts import CashBalance
from ibkr_bridge.models.base import Side


def request_with(query: str) -> web.Request:
    """A request with a query."""
    return make_mocked_request("GET", f"/x?{query}")


def test_an_answer_is_json_with_a_charset() -> None:
    """A browser would otherwise guess one."""
    response = answer(CashBalance("USD", None, None, None))

    assert (response.content_type, response.charset) == ("application/json", "utf-8")
    assert response.body == b'{"currency":"USD","cash":null,"settled_cash":null,"exchange_rate":null}'


def test_a_list_has_each_item_once() -> None:
    """In one parameter or in several."""
    assert list_parameter(request_with("a=1,2,,1&a=3, 2"), "a") == ["1", "2", "3"]
    assert list_parameter(request_with(""), "a") == []


def test_parameters_that_are_absent_have_their_default() -> None:
    """An empty text counts as absent, an empty number does not."""
    request = request_with("a=&b=")

    assert (text_parameter(request, "a"), boolean_parameter(request, "a", default=True)) == (None, True)
    assert (integer_parameter(request, "c", 5, 1, 9), enum_parameter(request, "a", Side)) == (5, None)
    with pytest.raises(BadRequest):
        integer_parameter(request, "b", 5, 1, 9)


@pytest.mark.parametrize("query", ["a=1&a=2", "a=maybe", "a=0"])
def test_a_wrong_parameter_is_named(query: str) -> None:
    """With a hint that says what is right."""
    request = request_with(query)
    for read in (
        lambda: boolean_parameter(request, "a", default=True),
        lambda: enum_parameter(request, "a", Side),
        lambda: integer_parameter(request, "a", 5, 3, 9),
    ):
        with pytest.raises(BadRequest) as caught:
            read()
        assert caught.value.field == "a"
        assert caught.value.hint
