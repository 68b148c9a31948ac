"""What was answered lately: fresh, bounded, and gone when something made it stale."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ibkr_bridge.cache.response_cache import ENTRY, Kept, Memory, worth_telling
from ibkr_bridge.calls.messages import Answer
from ibkr_bridge.ibkr.catalogue import find
from ibkr_bridge.ibkr.endpoint import Holds

ACCOUNTS = find("GET", ("portfolio", "accounts"))
PAIRS = find("GET", ("iserver", "currency", "pairs"))
STATUS = find("GET", ("iserver", "account", "order", "status", "1"))


def answer(body: bytes = b"[1]", status: int = 200) -> Answer:
    """An answer of IBKR's."""
    return Answer(status, {}, body)


def test_an_answer_is_told_again_while_it_is_fresh() -> None:
    """Five seconds for the accounts, not a moment longer."""
    memory = Memory()
    memory.keep("key", Kept(answer(), 100.0, 100.0, ACCOUNTS), 0)

    young, old = memory.recall("key", 104.9, None), memory.recall("key", 105.0, None)

    assert young is not None
    assert (young.answer.body, young.at, old) == (b"[1]", 100.0, None)
    assert (memory.asked, memory.hits, memory.size) == (2, 1, {"entries": 0, "bytes": 0})


@pytest.mark.parametrize(("max_age", "told"), [(None, True), (3.0, True), (2.0, True), (1.9, False), (0.0, False)])
def test_a_caller_may_want_it_fresher(max_age: float | None, told: bool) -> None:
    """And leaves it to others who do not."""
    memory = Memory()
    memory.keep("key", Kept(answer(), 100.0, 100.0, ACCOUNTS), 0)

    assert (memory.recall("key", 102.0, max_age) is not None) is told
    assert memory.recall("key", 102.0, None) is not None


def test_a_caller_cannot_want_it_older() -> None:
    """How long an answer is true, the catalogue says."""
    memory = Memory()
    memory.keep("key", Kept(answer(), 100.0, 100.0, ACCOUNTS), 0)

    assert memory.recall("key", 106.0, 3600.0) is None


def test_what_has_no_freshness_is_not_kept() -> None:
    """The status of an order may change at any moment."""
    memory = Memory()
    memory.keep("key", Kept(answer(), 100.0, 100.0, STATUS), 0)

    assert memory.recall("key", 100.0, None) is None


def test_what_is_stale_is_forgotten_and_what_is_on_its_way_too() -> None:
    """The rest stays."""
    memory = Memory()
    memory.keep("accounts", Kept(answer(), 100.0, 100.0, ACCOUNTS), memory.generation(Holds.ACCOUNT))
    memory.keep("pairs", Kept(answer(), 100.0, 100.0, PAIRS), memory.generation(Holds.WORLD))
    on_its_way = memory.generation(Holds.ACCOUNT)

    memory.forget(Holds.ACCOUNT, Holds.MARKET)
    memory.keep("late", Kept(answer(), 100.0, 100.0, ACCOUNTS), on_its_way)

    assert [memory.recall(key, 100.0, None) is not None for key in ("accounts", "pairs", "late")] == [
        False,
        True,
        False,
    ]


@pytest.mark.parametrize(("entries", "size"), [(2, 10**6), (100, 2 * (ENTRY + 3))])
def test_it_is_bounded_by_number_and_by_size(entries: int, size: int) -> None:
    """Whoever was asked for the longest ago goes."""
    memory = Memory(entries, size)
    memory.keep("a", Kept(answer(), 0.0, 0.0, PAIRS), 0)
    memory.keep("b", Kept(answer(), 0.0, 0.0, PAIRS), 0)
    memory.recall("a", 1.0, None)

    memory.keep("c", Kept(answer(), 1.0, 1.0, PAIRS), 0)

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


def test_what_was_overtaken_on_its_way_is_not_told() -> None:
    """Who was asked later knows better."""
    memory = Memory()
    memory.keep("key", Kept(answer(b'["new"]'), 101.0, 102.0, ACCOUNTS), 0)
    memory.keep("key", Kept(answer(b'["old"]'), 100.0, 103.0, ACCOUNTS), 0)

    kept = memory.recall("key", 103.0, None)

    assert kept is not None
    assert kept.answer.body == b'["new"]'


def test_an_answer_is_as_old_as_the_question() -> None:
    """Nobody knows when on its way it was true."""
    memory = Memory()
    memory.keep("key", Kept(answer(), 100.0, 103.0, ACCOUNTS), 0)

    assert memory.recall("key", 104.0, 3.0) is None
    assert memory.recall("key", 104.0, 5.0) is not None
    assert memory.recall("key", 107.9, None) is not None
    assert memory.recall("key", 108.0, None) is None


@pytest.mark.parametrize("body", [b"[]", b"{}", b'{"call":[],"put":[]}', b" [ ] ", b"[{}, []]"])
def test_what_is_empty_may_only_be_so_for_now(body: bytes) -> None:
    """Contracts are told for hours, but not that there are none."""
    memory = Memory()
    memory.keep("key", Kept(answer(body), 0.0, 0.0, PAIRS), 0)

    assert (memory.recall("key", 4.9, None) is not None, memory.recall("key", 5.0, None)) == (True, None)


@pytest.mark.parametrize("told", [answer(b""), answer(b"null"), answer(b"<html>"), answer(b"OK")])
def test_what_does_not_look_like_an_answer_is_not_remembered(told: Answer) -> None:
    """Whatever its status."""
    assert not worth_telling(told)


def test_what_will_do_for_now_is_not_told_again() -> None:
    """The next one may get a better one."""
    assert not worth_telling(replace(answer(), passing=True))
