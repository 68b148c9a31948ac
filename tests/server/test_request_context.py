"""What is known of one request, and the id it goes by."""

from __future__ import annotations

import re

import pytest

from ibkr_bridge.redaction import Redactor
from ibkr_bridge.server.request_context import RequestContext, choose_request_id
from tests.harness import KEY

OURS = re.compile(r"[0-9a-f]{32}")


@pytest.fixture
def redactor() -> Redactor:
    """Knows one key."""
    made = Redactor()
    made.add_secret(KEY, permanent=True)
    return made


@pytest.mark.parametrize(
    "given", ["a", "order-7", "0", "A.b_c:d-e", "x" * 64, "6f9619ff-8b86-d011-b42d-00cf4fc964ff", "req-1"]
)
def test_a_well_formed_id_of_the_caller_is_kept(redactor: Redactor, given: str) -> None:
    """Under it the app's own log and ours can be read together."""
    assert choose_request_id(given, redactor) == given


@pytest.mark.parametrize(
    "given", [None, "", " ", "-a", ".a", "x" * 65, "a b", "a\n", "a/b", "ä", 'a"b', "<script>", "a\x00"]
)
def test_what_is_no_id_is_replaced_by_one_of_ours(redactor: Redactor, given: str | None) -> None:
    """It goes into headers and into the log, where it must not break a line."""
    assert OURS.fullmatch(choose_request_id(given, redactor))


@pytest.mark.parametrize("given", [KEY, f"id-{KEY}", "DU1234567", "order:DU1234567"])
def test_an_id_that_holds_a_secret_is_replaced(redactor: Redactor, given: str) -> None:
    """What callers put there by mistake would otherwise be logged with every line."""
    assert OURS.fullmatch(choose_request_id(given, redactor))


def test_no_two_requests_get_the_same_id(redactor: Redactor) -> None:
    """It has to name one."""
    assert len({choose_request_id(None, redactor) for _ in range(1000)}) == 1000


def test_nothing_is_known_of_a_request_that_has_just_come() -> None:
    """It is told as the bridge's own, under a route that gives nothing away, until more is found out."""
    context = RequestContext("id", 1.0)

    assert (context.route, context.source, context.principal, context.code) == ("?", "bridge", None, None)
    assert context.spans == (("wait", None), ("gateway", None))


def test_the_spans_are_the_wait_and_then_the_gateway() -> None:
    """In the order in which the time went by."""
    context = RequestContext("id", 1.0, waited_s=0.5, upstream_s=0.0)

    assert context.spans == (("wait", 0.5), ("gateway", 0.0))
