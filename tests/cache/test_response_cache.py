"""The cache of responses: each entry expires, the size is bounded, and a change invalidates its tags."""

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


def new_response(body: bytes = b"[1]", status: int = 200) -> Response:
    """A response of IBKR."""
    return Response(status, {}, body)


def test_a_response_is_returned_until_its_ttl_is_over() -> None:
    """The TTL of the accounts is 5 s."""
    cache = ResponseCache()
    cache.put("key", CacheEntry(new_response(), 100.0, 100.0, ACCOUNTS), 0)

    fresh, expired = cache.get("key", 104.9, None), cache.get("key", 105.0, None)

    assert fresh is not None
    assert (fresh.response.body, fresh.received_at, expired) == (b"[1]", 100.0, None)
    assert (cache.lookups, cache.hits, cache.counts) == (2, 1, {"entries": 0, "bytes": 0})


@pytest.mark.parametrize(("max_age_s", "is_hit"), [(None, True), (3.0, True), (2.0, True), (1.9, False), (0.0, False)])
def test_a_caller_may_ask_for_a_younger_response(max_age_s: float | None, is_hit: bool) -> None:
    """The entry stays for callers that accept its age."""
    cache = ResponseCache()
    cache.put("key", CacheEntry(new_response(), 100.0, 100.0, ACCOUNTS), 0)

    assert (cache.get("key", 102.0, max_age_s) is not None) is is_hit
    assert cache.get("key", 100.0, 0.0) is None  # no response is new enough, not even one that came this moment
    assert cache.get("key", 102.0, None) is not None


def test_a_caller_cannot_extend_the_ttl() -> None:
    """The catalogue sets the TTL of each endpoint."""
    cache = ResponseCache()
    cache.put("key", CacheEntry(new_response(), 100.0, 100.0, ACCOUNTS), 0)

    assert cache.get("key", 106.0, 3600.0) is None


def test_a_response_without_a_ttl_is_not_cached() -> None:
    """The status of an order may change at any moment."""
    cache = ResponseCache()
    cache.put("key", CacheEntry(new_response(), 100.0, 100.0, STATUS), 0)

    assert cache.get("key", 100.0, None) is None


def test_an_invalidated_tag_drops_entries_and_reads_in_flight() -> None:
    """Entries with other tags stay."""
    cache = ResponseCache()
    cache.put("accounts", CacheEntry(new_response(), 100.0, 100.0, ACCOUNTS), cache.generation(CacheTag.ACCOUNT))
    cache.put("pairs", CacheEntry(new_response(), 100.0, 100.0, PAIRS), cache.generation(CacheTag.WORLD))
    generation_in_flight = cache.generation(CacheTag.ACCOUNT)

    cache.invalidate(CacheTag.ACCOUNT, CacheTag.MARKET)
    cache.put("late", CacheEntry(new_response(), 100.0, 100.0, ACCOUNTS), generation_in_flight)

    assert [cache.get(key, 100.0, None) is not None for key in ("accounts", "pairs", "late")] == [
        False,
        True,
        False,
    ]


@pytest.mark.parametrize(("max_entries", "max_bytes"), [(2, 10**6), (100, 2 * (ENTRY_OVERHEAD_BYTES + 3))])
def test_the_cache_is_bounded_by_entries_and_by_bytes(max_entries: int, max_bytes: int) -> None:
    """The entry that was used longest ago is dropped."""
    cache = ResponseCache(max_entries, max_bytes)
    cache.put("a", CacheEntry(new_response(), 0.0, 0.0, PAIRS), 0)
    cache.put("b", CacheEntry(new_response(), 0.0, 0.0, PAIRS), 0)
    cache.get("a", 1.0, None)

    cache.put("c", CacheEntry(new_response(), 1.0, 1.0, PAIRS), 0)

    assert [cache.get(key, 1.0, None) is not None for key in "abc"] == [True, False, True]
    assert repr(cache) == f"<ResponseCache 2 responses, {2 * (ENTRY_OVERHEAD_BYTES + 3)} bytes>"


