"""The table of IBKR's endpoints: every row can be found, and what is unknown gets the cautious one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ibkr_bridge
from ibkr_bridge.config.env_reader import NEVER_BRIDGED
from ibkr_bridge.ibkr.catalogue import API, AUTH_STATUS, CATALOGUE, VALIDATE, account_in, decoded, find, met, target
from ibkr_bridge.ibkr.endpoint import Effect, Endpoint, Holds, Layer, Order

HERE = Path(__file__).parents[1]
FYI = (
    *(("GET", what) for what in ("unreadnumber", "settings", "disclaimer/x", "deliveryoptions")),
    *(("GET", what) for what in ("notifications", "notifications/more")),
    *(("POST", "settings/x"), ("PUT", "disclaimer/x"), ("PUT", "deliveryoptions/email")),
    *(("POST", "deliveryoptions/device"), ("DELETE", "deliveryoptions/x"), ("PUT", "notifications/x")),
)

SEGMENTS = st.lists(
    st.one_of(st.text(max_size=8), st.sampled_from(["iserver", "account", "orders", "{x}", ""])), max_size=7
)


def named(row: Endpoint) -> str:
    """A row as a person would say it."""
    return f"{row.method} {row.path}"


@pytest.mark.parametrize("row", CATALOGUE, ids=named)
def test_every_row_can_be_reached(row: Endpoint) -> None:
    """A row that stands below a wider one would be forgotten, with its rules."""
    example = tuple("DU1234567" if part == "{accountId}" else part.strip("{}") for part in row.segments)

    assert find(row.method, example) is row


PUBLISHED = [line.split() for line in (HERE / "published_paths.txt").read_text().splitlines() if line[0] != "#"]


@pytest.mark.parametrize(("method", "path", "row"), [(m, p, r) for m, p, _, r in PUBLISHED], ids=lambda part: part)
def test_every_published_path_meets_its_row(method: str, path: str, row: str) -> None:
    """Whatever IBKR's documents name is known, and meant by the row that is about it."""
    found = find(method, tuple("7" if part == "{}" else part for part in decoded(path)))

    assert (found.path, found.known) == (row, True)


@pytest.mark.parametrize("row", CATALOGUE, ids=named)
def test_a_rows_figures_agree(row: Endpoint) -> None:
    """Only what reads is told again, no longer than IBKR lets us ask anew; what costs or changes never is."""
    assert row.fresh == 0 or row.shareable
    told = row.reads and row.segments != VALIDATE  # which no caller can ask
    assert row.pace is None or row.pace.calls > 1 or row.fresh == (row.pace.seconds if told else 0)
    assert row.pace is None or row.pace.source in ("GUIDE", "CLIENTS")


@pytest.mark.parametrize(
    ("method", "path", "calls", "seconds"),
    [
        ("GET", "/iserver/account/orders", 1, 5.0),
        ("GET", "/iserver/account/trades", 1, 5.0),
        ("GET", "/iserver/account/pnl/partitioned", 1, 5.0),
        ("GET", "/iserver/marketdata/snapshot", 10, 1.0),
        ("GET", "/iserver/scanner/params", 1, 900.0),
        ("POST", "/iserver/scanner/run", 1, 1.0),
        ("POST", "/pa/performance", 1, 900.0),
        ("POST", "/pa/summary", 1, 900.0),
        ("POST", "/pa/transactions", 1, 900.0),
        ("POST", "/pa/allperiods", 1, 900.0),
        ("GET", "/portfolio/accounts", 1, 5.0),
        ("GET", "/portfolio/subaccounts", 1, 5.0),
        ("GET", "/tickle", 1, 1.0),
        ("POST", "/tickle", 1, 1.0),
        ("GET", "/sso/validate", 1, 60.0),
        *((method, f"/fyi/{what}", 1, 1.0) for method, what in FYI),
    ],
)
def test_ibkrs_limits_are_those_of_its_table(method: str, path: str, calls: int, seconds: float) -> None:
    """The GUIDE's table of limits, said once more."""
    pace = met(method, path).pace

    assert pace is not None
    assert (pace.calls, pace.seconds) == (calls, seconds)


def test_no_two_rows_say_the_same() -> None:
    """Two truths about one path are one too many."""
    shapes = [(row.method, re.sub(r"\{\w+\}", "{}", row.path)) for row in CATALOGUE]

    assert len(set(shapes)) == len(shapes)


def test_nothing_that_signs_in_or_out_is_in_the_table() -> None:
    """Such paths are never bridged, whatever the prefixes; of what lies beside them the keeper alone asks one read."""
    beside = [row for row in CATALOGUE if row.segments[0] in NEVER_BRIDGED]

    assert [(row.method, row.segments, row.effect) for row in beside] == [("GET", VALIDATE, Effect.READ)]


@pytest.mark.parametrize("row", [row for row in CATALOGUE if row.order], ids=named)
def test_whatever_belongs_to_an_order_trades(row: Endpoint) -> None:
    """A part of an order's life that counted as reading would pass every rule; only a preview is one."""
    assert row.effect is (Effect.READ if row.order is Order.PREVIEW else Effect.TRADE)


