"""What was answered lately: fresh, bounded, and gone when something made it stale."""

from __future__ import annotations

import pytest

from ibkr_bridge.catalogue import find
from ibkr_bridge.endpoint import Holds
from ibkr_bridge.traffic.memory import ENTRY, Memory, worth_telling
from ibkr_bridge.upstream.base import Answer

ACCOUNTS = find("GET", ("portfolio", "accounts"))
PAIRS = find("GET", ("iserver", "currency", "pairs"))
STATUS = find("GET", ("iserver", "account", "order", "status", "1"))


def answer(body: bytes = b"[1]", status: int = 200) -> Answer:
    """An answer of IBKR's."""
    return Answer(status, {}, body)


def test_an_answer_is_told_again_while_it_is_fresh() -> None:
    """Five seconds for the accounts, not a moment longer."""
    memory = Memory()
    memory.keep("key", answer(), ACCOUNTS, 100.0, 0)

    young, old = memory.recall("key", 104.9, None), memory.recall("key", 105.0, None)

    assert young is not None
    assert (young.answer.body, young.at, old) == (b"[1]", 100.0, None)
    assert (memory.asked, memory.hits, memory.size) == (2, 1, {"entries": 0, "bytes": 0})


@pytest.mark.parametrize(("max_age", "told"), [(None, True), (3.0, True), (2.0, True), (1.9, False), (0.0, False)])
def test_a_caller_may_want_it_fresher(max_age: float | None, told: bool) -> None:
    """And leaves it to others who do not."""
    memory = Memory()
    memory.keep("key", answer(), ACCOUNTS, 100.0, 0)

    assert (memory.recall("key", 102.0, max_age) is not None) is told
    assert memory.recall("key", 102.0, None) is not None


def test_a_caller_cannot_want_it_older() -> None:
    """How long an answer is true, the catalogue says."""
    memory = Memory()
    memory.keep("key", answer(), ACCOUNTS, 100.0, 0)

    assert memory.recall("key", 106.0, 3600.0) is None


def test_what_has_no_freshness_is_not_kept() -> None:
    """The status of an order may change at any moment."""
    memory = Memory()
    memory.keep("key", answer(), STATUS, 100.0, 0)

    assert memory.recall("key", 100.0, None) is None


def test_what_is_stale_is_forgotten_and_what_is_on_its_way_too() -> None:
    """The rest stays."""
    memory = Memory()
    memory.keep("accounts", answer(), ACCOUNTS, 100.0, memory.generation(Holds.ACCOUNT))
    memory.keep("pairs", answer(), PAIRS, 100.0, memory.generation(Holds.WORLD))
    on_its_way = memory.generation(Holds.ACCOUNT)

    memory.forget(Holds.ACCOUNT, Holds.MARKET)
    memory.keep("late", answer(), ACCOUNTS, 100.0, on_its_way)

    assert [memory.recall(key, 100.0, None) is not None for key in ("accounts", "pairs", "late")] == [
        False,
        True,
        False,
    ]


@pytest.mark.parametrize(("entries", "size"), [(2, 10**6), (100, 2 * (ENTRY + 3))])
def test_it_is_bounded_by_number_and_by_size(entries: int, size: int) -> None:
    """Whoever was asked for the longest ago goes."""
    memory = Memory(entries, size)
    memory.keep("a", answer(), PAIRS, 0.0, 0)
    memory.keep("b", answer(), PAIRS, 0.0, 0)
    memory.recall("a", 1.0, None)

    memory.keep("c", answer(), PAIRS, 1.0, 0)

    assert [memory.recall(key, 1.0, None) is not None for key in "abc"] == [True, False, True]
    assert repr(memory) == f"<Memory 2 answers, {2 * (ENTRY + 3)} bytes>"


@pytest.mark.parametrize(
    ("body", "good"),
    [
        (b"[]", True),
        (b'{"a": 1}', True),
        (b'{"error": "no"}', False),
        (b'{"orders": [], "snapshot": false}', False),
        (b'{"orders": [], "snapshot": true}', True),
        (b'[{"ok": 1}, {"error": "no"}]', False),
        (b'{"success": false, "failure_list": "x"}', False),
        (b'{"success": true}', True),
        (b'{"text": "an \\"error\\" in words"}', True),
        (b'{"error', True),
        (b'{"error" broken', False),
    ],
)
def test_an_error_inside_a_200_is_never_remembered(body: bytes, good: bool) -> None:
    """IBKR hides some of them there."""
    assert worth_telling(answer(body)) is good


@pytest.mark.parametrize("status", [201, 204, 302, 404, 500, 503])
def test_only_a_200_is(status: int) -> None:
    """Anything else may be another answer in a moment."""
    assert not worth_telling(answer(status=status))
