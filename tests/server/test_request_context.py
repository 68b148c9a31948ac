"""What is known of one request, and its id."""

from __future__ import annotations

import re

import pytest

from ibkr_bridge.calls.context import CallTiming
from ibkr_bridge.ibkr.endpoint import Effect
from ibkr_bridge.redaction import Redactor
from ibkr_bridge.server.keyring import ALL_EFFECTS, Principal
from ibkr_bridge.server.request_context import RequestContext, choose_request_id
from tests.harness import KEY

OURS = re.compile(r"[0-9a-f]{32}")


@pytest.fixture
def redactor() -> Redactor:
    """A redactor that knows one key."""
    redactor = Redactor()
    redactor.add_secret(KEY, permanent=True)
    return redactor


@pytest.mark.parametrize(
    "given", ["a", "order-7", "0", "A.b_c:d-e", "x" * 64, "6f9619ff-8b86-d011-b42d-00cf4fc964ff", "req-1"]
)
def test_a_well_formed_id_of_the_caller_is_kept(redactor: Redactor, given: str) -> None:
    """The logs of the app and of the bridge then have the same id."""
    assert choose_request_id(given, redactor) == given


@pytest.mark.parametrize(
    "given", [None, "", " ", "-a", ".a", "x" * 65, "a b", "a\n", "a/b", "ä", 'a"b', "<script>", "a\x00"]
)
def test_an_invalid_id_is_replaced(redactor: Redactor, given: str | None) -> None:
    """The id is written into headers and log lines, which it must not break."""
    assert OURS.fullmatch(choose_request_id(given, redactor))


@pytest.mark.parametrize("given", [KEY, f"id-{KEY}", "DU1234567", "order:DU1234567"])
def test_an_id_that_holds_a_secret_is_replaced(redactor: Redactor, given: str) -> None:
    """A secret that a caller used as an id by mistake would be in every log line."""
    assert OURS.fullmatch(choose_request_id(given, redactor))


def test_no_two_requests_get_the_same_id(redactor: Redactor) -> None:
    """An id must name one request."""
    assert len({choose_request_id(None, redactor) for _ in range(1000)}) == 1000


def test_a_new_request_has_no_route_and_no_principal() -> None:
    """Until the checks have run, the log has neither a route nor a principal."""
    context = RequestContext("id", 1.0)

    assert (context.route, context.source, context.principal, context.code) == ("?", "bridge", None, None)
    assert context.server_timing == ""


def test_the_timing_is_the_wait_and_then_the_gateway() -> None:
    """In milliseconds, since browsers show them in this unit; what follows later is seen too."""
    timing = CallTiming()
    context = RequestContext("id", 1.0, timing=timing)

    timing.waited_s, timing.upstream_s = 0.5, 0.0015

    assert context.server_timing == "wait;dur=500.0, gateway;dur=1.5"


@pytest.mark.parametrize(
    ("principal", "key_label", "has_reduced_share"),
    [
        (None, "", True),
        (Principal("full", ALL_EFFECTS), "full", False),
        (Principal("read-only", frozenset({Effect.READ})), "read-only", True),
    ],
)
def test_admission_gets_the_label_and_the_share_of_the_key(
    principal: Principal | None, key_label: str, has_reduced_share: bool
) -> None:
    """A request without a key takes part within the reduced share, like a key that may only read."""
    context = RequestContext("id", 1.0, principal)

    assert (context.key_label, context.has_reduced_share) == (key_label, has_reduced_share)
