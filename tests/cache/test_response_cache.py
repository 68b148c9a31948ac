"""What was answered lately: fresh, bounded, and gone when something made it stale."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ibkr_bridge.cache.response_cache import ENTRY_OVERHEAD_BYTES, CacheEntry, ResponseCache, is_cacheable
from ibkr_bridge.calls.messages import Response
from ibkr_bridge.ibkr.catalogue import match
from ibkr_bridge.ibkr.endpoint import CacheTag

ACCOUNTS = match("GET", ("portfolio", "accounts"))
PAIRS = match("GET", ("iserver", "currency", "pairs"))
STATUS = match("GET", ("iserver", "account", "order", "status", "1"))


def answer(body: bytes = b"[1]", status: int = 200) -> Response:
    """An answer of IBKR's."""
    return Response(status, {}, body)


def test_an_answer_is_told_again_while_it_is_fresh() -> None:
    """Five seconds for the accounts, not a moment longer."""
    cache = ResponseCache()
    cache.put("key", CacheEntry(answer(), 100.0, 100.0, ACCOUNTS), 0)

    young, old = cache.get("key", 104.9, None), cache.get("key", 105.0, None)

    assert young is not None
    assert (young.response.body, young.received_at, old) == (b"[1]", 100.0, None)
    assert (cache.lookups, cache.hits, cache.counts) == (2, 1, {"entries": 0, "bytes": 0})


@pytest.mark.parametrize(("max_age", "told"), [(None, True), (3.0, True), (2.0, True), (1.9, False), (0.0, False)])
def test_a_caller_may_want_it_fresher(max_age: float | None, told: bool) -> None:
    """And leaves it to others who do not."""
    cache = ResponseCache()
    cache.put("key", CacheEntry(answer(), 100.0, 100.0, ACCOUNTS), 0)

    assert (cache.get("key", 102.0, max_age) is not None) is told
    assert cache.get("key", 102.0, None) is not None


def test_a_caller_cannot_want_it_older() -> None:
    """How long an answer is true, the catalogue says."""
    cache = ResponseCache()
    cache.put("key", CacheEntry(answer(), 100.0, 100.0, ACCOUNTS), 0)

    assert cache.get("key", 106.0, 3600.0) is None


def test_what_has_no_freshness_is_not_kept() -> None:
    """The status of an order may change at any moment."""
    cache = ResponseCache()
    cache.put("key", CacheEntry(answer(), 100.0, 100.0, STATUS), 0)

    assert cache.get("key", 100.0, None) is None


def test_what_is_stale_is_forgotten_and_what_is_on_its_way_too() -> None:
    """The rest stays."""
    cache = ResponseCache()
    cache.put("accounts", CacheEntry(answer(), 100.0, 100.0, ACCOUNTS), cache.generation(CacheTag.ACCOUNT))
    cache.put("pairs", CacheEntry(answer(), 100.0, 100.0, PAIRS), cache.generation(CacheTag.WORLD))
    on_its_way = cache.generation(CacheTag.ACCOUNT)

    cache.invalidate(CacheTag.ACCOUNT, CacheTag.MARKET)
    cache.put("late", CacheEntry(answer(), 100.0, 100.0, ACCOUNTS), on_its_way)

    assert [cache.get(key, 100.0, None) is not None for key in ("accounts", "pairs", "late")] == [
        False,
        True,
        False,
    ]


@pytest.mark.parametrize(("entries", "size"), [(2, 10**6), (100, 2 * (ENTRY_OVERHEAD_BYTES + 3))])
def test_it_is_bounded_by_number_and_by_size(entries: int, size: int) -> None:
    """Whoever was asked for the longest ago goes."""
    cache = ResponseCache(entries, size)
    cache.put("a", CacheEntry(answer(), 0.0, 0.0, PAIRS), 0)
    cache.put("b", CacheEntry(answer(), 0.0, 0.0, PAIRS), 0)
    cache.get("a", 1.0, None)

    cache.put("c", CacheEntry(answer(), 1.0, 1.0, PAIRS), 0)

    assert [cache.get(key, 1.0, None) is not None for key in "abc"] == [True, False, True]
    assert repr(cache) == f"<ResponseCache 2 responses, {2 * (ENTRY_OVERHEAD_BYTES + 3)} bytes>"


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
    assert is_cacheable(answer(body)) is good


@pytest.mark.parametrize("status", [201, 204, 302, 404, 500, 503])
def test_only_a_200_is(status: int) -> None:
    """Anything else may be another answer in a moment."""
    assert not is_cacheable(answer(status=status))


def test_what_was_overtaken_on_its_way_is_not_told() -> None:
    """Who was asked later knows better."""
    cache = ResponseCache()
    cache.put("key", CacheEntry(answer(b'["new"]'), 101.0, 102.0, ACCOUNTS), 0)
    cache.put("key", CacheEntry(answer(b'["old"]'), 100.0, 103.0, ACCOUNTS), 0)

    entry = cache.get("key", 103.0, None)

    assert entry is not None
    assert entry.response.body == b'["new"]'


def test_an_answer_is_as_old_as_the_question() -> None:
    """Nobody knows when on its way it was true."""
    cache = ResponseCache()
    cache.put("key", CacheEntry(answer(), 100.0, 103.0, ACCOUNTS), 0)

    assert cache.get("key", 104.0, 3.0) is None
    assert cache.get("key", 104.0, 5.0) is not None
    assert cache.get("key", 107.9, None) is not None
    assert cache.get("key", 108.0, None) is None


@pytest.mark.parametrize("body", [b"[]", b"{}", b'{"call":[],"put":[]}', b" [ ] ", b"[{}, []]"])
def test_what_is_empty_may_only_be_so_for_now(body: bytes) -> None:
    """Contracts are told for hours, but not that there are none."""
    cache = ResponseCache()
    cache.put("key", CacheEntry(answer(body), 0.0, 0.0, PAIRS), 0)

    assert (cache.get("key", 4.9, None) is not None, cache.get("key", 5.0, None)) == (True, None)


@pytest.mark.parametrize("told", [answer(b""), answer(b"null"), answer(b"<html>"), answer(b"OK")])
def test_what_does_not_look_like_an_answer_is_not_remembered(told: Response) -> None:
    """Whatever its status."""
    assert not is_cacheable(told)


def test_what_will_do_for_now_is_not_told_again() -> None:
    """The next one may get a better one."""
    assert not is_cacheable(replace(answer(), is_provisional=True))
