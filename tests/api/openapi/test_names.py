"""Operation ids and tags: they become names of functions and chapters."""

from __future__ import annotations

import re

import pytest

from ibkr_bridge.api.openapi.names import OPERATION_IDS, TAG_TEXTS, operation_id, tag
from ibkr_bridge.api.route import Route
from ibkr_bridge.api.routes import ROUTES
from tests.api.test_routes import name_of

VERBS = (
    *("get", "list", "search", "place", "change", "cancel", "answer", "preview", "find", "close"),
    *(
        "issue",
        "open",
        "create",
        "add",
        "save",
        "begin",
        "verify",
        "end",
        "forget",
        "import",
        "check",
        "pause",
        "resume",
        "reconnect",
        "logOut",
        "stream",
    ),
)


def test_an_operation_id_is_unique() -> None:
    """Two functions of a client cannot have one name."""
    ids = [operation_id(route) for route in ROUTES]

    assert sorted(set(ids)) == sorted(ids)


@pytest.mark.parametrize("route", ROUTES, ids=name_of)
def test_an_operation_id_is_a_good_name_of_a_function(route: Route) -> None:
    """It begins with a verb and is written in camelCase."""
    name = operation_id(route)

    assert re.fullmatch(r"[a-z][A-Za-z]+", name)
    assert name.startswith(VERBS)


def test_each_given_name_belongs_to_a_route() -> None:
    """A name of a route that is gone would confuse."""
    assert set(OPERATION_IDS) <= {f"{route.method} {route.path}" for route in ROUTES}


def test_each_tag_is_explained() -> None:
    """The page begins each chapter with that sentence."""
    assert {tag(route) for route in ROUTES} <= set(TAG_TEXTS)