@pytest.mark.parametrize("row", [row for row in CATALOGUE if row.effect is Effect.CHANGE], ids=named)
def test_what_changes_without_trading_makes_stale_what_users_keep(row: Endpoint) -> None:
    """Watchlists, alerts, which account is selected; another account's orders are others."""
    assert row.spoils == (Holds.ORDERS, Holds.ACCOUNT, Holds.MARKET)
    assert not row.repeatable
    assert row.order is None


@pytest.mark.parametrize("row", CATALOGUE, ids=named)
def test_what_starts_with_iserver_needs_the_brokerage_session(row: Endpoint) -> None:
    """But for the calls that ask for it; the rest needs only the login, and works while it is reopened."""
    needed = row.segments[0] in ("iserver", "md") and "auth" not in row.path

    assert row.layer is (Layer.BROKERAGE if needed else Layer.LOGIN)


@pytest.mark.parametrize(
    ("method", "path", "effect", "order"),
    [
        ("POST", "iserver/account/DU1/orders", Effect.TRADE, Order.PLACE),
        ("POST", "iserver/account/DU1/order", Effect.TRADE, Order.PLACE),
        ("POST", "iserver/account/orders/group", Effect.TRADE, Order.PLACE),
        ("POST", "iserver/account/DU1/orders/whatif", Effect.READ, Order.PREVIEW),
        ("POST", "iserver/account/DU1/order/whatif", Effect.READ, Order.PREVIEW),
        ("POST", "iserver/account/orders/whatif", Effect.TRADE, Order.PLACE),
        ("POST", "iserver/account/DU1/order/77", Effect.TRADE, Order.MODIFY),
        ("DELETE", "iserver/account/DU1/order/77", Effect.TRADE, Order.CANCEL),
        ("DELETE", "iserver/account/DU1/order/whatif", Effect.TRADE, Order.CANCEL),
        ("DELETE", "iserver/account/DU1/orders/whatif", Effect.TRADE, None),
        ("PUT", "iserver/account/DU1/orders/whatif", Effect.TRADE, None),
        ("POST", "iserver/reply/abc", Effect.TRADE, Order.REPLY),
        ("POST", "iserver/notification", Effect.TRADE, Order.ANSWER),
        ("POST", "ccp/order", Effect.TRADE, Order.PLACE),
        ("PUT", "ccp/order", Effect.TRADE, Order.MODIFY),
        ("DELETE", "ccp/order", Effect.TRADE, Order.CANCEL),
        ("POST", "iserver/questions/suppress", Effect.TRADE, None),
        ("POST", "iserver/questions/suppress/reset", Effect.TRADE, None),
        ("POST", "iserver/account/allocation/group", Effect.TRADE, None),
        ("POST", "iserver/account/allocation/presets", Effect.TRADE, None),
        ("POST", "iserver/account/allocation/group/delete", Effect.TRADE, None),
        ("POST", "fa/model/save", Effect.TRADE, None),
        ("POST", "fa/fa-preset/save", Effect.TRADE, None),
        ("POST", "iserver/account", Effect.CHANGE, None),
        ("POST", "iserver/dynaccount", Effect.CHANGE, None),
        ("POST", "iserver/account/DU1/alert", Effect.CHANGE, None),
        ("DELETE", "iserver/account/DU1/alert/7", Effect.CHANGE, None),
        ("POST", "iserver/watchlist", Effect.CHANGE, None),
        ("DELETE", "iserver/watchlist", Effect.CHANGE, None),
        ("POST", "fyi/settings/x", Effect.CHANGE, None),
        ("PUT", "fyi/notifications/x", Effect.CHANGE, None),
        ("GET", "sso/validate", Effect.READ, None),
        ("GET", "iserver/account/orders", Effect.READ, None),
        ("GET", "md/regsnapshot", Effect.COSTS_MONEY, None),
        ("POST", "iserver/auth/ssodh/init", Effect.SESSION, None),
        ("GET", "iserver/reauthenticate", Effect.SESSION, None),
        ("POST", "iserver/Account/DU1/Orders/WhatIf", Effect.TRADE, None),
        ("HEAD", "iserver/accounts", Effect.TRADE, None),
    ],
)
def test_what_a_call_does(method: str, path: str, effect: Effect, order: Order | None) -> None:
    """Money hangs on this table."""
    row = find(method, tuple(path.split("/")))

    assert (row.effect, row.order) == (effect, order)