@pytest.mark.parametrize(
    ("body", "cacheable"),
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
def test_an_error_inside_a_200_is_not_cached(body: bytes, cacheable: bool) -> None:
    """IBKR sends some errors with status 200."""
    assert is_cacheable(new_response(body)) is cacheable


@pytest.mark.parametrize("status", [201, 204, 302, 404, 500, 503])
def test_only_a_200_is_cached(status: int) -> None:
    """The next response with another status may differ."""
    assert not is_cacheable(new_response(status=status))


def test_an_earlier_read_does_not_replace_a_later_one() -> None:
    """The response to the later call is newer, although the other one arrived after it."""
    cache = ResponseCache()
    cache.put("key", CacheEntry(new_response(b'["new"]'), 101.0, 102.0, ACCOUNTS), 0)
    cache.put("key", CacheEntry(new_response(b'["old"]'), 100.0, 103.0, ACCOUNTS), 0)

    entry = cache.get("key", 103.0, None)

    assert entry is not None
    assert entry.response.body == b'["new"]'


def test_the_age_of_a_response_counts_from_the_sending_of_its_call() -> None:
    """Its data may date from any moment after the call was sent."""
    cache = ResponseCache()
    cache.put("key", CacheEntry(new_response(), 100.0, 103.0, ACCOUNTS), 0)

    assert cache.get("key", 104.0, 3.0) is None
    assert cache.get("key", 104.0, 5.0) is not None
    assert cache.get("key", 107.9, None) is not None
    assert cache.get("key", 108.0, None) is None


@pytest.mark.parametrize("body", [b"[]", b"{}", b'{"call":[],"put":[]}', b" [ ] ", b"[{}, []]"])
def test_an_empty_response_is_cached_for_five_seconds(body: bytes) -> None:
    """Contracts are cached for hours, but a list that is empty now may soon have entries."""
    cache = ResponseCache()
    cache.put("key", CacheEntry(new_response(body), 0.0, 0.0, PAIRS), 0)

    assert (cache.get("key", 4.9, None) is not None, cache.get("key", 5.0, None)) == (True, None)


@pytest.mark.parametrize(
    "response", [new_response(b""), new_response(b"null"), new_response(b"<html>"), new_response(b"OK")]
)
def test_a_response_that_is_not_an_object_or_a_list_is_not_cached(response: Response) -> None:
    """The status 200 does not change that."""
    assert not is_cacheable(response)


def test_a_provisional_response_is_not_cached() -> None:
    """The next call may get a complete one."""
    assert not is_cacheable(replace(new_response(), is_provisional=True))


def test_a_response_with_a_short_ttl_is_cached_too() -> None:
    """Even half a second saves calls if many callers poll."""
    cache = ResponseCache()
    cache.put("key", CacheEntry(new_response(), 0.0, 0.0, replace(ACCOUNTS, ttl_s=0.5)), 0)

    assert cache.get("key", 0.4, None) is not None


def test_a_response_that_is_replaced_is_not_counted_twice() -> None:
    """Otherwise the cache would seem full, and keep less and less."""
    cache = ResponseCache()
    for second in range(3):
        cache.put("key", CacheEntry(new_response(), float(second), float(second), ACCOUNTS), 0)

    assert cache.counts == {"entries": 1, "bytes": ENTRY_OVERHEAD_BYTES + 3}


def test_the_cache_holds_32_mib() -> None:
    """And no more, however large the responses are."""
    cache, body = ResponseCache(), b"[" + b"1" * (1024 * 1024 - ENTRY_OVERHEAD_BYTES - 2) + b"]"
    for number in range(40):
        cache.put(number, CacheEntry(new_response(body), 0.0, 0.0, PAIRS), 0)

    assert cache.counts == {"entries": 32, "bytes": 32 * 1024 * 1024}
