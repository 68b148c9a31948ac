"""What may be changed at IBKR: rules that refuse before a byte leaves, and doubts that count as refusals."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ibkr_bridge import errors
from ibkr_bridge.catalogue import CATALOGUE, find
from ibkr_bridge.endpoint import Effect, Order
from ibkr_bridge.orders.rules import Asked, Standing, judge, read_call

PAPER, LIVE, ODD = "DU1234567", "U7654321", "XX123"
PLACE = f"/iserver/account/{PAPER}/orders"
LIVE_MONEY = Standing(paper_mode=False)

NUMBERS = st.one_of(st.none(), st.decimals(allow_nan=False, allow_infinity=False, places=2))
STANDINGS = st.builds(
    Standing,
    read_only=st.booleans(),
    paper_mode=st.booleans(),
    paused=st.booleans(),
    allowed=st.frozensets(st.sampled_from([PAPER, LIVE, ODD])),
    max_quantity=NUMBERS,
    max_value=NUMBERS,
    paid_snapshots=st.booleans(),
    session_accounts=st.frozensets(st.sampled_from([PAPER, LIVE, ODD])),
    session_is_paper=st.sampled_from([True, False, None]),
)
ASKED = st.builds(
    Asked,
    effect=st.sampled_from(Effect),
    order=st.sampled_from([None, *Order]),
    accounts=st.frozensets(st.sampled_from([PAPER, LIVE, ODD])),
    sizes=st.lists(NUMBERS, max_size=3).map(tuple),
)


def read(target: str, body: Any = b"", method: str = "POST") -> Asked:
    """A call as the rules see it; `body` as bytes, or as JSON."""
    path, _, query = target.partition("?")
    segments = tuple(path.strip("/").split("/"))
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return read_call(find(method, segments), segments, query, raw)


def placed(quantity: Any = 1, account: str = PAPER, **ticket: Any) -> Asked:
    """An order as an app places it."""
    return read(f"/iserver/account/{account}/orders", {"orders": [{"conid": 1, "quantity": quantity, **ticket}]})


def verdict(asked: Asked, standing: Standing) -> str | None:
    """The code of the refusal; None where the call may pass."""
    refusal = judge(asked, standing)
    return refusal.error.code if refusal else None


# -- paper mode


@pytest.mark.parametrize(
    ("account", "listed", "said", "code"),
    [
        ("DU1234567", (), None, None),
        ("DF1234567", (), None, None),
        ("DI1234567", (), True, None),
        ("U7654321", (), None, "paper_only"),
        ("U7654321", (), True, "paper_only"),
        ("U7654321", ("U7654321",), None, "paper_only"),
        ("U7654321", ("U7654321",), True, None),
        ("DU1234567", ("DU1234567",), False, "paper_only"),
        ("XX123", (), None, "paper_only"),
        ("XX123", ("XX123",), True, None),
        ("DU", (), None, "paper_only"),
        ("DU1234567U7654321", (), None, "paper_only"),
        ("du1234567", (), None, "paper_only"),
        ("All", (), None, "paper_only"),
        ("", (), None, "paper_only"),
    ],
)
def test_paper_mode_trades_only_what_is_known_to_be_paper(
    account: str, listed: tuple[str, ...], said: bool | None, code: str | None
) -> None:
    """An account in doubt is a live one: real money never moves by default."""
    standing = Standing(session_accounts=frozenset(listed), session_is_paper=said)

    assert verdict(placed(account=account), standing) == code


@pytest.mark.parametrize(
    ("listed", "said", "code"),
    [((), None, "paper_only"), ((PAPER,), None, None), ((PAPER, LIVE), None, "paper_only"), ((ODD,), True, None)],
)
def test_a_call_that_names_no_account_concerns_all_of_the_login(
    listed: tuple[str, ...], said: bool | None, code: str | None
) -> None:
    """A reply to a question says yes to money without naming whose."""
    standing = Standing(session_accounts=frozenset(listed), session_is_paper=said)

    assert verdict(read("/iserver/reply/abc", {"confirmed": True}), standing) == code


def test_live_mode_trades_a_live_account() -> None:
    """Whoever said live meant it."""
    assert verdict(placed(account=LIVE), LIVE_MONEY) is None


# -- where an account can hide

HIDING = [
    (f"/iserver/account/{PAPER}/orders", {"orders": [{"acctId": LIVE, "quantity": 1}]}),
    (f"/iserver/account/{PAPER}/orders", {"orders": [{"acctId": PAPER}, {"acctId": LIVE}]}),
    (f"/iserver/account/{PAPER}/orders", {"acctId": LIVE, "orders": []}),
    (f"/iserver/account/{PAPER}/orders", {"ACCTID": LIVE}),
    (f"/iserver/account/{PAPER}/orders", {"accountId": LIVE}),
    (f"/iserver/account/{PAPER}/orders", {"account": [PAPER, LIVE]}),
    (f"/iserver/account/{PAPER}/orders", {"accounts": {"nested": LIVE}}),
    (f"/iserver/account/{PAPER}/orders", {"accounts": [[LIVE]]}),
    (f"/iserver/account/{PAPER}/orders", [[[{"x": {"orders": [{"legs": {"acctId": LIVE}}]}}]]]),
    (f"/iserver/account/{PAPER}/orders", f'{{"acctId":"{LIVE}","acctId":"{PAPER}"}}'.encode()),
    (f"/iserver/account/{PAPER}/orders", f'{{"acctId":"{PAPER}","acctId":"{LIVE}"}}'.encode()),
    (f"/iserver/account/{PAPER}/orders", f'{{"acct\\u0049d":"\\u0055{LIVE[1:]}"}}'.encode()),
    (f"/iserver/account/{PAPER}/orders", f'\ufeff{{"acctId":"{LIVE}"}}'.encode()),
    (f"/iserver/account/{PAPER}/orders", f'{{"x":{{"acctId":"{LIVE}"}},"x":1}}'.encode()),
    (f"/iserver/account/{PAPER}/orders?accountId={LIVE}", {}),
    (f"/iserver/account/{PAPER}/orders?ACCTID={LIVE}", {}),
    (f"/iserver/account/{PAPER}/orders?a=1&acctI%64=%55{LIVE[1:]}", {}),
    (f"/iserver/account/{PAPER}/orders?acctId={PAPER}&acctId={LIVE}", {}),
    (f"/iserver/account/{PAPER}/orders?a=1;acctId={LIVE}", {}),
    (f"/iserver/account/{LIVE}/order/77", {"acctId": PAPER}),
]


@pytest.mark.parametrize(("target", "body"), HIDING)
def test_an_account_is_found_wherever_it_is_named(target: str, body: Any) -> None:
    """Nobody knows which of two mentions IBKR takes: every one has to be allowed."""
    asked = read(target, body)

    assert verdict(asked, Standing()) == "paper_only"
    assert verdict(asked, Standing(paper_mode=False, allowed=frozenset({PAPER}))) == "account_not_allowed"


@settings(deadline=None)
@given(
    st.sampled_from(["acctId", "ACCTID", "accountId", "account", "acctIds", "accountIds", "accounts"]),
    st.lists(st.one_of(st.none(), st.text(max_size=8)), max_size=12),
)
def test_no_depth_hides_an_account(name: str, depth: list[str | None]) -> None:
    """Lists and objects around it, as many as you like."""
    body: Any = {name: LIVE}
    for member in depth:
        body = [body] if member is None else {member: body}

    assert LIVE in read(PLACE, body).accounts


# -- allowed accounts, read only, pause


@pytest.mark.parametrize(
    ("account", "code"), [(PAPER, None), (LIVE, "account_not_allowed"), (PAPER.lower(), "account_not_allowed")]
)
def test_only_allowed_accounts_are_traded(account: str, code: str | None) -> None:
    """Where some were named, all others are out."""
    assert verdict(placed(account=account), Standing(paper_mode=False, allowed=frozenset({PAPER}))) == code


def test_an_order_that_names_no_account_is_not_among_the_allowed() -> None:
    """An allocation group trades in accounts nobody sees here; in doubt a rule refuses."""
    asked = read("/iserver/account/orders/everybody", {"orders": [{"conid": 1, "quantity": 1}]})

    assert verdict(asked, Standing(paper_mode=False, allowed=frozenset({PAPER}))) == "account_not_allowed"


CHANGES = [
    ("POST", PLACE, {"orders": []}),
    ("POST", f"/iserver/account/{PAPER}/order/77", {"quantity": 1}),
    ("POST", "/iserver/reply/abc", {"confirmed": True}),
    ("POST", "/iserver/notification", {"text": "Yes"}),
    ("POST", "/iserver/questions/suppress", {"messageIds": ["o163"]}),
    ("POST", "/iserver/watchlist", {"id": "1"}),
    ("DELETE", "/iserver/watchlist", b""),
    ("PUT", "/iserver/whatever/new", {}),
    ("PATCH", "/portfolio/whatever", {}),
]


@pytest.mark.parametrize(("method", "target", "body"), [*CHANGES, ("DELETE", f"/iserver/account/{PAPER}/order/7", b"")])
def test_read_only_changes_nothing(method: str, target: str, body: Any) -> None:
    """Cancels included: read only is read only."""
    standing = Standing(read_only=True, paper_mode=False)

    assert verdict(read(target, body, method), standing) == "read_only"


@pytest.mark.parametrize(("method", "target", "body"), CHANGES)
def test_a_pause_stops_every_change_but_a_cancel(method: str, target: str, body: Any) -> None:
    """The hand brake holds for replies too: they are what makes an order go out."""
    assert verdict(read(target, body, method), Standing(paper_mode=False, paused=True)) == "paused"


# -- getting out is always possible


@pytest.mark.parametrize(
    ("standing", "code"),
    [
        (Standing(paused=True, max_quantity=Decimal(0), max_value=Decimal(0)), None),
        (Standing(allowed=frozenset({PAPER}), paused=True), None),
        (Standing(read_only=True), "read_only"),
        (Standing(session_is_paper=False), "paper_only"),
        (Standing(allowed=frozenset({LIVE})), "account_not_allowed"),
    ],
)
def test_a_cancel_passes_pause_and_caps_but_not_what_may_be_touched_at_all(
    standing: Standing, code: str | None
) -> None:
    """Whoever may trade an account can always get out of its orders."""
    assert verdict(read(f"/iserver/account/{PAPER}/order/77", b"", "DELETE"), standing) == code


# -- caps


@pytest.mark.parametrize(
    ("quantity", "code"),
    [
        (10, None),
        (9.999, None),
        ("10", None),
        (" 10 ", None),
        (0, None),
        (10.000001, "order_limit"),
        ("10.000000000000000000001", "order_limit"),
        (11, "order_limit"),
        (1e300, "order_limit"),
        (-1, "order_limit"),
        (True, "order_limit"),
        (None, "order_limit"),
        ("", "order_limit"),
        ("ten", "order_limit"),
        ("NaN", "order_limit"),
        ("Infinity", "order_limit"),
        ([1], "order_limit"),
        ({"amount": 1}, "order_limit"),
    ],
)
def test_a_size_is_capped_and_what_is_no_size_is_too_large(quantity: Any, code: str | None) -> None:
    """One slip of a finger is bounded; a size that cannot be read is not."""
    assert verdict(placed(quantity), Standing(max_quantity=Decimal(10))) == code


@pytest.mark.parametrize(
    "body",
    [
        b'{"quantity":11,"quantity":1}',
        b'{"quantity":1,"quantity":11}',
        b'{"quantity":NaN}',
        b'{"quantity":Infinity}',
        b'{"quantity":-Infinity}',
        b'{"quantity":1e400}',
        b'{"quantity":10.00000000000000000000000000001}',
        b'{"QUANTITY":11}',
        b'{"totalSize":11}',
        b'{"quantity":1,"cashQty":50}',
        b'{"cashQty":50}',
        b'{"quantity":1,"fxQty":50}',
        b'{"orders":[{"quantity":1},{"quantity":11,"parentId":"x"}]}',
        b'{"orders":[{"quantity":1,"legs":[{"quantity":11}]}]}',
        b'{"orders":[{"conid":1}]}',
        b"{}",
        b"[]",
        b"",
        b"11",
    ],
)
def test_a_size_over_the_cap_is_found_wherever_it_stands(body: bytes) -> None:
    """Sizes in money follow no count of shares, and a missing one says nothing at all."""
    for target in (PLACE, f"/iserver/account/{PAPER}/order/77"):
        assert verdict(read(target, body), Standing(max_quantity=Decimal(10))) == "order_limit"


def test_without_a_cap_no_size_is_asked_for() -> None:
    """Nobody who set no limit meets one."""
    assert verdict(placed("anything"), Standing()) is None


def test_a_value_cap_refuses_while_no_value_can_be_bounded() -> None:
    """Better no order than one over the limit that was asked for; and the way out is said."""
    refusal = judge(placed(1, price=1), Standing(max_value=Decimal(1000000)))

    assert refusal is not None
    error = refusal.raised()
    assert (error.code, error.status) == ("order_limit", 403)
    assert "IBKR_MAX_ORDER_VALUE" in error.hint


def test_caps_do_not_hold_up_replies() -> None:
    """The order they answer for was judged when it was placed."""
    standing = Standing(max_quantity=Decimal(1), max_value=Decimal(1), session_accounts=frozenset({PAPER}))

    assert verdict(read("/iserver/reply/abc", {"confirmed": True}), standing) is None


# -- what costs money, what only reads


@pytest.mark.parametrize(("allowed", "code"), [(False, "scope"), (True, None)])
def test_paid_snapshots_pass_only_where_somebody_said_so(allowed: bool, code: str | None) -> None:
    """IBKR charges for every call, paper account or not."""
    asked = read("/md/regsnapshot?conid=1", b"", "GET")

    assert verdict(asked, Standing(paid_snapshots=allowed, read_only=True, paused=True)) == code


@settings(deadline=None)
@given(st.sampled_from([row for row in CATALOGUE if row.effect is Effect.READ]), STANDINGS, st.binary())
def test_reads_are_never_refused_by_these_rules(row: Any, standing: Standing, body: bytes) -> None:
    """A paused, read-only bridge still shows everything, and a what-if may have any body."""
    asked = read_call(row, row.segments, f"accountId={LIVE}", body)

    assert judge(asked, standing) is None


# -- nothing confuses them


@settings(deadline=None)
@given(ASKED, STANDINGS)
def test_no_facts_confuse_the_judge(asked: Asked, standing: Standing) -> None:
    """A verdict for every case, and whatever passes broke none of the promises."""
    refusal = judge(asked, standing)

    assert refusal is None or isinstance(refusal.raised(), errors.BridgeError)
    changes = asked.effect is Effect.TRADE or asked.order is Order.CANCEL
    if refusal is None and changes:
        assert not standing.read_only
        assert asked.accounts <= standing.allowed or not standing.allowed
        assert not standing.paper_mode or standing.session_is_paper is not False
        assert not standing.paused or asked.order is Order.CANCEL


@settings(deadline=None)
@given(
    st.sampled_from(CATALOGUE),
    st.text(),
    st.one_of(st.binary(), st.text().map(str.encode), st.from_regex(rb'\{"quantity":-?[0-9.]{1,9}[eE]\d{1,30}\}')),
)
@example(find("POST", ("iserver", "account", PAPER, "orders")), "", b'{"quantity":1e99999999999999999999}')
@example(find("POST", ("iserver", "account", PAPER, "orders")), "", b'{"quantity":' + b"9" * 5000 + b"}")
@example(find("POST", ("iserver", "account", PAPER, "orders")), "", b"[" * 100_000)
@example(find("POST", ("iserver", "account", PAPER, "orders")), "", b"\xff\xfe\x00")
def test_no_bytes_crash_the_reader(row: Any, query: str, body: bytes) -> None:
    """A call is read, or it is a bad request: never our own bug with somebody's money in it."""
    try:
        asked = read_call(row, row.segments, query, body)
    except errors.BadRequest:
        assert row.effect is Effect.TRADE
    else:
        assert (asked.effect, asked.order) == (row.effect, row.order)


@pytest.mark.parametrize("body", [b"quantity=1", b"{", b"{'a':1}", b"\xff", b'{"a":1}}', b"<order/>"])
def test_a_change_the_rules_cannot_read_is_refused(body: bytes) -> None:
    """What we cannot see into we do not send."""
    with pytest.raises(errors.BadRequest):
        read(PLACE, body)
