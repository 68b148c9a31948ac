"""The request target: one that can be read in exactly one way passes, any other is refused."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ibkr_bridge.errors import BadPath, BadRequest, BridgeError, UriTooLong
from ibkr_bridge.server.request_target import MAX_TARGET_BYTES, read_target

HARMLESS = [
    "/iserver/accounts",
    "/iserver/accounts/",
    "/iserver/accounts?",
    "/iserver/accounts/?",
    "/",
    "/iserver/contract/265598/info",
    "/iserver/account/search/a%20b",
    "/iserver/account/search/a+b",
    "/iserver/account/search/a|b",
    "/iserver/account/search/{pattern}",
    "/iserver/account/search/a=b&c,d:e@f!g$h'i(j)*k~l-m_n.o",
    "/iserver/account/search/...",
    "/iserver/account/search/.hidden",
    "/iserver/account/search/a..b",
    "/iserver/account/search/%E2%82%AC",
    "/iserver/account/search/%7e",
    "/iserver/account/search/a%2Db%5Fc%2Ed",
    '/iserver/account/search/"<>^`[]',
    "/v1/api/iserver/accounts",
    "/v1/portfolio/accounts",
    "/portfolio/v1/accounts",
    "/iserver/secdef/search?symbol=%20&name=true",
    "/iserver/secdef/search?symbol=a+b",
    "/iserver/secdef/search?symbol={}|",
    "/iserver/marketdata/snapshot?conids=1,2&fields=31&fields=84",
    "/iserver/marketdata/snapshot?conids=1&conids=",
    "/iserver/marketdata/snapshot?conids",
    "/iserver/marketdata/snapshot?=1",
    "/iserver/marketdata/snapshot?&&a=1&&b=2&",
    "/iserver/marketdata/snapshot?a=1;b=2",
    "/iserver/marketdata/snapshot?a=b=c",
    "/iserver/marketdata/snapshot?a=1?b=2",
    "/iserver/marketdata/snapshot?path=/../..//x\\y",
    "/iserver/marketdata/snapshot?a=%00%2F%5C%25%7F%FF",
    "/iserver/marketdata/snapshot?a=%2Fv1%2Fportal",
    "/iserver/marketdata/snapshot?param=1&param10=2&xparam1=3&a=param1",
    "/iserver/marketdata/snapshot?a=param1=2",
]


@pytest.mark.parametrize("raw", HARMLESS)
def test_a_harmless_target_is_passed_on_byte_for_byte(raw: str) -> None:
    """Clients write all of these forms, and IBKR reads them as they are."""
    target = read_target(raw)

    assert target.path + target.query == raw
    assert "/" + "/".join(target.raw_segments) == target.path


FORBIDDEN_IN_PATHS = {
    "encoded slash": ["/iserver%2Faccounts", "/iserver%2faccounts", "/iserver/%2F"],
    "backslash": ["/iserver\\accounts", "/iserver%5Caccounts", "/iserver%5caccounts", "/..\\x"],
    "dot segment": ["/.", "/..", "/./x", "/../x", "/x/.", "/x/..", "/x/../y", "/x/./", "/x/../"],
    "encoded dot segment": ["/%2e/x", "/%2E%2E/x", "/.%2e/x", "/%2e./x", "/x/%2e%2e", "/x/%2e%2e/"],
    "double encoding": ["/%252e%252e/x", "/x%25", "/%25%32%66", "/x%2525"],
    "control": ["/x%00", "/%00/x", "/x%0a", "/x%0D%0Ay", "/x%1f", "/x%7f", "/x\x00", "/x\ny", "/x\ty", "/x\x7f"],
    "empty segment": ["//", "//x", "/x//y", "/x//", "///", "//evil.example/x"],
    "semicolon": ["/x;y", "/x;/y", "/;", "/x%3By", "/x%3by", "/..;/x"],
    "fragment": ["/x#y", "/#", "/x%23y"],
    "hidden query": ["/x%3Fy=1", "/x%3fy"],
    "malformed escape": ["/x%", "/x%2", "/x%zz", "/%u0041", "/x%%41", "/x%2/y"],
    "escapes that are not UTF-8": ["/x/%c0%ae", "/%C0%AE%C0%AE/x", "/x%ff", "/x/%e2%82", "/x%ed%a0%80", "/x%80y"],
    "escaped plain letters": ["/%69server/accounts", "/iserver/%61ccounts", "/x/%41", "/x/%7a", "/x%30"],
    "bytes outside ASCII": ["/é", "/x\udcff", "/x\udcc3\udca9", "/\u212a", "/x y"],
    "no path": ["", "*", "x", "http://127.0.0.1:8000/iserver/accounts", "?x=1", "127.0.0.1:443", "\\x"],
    "rewritten": ["/v1/portal", "/v1/portal/iserver/accounts", "/V1/Portal/x", "/x/v1/portal", "/v1/portals"],
}


@pytest.mark.parametrize(
    "raw", [pytest.param(raw, id=f"{reason}: {raw!r}") for reason, raws in FORBIDDEN_IN_PATHS.items() for raw in raws]
)
def test_a_path_that_can_be_read_in_two_ways_is_refused(raw: str) -> None:
    """The rules for orders must read the same path as IBKR does."""
    with pytest.raises(BadPath):
        read_target(raw)


@pytest.mark.parametrize(
    ("query", "kind"),
    [
        *((query, BadRequest) for query in ("a=%", "a=%2", "a=%zz", "%", "a=1&b=%g0")),
        *((query, BadRequest) for query in ("param1", "param1=", "param1=x", "a=1&param1=x", "a=1;param1=x")),
        *((query, BadRequest) for query in ("PARAM1=x", "Param1=x", "%70aram1=x", "param%31=x", "+param1=x")),
        *((query, BadRequest) for query in ("param1+=x", "%20param1=x", "a;param1", "&param1", ";PaRaM1=x&a=1")),
        *((query, BadRequest) for query in ("a=/v1/portal", "a=/V1/PORTAL/x", "/v1/portal", "a=x/v1/portalx")),
        *((query, BadPath) for query in ("a=é", "a=\udcff", "a=1#b", "a=\x00", "a= b", "a=\x7f", "a=\t")),
    ],
)
def test_a_query_that_the_gateway_cannot_handle_is_refused(query: str, kind: type[BridgeError]) -> None:
    """On some of these the Gateway never answers, and on one it sends the call to another path."""
    with pytest.raises(kind):
        read_target(f"/iserver/accounts?{query}")


def test_the_longest_target_is_accepted_and_a_longer_one_is_refused() -> None:
    """The Gateway accepts request lines of up to 4096 bytes, and does not answer longer ones."""
    longest = "/iserver/marketdata/snapshot?conids=".ljust(MAX_TARGET_BYTES, "1")

    assert len(read_target(longest).query) > 3900
    with pytest.raises(UriTooLong):
        read_target(longest + "1")


@pytest.mark.parametrize(
    ("raw", "segments"),
    [
        ("/iserver/accounts", ("iserver", "accounts")),
        ("/iserver/accounts/", ("iserver", "accounts")),
        ("/iserver/account/search/%E2%82%AC?x=/y", ("iserver", "account", "search", "€")),
        ("/a%20b/c+d", ("a b", "c+d")),
    ],
)
def test_the_rules_read_the_path_decoded_and_without_its_trailing_slash(raw: str, segments: tuple[str, ...]) -> None:
    """However a client writes the path of an order, the rules must see the same order."""
    assert read_target(raw).segments == segments


def test_an_error_does_not_repeat_the_target() -> None:
    """Some users write a key into the address, and errors are written to logs."""
    with pytest.raises(BadPath) as caught:
        read_target("/a-secret-in-the-path/..")

    assert "secret" not in str(caught.value) + caught.value.hint


TEXTS = st.one_of(
    st.text(),
    st.text("/.%;\\?#&=25eEfF0aparm1v ", max_size=30).map(lambda text: "/" + text),
    st.binary().map(lambda raw: "/" + raw.decode("ascii", "surrogateescape")),
)


@given(TEXTS)
@example("/%c0%ae%c0%ae/x")
@example("/x/%ff%2e%2e")
def test_every_target_is_refused_or_passes_unchanged_with_one_meaning(raw: str) -> None:
    """The target comes from the caller. No other exception may be raised, and nothing ambiguous may pass."""
    try:
        target = read_target(raw)
    except BridgeError:
        return

    assert target.path + target.query == raw
    assert raw.isascii()
    assert raw.isprintable()
    assert not {".", ".."} & set(target.segments)
    assert "" not in target.segments or target.path == "/"
    assert not any(re.search(r"[/\\;?#%\x00-\x1f\x7f]", segment) for segment in target.segments)
