"""The rules that refuse an order before a byte leaves. What is not certain counts as forbidden."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ibkr_bridge import errors
from ibkr_bridge.calls.facts import RequestFacts, facts_of_call
from ibkr_bridge.calls.order_tickets import parse_order_tickets
from ibkr_bridge.ibkr.catalogue import CATALOGUE, decode_segments, match
from ibkr_bridge.ibkr.endpoint import Effect, OrderOperation
from ibkr_bridge.orders.rules.rules import RuleContext, first_refusal

PAPER, LIVE, ODD = "DU1234567", "U7654321", "XX123"
PLACE = f"/iserver/account/{PAPER}/orders"
LIVE_MONEY = RuleContext(paper_mode=False)

NUMBERS = st.one_of(st.none(), st.decimals(allow_nan=False, allow_infinity=False, places=2))
RULE_CONTEXTS = st.builds(
    RuleContext,
    read_only=st.booleans(),
    paper_mode=st.booleans(),
    paused=st.booleans(),
    allowed=st.frozensets(st.sampled_from([PAPER, LIVE, ODD])),
    max_quantity=NUMBERS,
    max_value=NUMBERS,
    paid_snapshots=st.booleans(),
    session_accounts=st.frozensets(st.sampled_from([PAPER, LIVE, ODD])),
    session_is_paper=st.sampled_from([True, False, None]),
    login_is_paper=st.sampled_from([True, False, None]),
)
REQUEST_FACTS = st.builds(
    RequestFacts,
    effect=st.sampled_from(Effect),
    operation=st.sampled_from([None, *OrderOperation]),
    accounts=st.frozensets(st.sampled_from([PAPER, LIVE, ODD])),
    sizes=st.lists(NUMBERS, max_size=3).map(tuple),
    order_values=st.one_of(st.none(), st.lists(NUMBERS, max_size=3).map(tuple)),
    may_concern_other_accounts=st.booleans(),
    concerns_login=st.booleans(),
    is_declining=st.booleans(),
    may_cancel_several=st.booleans(),
    confirmations=st.frozensets(st.sampled_from(["cancel-all", "o163"])),
)


def parse_facts(
    target: str, body: Any = b"", method: str = "POST", confirmed: frozenset[str] = frozenset()
) -> RequestFacts:
    """The facts of a call that the rules check. The body is bytes, or a value that is sent as JSON."""
    path, _, query = target.partition("?")
    segments = decode_segments(path)
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return facts_of_call(match(method, segments), segments, query, parse_order_tickets(raw), confirmations=confirmed)


def placement(quantity: Any = 1, account: str = PAPER, **ticket: Any) -> RequestFacts:
    """The facts of an order that an app places."""
    return parse_facts(f"/iserver/account/{account}/orders", {"orders": [{"conid": 1, "quantity": quantity, **ticket}]})


def refusal_code(facts: RequestFacts, rule_context: RuleContext) -> str | None:
    """The code of the refusal; None if the call passes."""
    refusal = first_refusal(facts, rule_context)
    return refusal.error.code if refusal else None


# -- paper mode


@pytest.mark.parametrize(
    ("account", "listed", "session_is_paper", "code"),
    [
        ("DU1234567", (), None, None),
        ("DF1234567", (), None, None),
        ("DI1234567", (), True, None),
        ("U7654321", (), None, "paper_only"),
        ("U7654321", (), True, "paper_only"),
        ("U7654321", ("U7654321",), None, "paper_only"),
        ("U7654321", ("U7654321",), True, "paper_only"),  # the number of a live account in a session called paper
        ("DU1234567", ("DU1234567",), False, "paper_only"),
        ("XX123", (), None, "paper_only"),
        ("XX123", ("XX123",), True, "paper_only"),  # its form is unknown, so it is not known to be a paper account
        ("DU", (), None, "paper_only"),
        ("DU\u0661\u0662\u0663", (), None, "paper_only"),
        ("DU1234567U7654321", (), None, "paper_only"),
        ("DU1234567A", (), None, None),
        ("DF7654321C", (), True, None),
        ("DU1234567A", (), False, "paper_only"),
        ("U1234567A", (), None, "paper_only"),
        ("DU1234567AB", (), None, "paper_only"),
        ("DU1234567a", (), None, "paper_only"),
        ("du1234567", (), None, "paper_only"),
        ("All", (), None, "paper_only"),
        ("", (), None, "paper_only"),
    ],
)
def test_paper_mode_trades_only_accounts_that_are_known_to_be_paper(
    account: str, listed: tuple[str, ...], session_is_paper: bool | None, code: str | None
) -> None:
    """An account that is not known to be a paper account counts as live, so no real money moves by default."""
    rule_context = RuleContext(session_accounts=frozenset(listed), session_is_paper=session_is_paper)

    assert refusal_code(placement(account=account), rule_context) == code


@pytest.mark.parametrize("session", [True, False, None])
@pytest.mark.parametrize("login", [True, False, None])
@pytest.mark.parametrize("account", [PAPER, LIVE, ODD])
def test_one_sign_of_a_live_account_outweighs_all_signs_of_a_paper_account(
    account: str, session: bool | None, login: bool | None
) -> None:
    """The number of the account must be that of a paper account, and neither the session nor the login may be live."""
    rule_context = RuleContext(session_accounts=frozenset({account}), session_is_paper=session, login_is_paper=login)

    is_paper = account == PAPER and session is not False and login is not False
    assert refusal_code(placement(account=account), rule_context) == (None if is_paper else "paper_only")


@pytest.mark.parametrize(
    ("listed", "session_is_paper", "code"),
    [
        ((), None, "paper_only"),
        ((PAPER,), None, None),
        ((PAPER, LIVE), None, "paper_only"),
        ((ODD,), True, "paper_only"),
        ((PAPER,), False, "paper_only"),
    ],
)
def test_a_call_without_an_account_concerns_all_accounts_of_the_login(
    listed: tuple[str, ...], session_is_paper: bool | None, code: str | None
) -> None:
    """A reply to a question places an order without naming its account."""
    rule_context = RuleContext(session_accounts=frozenset(listed), session_is_paper=session_is_paper)

    assert refusal_code(parse_facts("/iserver/reply/abc", {"confirmed": True}), rule_context) == code


def test_a_group_concerns_more_than_the_account_it_names() -> None:
    """The other accounts of the group may be live although the ticket names a paper account."""
    facts = parse_facts("/iserver/account/orders/everybody", {"orders": [{"acctId": PAPER, "conid": 1, "quantity": 1}]})

    assert refusal_code(facts, RuleContext(session_accounts=frozenset({PAPER}))) is None
    assert refusal_code(facts, RuleContext(session_accounts=frozenset({PAPER, LIVE}))) == "paper_only"


@pytest.mark.parametrize("name", ["All", "Family"])
@pytest.mark.parametrize(
    ("listed", "session_is_paper", "code"),
    [
        ((PAPER, "DU7654321B"), True, None),
        ((PAPER,), False, "paper_only"),
        ((PAPER, LIVE), True, "paper_only"),
        ((), True, "paper_only"),
    ],
)
def test_a_group_stands_for_the_accounts_of_the_login(
    name: str, listed: tuple[str, ...], session_is_paper: bool, code: str | None
) -> None:
    """A paper login has only paper accounts. If its list of accounts is not known, the group counts as live."""
    groups = frozenset({"All", "Family"})
    rule_context = RuleContext(
        session_accounts=frozenset(listed), session_groups=groups, session_is_paper=session_is_paper
    )

    assert refusal_code(placement(account=name), rule_context) == code
    assert refusal_code(placement(account=name, acctId=PAPER), rule_context) == code
    assert refusal_code(placement(account=PAPER, acctId=name), rule_context) == code


def test_a_group_that_the_login_does_not_have_is_refused() -> None:
    """The login does not have this group, so its accounts are not known."""
    rule_context = RuleContext(session_accounts=frozenset({PAPER}), session_groups=frozenset({"All"}))

    assert refusal_code(placement(account="Others"), rule_context) == "paper_only"


def test_a_group_is_not_among_the_allowed_accounts() -> None:
    """The group may hold accounts that are not in the list of allowed accounts."""
    rule_context = RuleContext(
        session_accounts=frozenset({PAPER}), session_groups=frozenset({"All"}), allowed=frozenset({PAPER})
    )

    assert refusal_code(placement(account="All"), rule_context) == "account_not_allowed"


LOGIN = replace(
    LIVE_MONEY, session_accounts=frozenset({PAPER}), login_accounts=frozenset({PAPER, "U7777777", "All", "Family"})
)


@pytest.mark.parametrize(
    ("account", "code"),
    [(PAPER, None), ("U7777777", None), ("All", None), ("Family", None)]
    + [(other, "account_not_allowed") for other in (LIVE, PAPER.lower(), "DU1234568", "Others", "")],
)
def test_an_order_for_an_account_that_the_login_does_not_have_is_refused(account: str, code: str | None) -> None:
    """IBKR would refuse the order too, but its text does not show that the number has a wrong digit."""
    assert refusal_code(placement(account=account), LOGIN) == code
    assert refusal_code(parse_facts(f"/iserver/account/{account or '%20'}/order/7", {"quantity": 1}), LOGIN) == code
    assert refusal_code(placement(account=account), replace(LOGIN, login_accounts=frozenset())) is None


def test_the_refusal_names_the_accounts_of_the_login() -> None:
    """The hint helps to find the wrong digit; the numbers are masked."""
    many = frozenset(f"DU12345{number:02}" for number in range(12))
    for accounts, shown in ((frozenset({PAPER}), "it has DU*****67;"), (many, "DU*****09, …;")):
        refusal = first_refusal(placement(account=LIVE), replace(LOGIN, session_accounts=accounts))

        assert refusal is not None
        assert shown in (refusal.hint or "")


def test_a_cancel_passes_in_an_account_that_the_login_does_not_list() -> None:
    """The list of accounts may be out of date, so it must not stop a cancel."""
    assert refusal_code(parse_facts(f"/iserver/account/{LIVE}/order/77", b"", "DELETE"), LOGIN) is None


def test_live_mode_trades_a_live_account() -> None:
    """The setting `live` allows live accounts."""
    assert refusal_code(placement(account=LIVE), LIVE_MONEY) is None


# -- where a call can name an account

NAMING_LIVE = [
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


@pytest.mark.parametrize(("target", "body"), NAMING_LIVE)
def test_an_account_is_found_wherever_it_is_named(target: str, body: Any) -> None:
    """IBKR may use any of the accounts that a call names, so each of them must be allowed."""
    facts = parse_facts(target, body)

    assert refusal_code(facts, RuleContext()) == "paper_only"
    assert refusal_code(facts, RuleContext(paper_mode=False, allowed=frozenset({PAPER}))) == "account_not_allowed"


@given(
    st.sampled_from(["acctId", "ACCTID", "accountId", "account", "acctIds", "accountIds", "accounts"]),
    st.lists(st.one_of(st.none(), st.text(max_size=8)), max_size=12),
)
def test_an_account_is_found_at_any_depth(name: str, depth: list[str | None]) -> None:
    """An account is also found inside many lists and objects."""
    body: Any = {name: LIVE}
    for member in depth:
        body = [body] if member is None else {member: body}

    assert LIVE in parse_facts(PLACE, body).accounts


# -- allowed accounts, read only, pause


@pytest.mark.parametrize(
    ("account", "code"), [(PAPER, None), (LIVE, "account_not_allowed"), (PAPER.lower(), "account_not_allowed")]
)
def test_only_allowed_accounts_are_traded(account: str, code: str | None) -> None:
    """An account that is not in the list is refused."""
    assert refusal_code(placement(account=account), RuleContext(paper_mode=False, allowed=frozenset({PAPER}))) == code


def test_an_order_without_an_account_is_refused_if_accounts_are_limited() -> None:
    """An allocation group trades in accounts that the bridge does not know."""
    facts = parse_facts("/iserver/account/orders/everybody", {"orders": [{"conid": 1, "quantity": 1}]})

    assert refusal_code(facts, RuleContext(paper_mode=False, allowed=frozenset({PAPER}))) == "account_not_allowed"


@pytest.mark.parametrize(
    ("method", "target", "body"),
    [
        ("POST", "/fa/model/submit-transfers", {"fpOrderId": 3}),
        ("POST", "/fa/model/invest-divest", {"model": "growth", "accountList": []}),
        ("POST", "/fa/fa-preset/save", {"presets": {}}),
        ("POST", "/iserver/account/allocation/group/delete", {"name": "family"}),
        ("POST", "/iserver/account/allocation/presets", {"default_method": "E"}),
        ("PUT", "/iserver/account/allocation/group", {"name": "a", "prev_name": "b"}),
    ],
)
def test_a_call_for_models_or_groups_is_refused_if_accounts_are_limited(method: str, target: str, body: Any) -> None:
    """A model may hold accounts that IBKR does not list for the login, so the list proves nothing."""
    rule_context = RuleContext(paper_mode=False, allowed=frozenset({PAPER}), session_accounts=frozenset({PAPER}))

    assert refusal_code(parse_facts(target, body, method), rule_context) == "account_not_allowed"


def test_a_group_whose_accounts_are_all_named_and_allowed_passes() -> None:
    """The call names every account that it concerns."""
    rule_context = RuleContext(paper_mode=False, allowed=frozenset({PAPER, LIVE}))
    group = {"name": "mine", "accounts": [{"name": PAPER, "amount": 1}, {"name": LIVE, "amount": 2}]}

    assert refusal_code(parse_facts("/iserver/account/allocation/group", group), rule_context) is None
    assert refusal_code(
        parse_facts("/iserver/account/allocation/group", group), replace(rule_context, allowed=frozenset({LIVE}))
    )


@pytest.mark.parametrize(
    ("session_accounts", "code"),
    [((PAPER,), None), ((PAPER, LIVE), "account_not_allowed"), ((), "account_not_allowed")],
)
@pytest.mark.parametrize("target", ["/iserver/notification", "/iserver/questions/suppress"])
def test_a_call_for_the_whole_login_passes_if_all_its_accounts_are_allowed(
    target: str, session_accounts: tuple[str, ...], code: str | None
) -> None:
    """The call names no account, and the login has no others."""
    rule_context = RuleContext(
        paper_mode=False, allowed=frozenset({PAPER}), session_accounts=frozenset(session_accounts)
    )

    assert refusal_code(parse_facts(target, {"orderId": 7, "text": "Yes"}), rule_context) == code


TRADES = [
    ("POST", PLACE, {"orders": []}),
    ("POST", f"/iserver/account/{PAPER}/order/77", {"quantity": 1}),
    ("POST", "/iserver/reply/abc", {"confirmed": True}),
    ("POST", "/iserver/reply/abc", b""),
    ("POST", "/iserver/notification", {"text": "Yes"}),
    ("POST", "/iserver/questions/suppress", {"messageIds": ["o163"]}),
    ("POST", "/iserver/account/allocation/group", {"name": "all"}),
    ("POST", "/fa/model/save", {}),
    ("POST", f"/ccp/order?acct={PAPER}&conid=1&qty=1", b""),
    ("PUT", f"/ccp/order?acct={PAPER}&id=7&qty=1", b""),
    ("PUT", "/iserver/whatever/new", {}),
    ("PATCH", "/portfolio/whatever", {}),
]
OTHERS = [  # these change something at IBKR, but no order
    ("POST", "/iserver/watchlist", {"id": "1"}),
    ("DELETE", "/iserver/watchlist?id=1", b""),
    ("POST", "/iserver/account", {"acctId": PAPER}),
    ("POST", "/iserver/dynaccount", {"acctId": PAPER}),
    ("POST", f"/iserver/account/{PAPER}/alert", {"alertName": "x"}),
    ("POST", f"/iserver/account/{PAPER}/alert/activate", {"alertId": 1}),
    ("DELETE", f"/iserver/account/{PAPER}/alert/1", b""),
    ("POST", "/fyi/settings/PF", {"enabled": True}),
    ("PUT", "/fyi/notifications/1", b""),
]
CANCELS_AND_DECLINES = [
    ("DELETE", f"/iserver/account/{PAPER}/order/7", b""),
    ("DELETE", f"/ccp/order?acct={PAPER}&id=7", b""),
    ("POST", "/iserver/reply/abc", {"confirmed": False}),
]


@pytest.mark.parametrize(("method", "target", "body"), [*TRADES, *OTHERS, *CANCELS_AND_DECLINES])
def test_read_only_refuses_every_change(method: str, target: str, body: Any) -> None:
    """Read-only refuses cancels too."""
    rule_context = RuleContext(read_only=True, paper_mode=False)

    assert refusal_code(parse_facts(target, body, method), rule_context) == "read_only"


@pytest.mark.parametrize(("method", "target", "body"), TRADES)
def test_a_pause_stops_every_call_that_trades(method: str, target: str, body: Any) -> None:
    """The pause stops replies too, since a reply is what places the order."""
    assert (
        refusal_code(parse_facts(target, body, method), RuleContext(paper_mode=False, paused=True)) == "trading_paused"
    )


@pytest.mark.parametrize(("method", "target", "body"), OTHERS)
def test_a_pause_and_limits_pass_calls_that_do_not_trade(method: str, target: str, body: Any) -> None:
    """A watchlist places no order. The rules about accounts still apply to it."""
    limits = RuleContext(
        paused=True, max_quantity=Decimal(0), max_value=Decimal(0), session_accounts=frozenset({PAPER})
    )

    assert refusal_code(parse_facts(target, body, method), limits) is None
    assert refusal_code(parse_facts(target, body, method), RuleContext(session_accounts=frozenset({LIVE, PAPER}))) == (
        None if PAPER in target or PAPER in str(body) else "paper_only"
    )


def test_an_account_is_found_in_calls_that_do_not_trade() -> None:
    """An alert and the selection of an account also concern an account."""
    rule_context = RuleContext(paper_mode=False, allowed=frozenset({PAPER}))

    assert refusal_code(parse_facts("/iserver/account", {"acctId": LIVE}), rule_context) == "account_not_allowed"
    assert refusal_code(parse_facts(f"/iserver/account/{LIVE}/alert", {}), rule_context) == "account_not_allowed"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_an_older_order_call_without_an_account_is_refused_if_accounts_are_limited(method: str) -> None:
    """The path of this call has no place for an account."""
    facts = parse_facts("/ccp/order?id=7", b"", method)

    assert refusal_code(facts, RuleContext(paper_mode=False, allowed=frozenset({PAPER}))) == "account_not_allowed"


def test_an_answer_to_a_notice_passes_the_limits() -> None:
    """The answer names no size, and the rules checked its order when it was placed."""
    limits = RuleContext(max_quantity=Decimal(0), max_value=Decimal(0), session_accounts=frozenset({PAPER}))

    assert (
        refusal_code(parse_facts("/iserver/notification", {"orderId": 7, "reqId": "1", "text": "Yes"}), limits) is None
    )


# -- cancels always pass


@pytest.mark.parametrize(
    ("rule_context", "code"),
    [
        (RuleContext(paused=True, max_quantity=Decimal(0), max_value=Decimal(0)), None),
        (RuleContext(allowed=frozenset({PAPER}), paused=True), None),
        (RuleContext(read_only=True), "read_only"),
        (RuleContext(session_is_paper=False), "paper_only"),
        (RuleContext(allowed=frozenset({LIVE})), "account_not_allowed"),
    ],
)
def test_a_cancel_passes_pause_and_limits_but_not_the_rules_about_accounts(
    rule_context: RuleContext, code: str | None
) -> None:
    """A caller that may trade an account can always cancel its orders."""
    assert refusal_code(parse_facts(f"/iserver/account/{PAPER}/order/77", b"", "DELETE"), rule_context) == code


@pytest.mark.parametrize(("method", "target", "body"), CANCELS_AND_DECLINES)
def test_cancels_and_declines_pass_pause_and_limits(method: str, target: str, body: Any) -> None:
    """A reply that declines a question places nothing."""
    limits = RuleContext(
        paused=True, max_quantity=Decimal(0), max_value=Decimal(0), session_accounts=frozenset({PAPER})
    )

    assert refusal_code(parse_facts(target, body, method), limits) is None


@pytest.mark.parametrize(
    ("body", "declines"),
    [
        (b'{"confirmed":false}', True),
        (b' {"confirmed" : false , "x": 1}', True),
        (b'{"confirmed":false,"confirmed":false}', True),
        (b'{"confirmed":true}', False),
        (b'{"confirmed":false,"confirmed":true}', False),
        (b'{"confirmed":true,"confirmed":false}', False),
        (b'{"confirmed":false,"Confirmed":true}', False),
        (b'{"confirmed":false,"x":{"confirmed":true}}', False),
        (b'{"Confirmed":false}', False),
        (b'{"x":{"confirmed":false}}', False),
        (b'[{"confirmed":false}]', False),
        (b'{"confirmed":"false"}', False),
        (b'{"confirmed":0}', False),
        (b'{"confirmed":null}', False),
        (b"{}", False),
        (b"false", False),
        (b"", False),
    ],
)
def test_a_reply_declines_only_if_nothing_in_it_confirms(body: bytes, declines: bool) -> None:
    """A reply that declines passes while trading is paused, so IBKR must not be able to read a yes in it."""
    rule_context = RuleContext(paused=True, session_accounts=frozenset({PAPER}))
    facts = parse_facts("/iserver/reply/abc", body)

    assert facts.is_declining is declines
    assert refusal_code(facts, rule_context) == (None if declines else "trading_paused")
    assert refusal_code(parse_facts("/iserver/reply/abc?confirmed=true", body), rule_context) == "trading_paused"


def test_only_a_reply_can_decline() -> None:
    """`confirmed` in the body of an order does not stop IBKR from placing it."""
    assert not parse_facts(PLACE, {"confirmed": False, "orders": []}).is_declining


# -- cancels of more than one order


@pytest.mark.parametrize("order", ["7", "77", "1234567890", "9" * 30])
def test_the_cancel_of_one_order_needs_no_confirmation(order: str) -> None:
    """A plain number means one order, so no confirmation is needed."""
    assert refusal_code(parse_facts(f"/iserver/account/{PAPER}/order/{order}", b"", "DELETE"), RuleContext()) is None


@pytest.mark.parametrize(
    "order",
    [
        "-1",
        "%2D1",
        "%2d1",
        "-01",
        "0",
        "00",
        "01",
        "+1",
        "%2B1",
        "1.0",
        "1e1",
        "%201",
        "1%20",
        "%D9%A1",
        "all",
        "whatif",
    ],
)
@pytest.mark.parametrize("path", ["/iserver/account/{}/order/{}", "/iserver/Account/{}/Order/{}"])
def test_a_cancel_that_may_mean_all_orders_needs_a_confirmation(path: str, order: str) -> None:
    """IBKR takes -1 for all orders of an account, and it is not known what else IBKR reads as -1."""
    target = path.format(PAPER, order)
    refusal = first_refusal(parse_facts(target, b"", "DELETE"), RuleContext())

    assert refusal is not None
    error = refusal.as_error()
    assert (error.code, error.status, "X-Bridge-Confirm: cancel-all" in error.hint) == (
        "confirmation_required",
        403,
        True,
    )
    for words in ({"o163"}, {"Cancel-All"}, {"cancel"}):
        assert (
            refusal_code(parse_facts(target, b"", "DELETE", frozenset(words)), RuleContext()) == "confirmation_required"
        )
    assert refusal_code(parse_facts(target, b"", "DELETE", frozenset({"o163", "cancel-all"})), RuleContext()) is None


def test_a_confirmation_does_not_replace_the_other_rules() -> None:
    """A caller that may not trade an account cannot confirm a cancel there either."""
    facts = parse_facts(f"/iserver/account/{LIVE}/order/-1", b"", "DELETE", frozenset({"cancel-all"}))

    assert refusal_code(facts, RuleContext()) == "paper_only"
    assert refusal_code(facts, RuleContext(read_only=True)) == "read_only"


# -- limits of size and value


@pytest.mark.parametrize(
    ("quantity", "code"),
    [
        (10, None),
        (9.999, None),
        ("10", None),
        (" 10 ", None),
        (0, None),
        (10.000001, "order_limit_exceeded"),
        ("10.000000000000000000001", "order_limit_exceeded"),
        (11, "order_limit_exceeded"),
        (1e300, "order_limit_exceeded"),
        (-1, "order_limit_exceeded"),
        (True, "order_limit_exceeded"),
        (None, "order_limit_exceeded"),
        ("", "order_limit_exceeded"),
        ("ten", "order_limit_exceeded"),
        ("NaN", "order_limit_exceeded"),
        ("Infinity", "order_limit_exceeded"),
        ([1], "order_limit_exceeded"),
        ({"amount": 1}, "order_limit_exceeded"),
    ],
)
def test_a_size_that_is_too_large_or_unreadable_is_refused(quantity: Any, code: str | None) -> None:
    """The limit bounds the damage of a typing error. A size that cannot be read has no bound."""
    assert refusal_code(placement(quantity), RuleContext(max_quantity=Decimal(10))) == code


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
        b'{"orders":[{"quantity":1},{"isClose":true}]}',
        b'{"quantity":2,"conidex":"28812380;;;265598/1,8314/-6"}',
        b'{"orders":[{"quantity":1,"conidex":"28812380;;;265598/11"},{"quantity":1}]}',
        b'{"quantity":1,"conidex":"28812380;;;265598/x"}',
        b'{"orders":[{"conid":1}]}',
        b"{}",
        b"[]",
        b"",
        b"11",
    ],
)
def test_a_size_over_the_limit_is_found_wherever_it_stands(body: bytes) -> None:
    """A size in money cannot be compared with a number of shares, and a missing size has no bound."""
    for target in (PLACE, f"/iserver/account/{PAPER}/order/77"):
        assert refusal_code(parse_facts(target, body), RuleContext(max_quantity=Decimal(10))) == "order_limit_exceeded"


def test_without_a_limit_no_size_is_checked() -> None:
    """Without the setting an unreadable size is no reason to refuse."""
    assert refusal_code(placement("anything"), RuleContext()) is None


@pytest.mark.parametrize(
    ("order_values", "detail"),
    [
        ((Decimal(1000),), None),
        ((Decimal(0),), None),
        ((Decimal(1000), Decimal(999)), None),
        ((Decimal("1000.000000000000000000000000000001"),), "may be larger than 1000"),
        ((Decimal(1), Decimal(1001)), "may be larger than 1000"),
        ((Decimal(1), None), "cannot be bounded"),
        ((None,), "cannot be bounded"),
        ((), "cannot be bounded"),
        (None, "cannot be bounded"),
    ],
)
@pytest.mark.parametrize("target", [PLACE, f"/iserver/account/{PAPER}/order/77"])
def test_a_value_that_is_too_large_or_has_no_bound_is_refused(
    target: str, order_values: tuple[Decimal | None, ...] | None, detail: str | None
) -> None:
    """Each ticket is checked alone. A value without a bound is refused, and the hint names the setting."""
    facts = replace(parse_facts(target, {"quantity": 1}), order_values=order_values)
    refusal = first_refusal(facts, RuleContext(max_value=Decimal(1000)))

    if detail is None:
        assert refusal is None
    else:
        assert refusal is not None
        error = refusal.as_error()
        assert (error.code, error.status, detail in error.detail) == ("order_limit_exceeded", 403, True)
        assert "IBKR_MAX_ORDER_VALUE" in error.hint


def test_a_reply_that_confirms_is_checked_as_its_order() -> None:
    """The rules that are set now apply to the size, value and account of the order that the reply places."""
    yes = parse_facts("/iserver/reply/abc", {"confirmed": True})
    order = replace(yes, accounts=frozenset({PAPER}), sizes=(Decimal(5),), order_values=(Decimal(500),))

    assert refusal_code(order, RuleContext(max_quantity=Decimal(5), max_value=Decimal(500))) is None
    assert refusal_code(order, RuleContext(max_quantity=Decimal(4))) == "order_limit_exceeded"
    assert refusal_code(order, RuleContext(max_value=Decimal(499))) == "order_limit_exceeded"
    assert refusal_code(order, RuleContext(allowed=frozenset({LIVE}))) == "account_not_allowed"
    assert refusal_code(yes, RuleContext(paper_mode=False, max_quantity=Decimal(5))) == "order_limit_exceeded"
    assert refusal_code(replace(order, is_declining=True), RuleContext(max_quantity=Decimal(4), paused=True)) is None


# -- calls that cost money, and reads


@pytest.mark.parametrize(("allowed", "code"), [(False, "insufficient_scope"), (True, None)])
def test_paid_snapshots_pass_only_if_the_setting_allows_them(allowed: bool, code: str | None) -> None:
    """IBKR charges for every such call, also on a paper account."""
    facts = parse_facts("/md/regsnapshot?conid=1", b"", "GET")

    assert refusal_code(facts, RuleContext(paid_snapshots=allowed, read_only=True, paused=True)) == code


@given(
    st.sampled_from([endpoint for endpoint in CATALOGUE if endpoint.effect is Effect.READ]), RULE_CONTEXTS, st.binary()
)
def test_reads_are_never_refused_by_these_rules(row: Any, rule_context: RuleContext, body: bytes) -> None:
    """A paused or read-only bridge still serves reads, and a preview may have any body."""
    facts = facts_of_call(row, row.segments, f"accountId={LIVE}", parse_order_tickets(body))

    assert first_refusal(facts, rule_context) is None


# -- any facts, any bytes


@given(REQUEST_FACTS, RULE_CONTEXTS)
def test_any_facts_get_a_decision_that_keeps_the_settings(facts: RequestFacts, rule_context: RuleContext) -> None:
    """The rules decide about any facts, and a call that passes breaks none of the settings."""
    refusal = first_refusal(facts, rule_context)

    assert refusal is None or isinstance(refusal.as_error(), errors.BridgeError)
    if refusal is None and facts.effect in (Effect.TRADE, Effect.CHANGE):
        assert not rule_context.read_only
        assert facts.accounts <= rule_context.allowed or not rule_context.allowed
        assert not rule_context.paper_mode or False not in (rule_context.session_is_paper, rule_context.login_is_paper)
        assert not (rule_context.paper_mode and facts.accounts - {PAPER})
    if refusal is None and facts.effect is Effect.TRADE:
        cancels_or_declines = facts.operation is OrderOperation.CANCEL or (
            facts.operation is OrderOperation.REPLY and facts.is_declining
        )
        assert cancels_or_declines or not rule_context.paused
        assert (
            not (facts.operation is OrderOperation.CANCEL and facts.may_cancel_several)
            or "cancel-all" in facts.confirmations
        )
    if (
        refusal is None
        and facts.effect is Effect.TRADE
        and facts.operation in (OrderOperation.PLACE, OrderOperation.MODIFY)
    ):
        for limit, amounts in (
            (rule_context.max_quantity, facts.sizes),
            (rule_context.max_value, facts.order_values or ()),
        ):
            assert limit is None or (amounts and all(each is not None and each <= limit for each in amounts))


@given(
    st.sampled_from(CATALOGUE),
    st.text(),
    st.one_of(st.binary(), st.text().map(str.encode), st.from_regex(rb'\{"quantity":-?[0-9.]{1,9}[eE]\d{1,30}\}')),
)
@example(match("POST", ("iserver", "account", PAPER, "orders")), "", b'{"quantity":1e99999999999999999999}')
@example(match("POST", ("iserver", "account", PAPER, "orders")), "", b'{"quantity":' + b"9" * 5000 + b"}")
@example(match("POST", ("iserver", "account", PAPER, "orders")), "", b"[" * 100_000)
@example(match("POST", ("iserver", "account", PAPER, "orders")), "", b"\xff\xfe\x00")
def test_no_bytes_crash_the_parser(row: Any, query: str, body: bytes) -> None:
    """Any body is either parsed, or refused as a bad request."""
    try:
        facts = facts_of_call(row, row.segments, query, parse_order_tickets(body))
    except errors.BadRequest:
        assert row.effect in (Effect.CHANGE, Effect.TRADE)
    else:
        assert (facts.effect, facts.operation) == (row.effect, row.operation)


@pytest.mark.parametrize("body", [b"quantity=1", b"{", b"{'a':1}", b"\xff", b'{"a":1}}', b"<order/>"])
def test_a_change_that_cannot_be_parsed_is_refused(body: bytes) -> None:
    """The bridge sends no change that it cannot check."""
    with pytest.raises(errors.BadRequest):
        parse_facts(PLACE, body)