@settings(deadline=None)
@given(st.sampled_from(["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "BREW"]), SEGMENTS)
def test_what_is_unknown_is_taken_cautiously(method: str, segments: list[str]) -> None:
    """Every path has a row; one nobody foresaw reads only by GET, and its words never reach a log."""
    row = find(method, tuple(segments))

    assert row in CATALOGUE or (row.effect is Effect.READ) == (method == "GET")
    assert row in CATALOGUE or re.fullmatch(r"/(\?|iserver|portfolio|marketdata|[a-z0-9]+)/\*", row.path)


def test_an_unknown_path_names_only_prefixes_we_know() -> None:
    """Account numbers and keys end up in paths."""
    assert find("GET", ("DU1234567", "x")).path == "/?/*"
    assert find("GET", ("iserver", "DU1234567")).path == "/iserver/*"


@pytest.mark.parametrize(
    ("method", "path", "account"),
    [
        ("POST", "iserver/account/U1/orders", "U1"),
        ("DELETE", "iserver/account/U1/order/5", "U1"),
        ("GET", "portfolio/U1/positions/0", "U1"),
        ("POST", "iserver/account/orders/group", None),
        ("POST", "iserver/reply/U1", None),
    ],
)
def test_an_account_in_the_path_is_found(method: str, path: str, account: str | None) -> None:
    """The rules judge the account the path names."""
    segments = tuple(path.split("/"))

    assert account_in(find(method, segments), segments) == account


@pytest.mark.parametrize(
    ("path", "segments"),
    [
        ("/iserver/accounts", ("iserver", "accounts")),
        ("/iserver/accounts/", ("iserver", "accounts")),
        ("/iserver/%61ccounts", ("iserver", "accounts")),
        ("/a%20b/c+d", ("a b", "c+d")),
        ("/", ("",)),
    ],
)
def test_a_path_is_decoded_segment_by_segment(path: str, segments: tuple[str, ...]) -> None:
    """The rules read what IBKR will read."""
    assert decoded(path) == segments


@pytest.mark.parametrize(
    ("path", "row"),
    [
        ("/portfolio/accounts", "/portfolio/accounts"),
        ("/v1/api/portfolio/accounts/", "/portfolio/accounts"),
        ("/marketdata/snapshot", "/iserver/marketdata/snapshot"),
        ("/v1/api/tickle", "/tickle"),
        ("/iserver/secdef/info?conid=1/2&x=%3F", "/iserver/secdef/info"),
        ("/", "/?/*"),
    ],
)
def test_a_callers_path_meets_its_row(path: str, row: str) -> None:
    """However it is written."""
    assert met("GET", path).path == row


def test_only_listed_reads_by_get_may_be_asked_twice() -> None:
    """Nothing that trades, concerns the session, costs money, gives quotes back, or is unknown."""
    rows = [row for row in CATALOGUE if row.repeatable]

    assert {(row.method, row.effect) for row in rows} == {("GET", Effect.READ)}
    assert not [row.path for row in rows if "unsubscribe" in row.path]
    assert not met("GET", "/iserver/whatever/it/is").repeatable
    assert len(rows) > 30


def test_a_path_of_our_own_goes_out_below_the_gateways_prefix() -> None:
    """Without it nothing is forwarded."""
    assert target(AUTH_STATUS) == f"{API}/iserver/auth/status"


def test_no_other_room_names_a_path_of_ibkr() -> None:
    """One table: whoever needs a path takes it from here."""
    house = Path(ibkr_bridge.__file__).parent
    rooms = [file for file in house.rglob("*.py") if "sim" not in file.parts and file.name != "catalogue.py"]
    named_path = re.compile(r"""["']/?(?:v1/api/)?(?:iserver|portfolio|trsrv|sso)/""")

    assert not [f"{file.name}: {found}" for file in rooms for found in named_path.findall(file.read_text("utf-8"))]


@pytest.mark.parametrize(
    ("method", "path", "stale", "not_stale"),
    [
        ("POST", "/iserver/account/DU1/orders", "/iserver/account/trades", "/pa/performance"),
        ("DELETE", "/iserver/account/DU1/order/7", "/portfolio/DU1/ledger", "/portfolio/accounts"),
        ("POST", "/iserver/reply/x", "/iserver/account/orders", "/iserver/watchlists"),
        ("POST", "/iserver/account", "/portfolio/accounts", "/pa/performance"),
        ("DELETE", "/iserver/watchlist", "/iserver/watchlists", "/iserver/scanner/params"),
        ("POST", "/portfolio/DU1/positions/invalidate", "/portfolio/DU1/positions/0", "/pa/summary"),
        ("POST", "/whatever/it/is", "/portfolio/DU1/meta", "/pa/allperiods"),
    ],
)
def test_what_a_call_makes_stale_and_what_it_leaves(method: str, path: str, stale: str, not_stale: str) -> None:
    """An order moves orders and money; what IBKR tells once in a quarter of an hour outlives it."""
    row = met(method, path)

    def holds(path: str) -> Holds:
        return met("POST" if path.startswith("/pa/") else "GET", path).holds

    assert holds(stale) in row.spoils
    assert holds(not_stale) not in row.spoils


def test_reading_makes_nothing_stale() -> None:
    """Whatever is read."""
    assert not [row.path for row in CATALOGUE if row.reads and row.spoils]
    assert not [row.path for row in CATALOGUE if not row.reads and not row.spoils]
