"""The reads for the value of an order: which calls are sent, how their responses are read, and what a failure does."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Collection
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ibkr_bridge.calls.messages import Call, Response
from ibkr_bridge.calls.order_tickets import parse_order_tickets
from ibkr_bridge.errors import BridgeError, Busy, GatewayTimeout, RateLimited, SessionUnavailable
from ibkr_bridge.orders.rules.order_value import Quote
from ibkr_bridge.orders.rules.order_value_inputs import estimate_order_values, read_quote
from tests.body_stream import FakeBodyStream
from tests.quirks.scripted import ScriptedFetch, context_of, ok

ACCOUNT, NOW = "DU1234567", 1_750_000_000.0
SECDEF, META, SNAPSHOT = "/trsrv/secdef", f"/portfolio/{ACCOUNT}/meta", "/iserver/marketdata/snapshot"
RATE = "/iserver/exchangerate"
STOCK = {"conid": 265598, "currency": "USD", "assetClass": "STK", "multiplier": 0.0}
FUTURE = {"conid": 495512563, "currency": "EUR", "assetClass": "FUT", "multiplier": 50.0}
QUOTED = {"conid": 265598, "31": "1,189.50", "84": "1,189.40", "86": "1,190.00", "6509": "RpB"}
QUOTED |= {"_updated": int(NOW * 1000) - 500}
MARKET = {"conid": 265598, "orderType": "MKT", "side": "BUY", "quantity": 10}
LIMIT = {**MARKET, "orderType": "LMT", "price": 1180.5}


def unambiguous(body: bytes) -> list[Any]:
    """The tickets of a body that have one meaning only."""
    return list(parse_order_tickets(body).unambiguous)


def response_of(body: Any, status: int = 200) -> Response:
    """A response of IBKR with this body; a text is sent as it is, anything else as JSON."""
    return Response(status, {}, (body if isinstance(body, str) else json.dumps(body)).encode())


def gateway(**other: Any) -> ScriptedFetch:
    """A Gateway that answers all reads; `other` replaces some of its responses."""
    script = {
        "secdef": {"secdef": [STOCK, FUTURE]},
        "meta": {"id": ACCOUNT, "accountId": ACCOUNT, "currency": "USD"},
        "snapshot": [QUOTED],
        "rate": {"rate": 1.1},
        **other,
    }
    paths = {"secdef": SECDEF, "meta": META, "snapshot": SNAPSHOT, "rate": RATE}
    responses = {
        name: [each if isinstance(each, Response | Exception) else response_of(each)] for name, each in script.items()
    }
    return ScriptedFetch({paths[name]: answer for name, answer in responses.items()})


def order(*tickets: dict[str, Any]) -> Call:
    """A placement."""
    body = json.dumps({"orders": list(tickets)}).encode()
    return Call("POST", f"/v1/api/iserver/account/{ACCOUNT}/orders", (), body, is_change=True)


async def estimate_values(
    scripted: ScriptedFetch, *tickets: dict[str, Any], account: str | None = ACCOUNT
) -> list[Decimal | None]:
    """The estimates for the tickets of one placement."""
    return list(await estimate_order_values(context_of(scripted.send, order(*tickets)), account, lambda: NOW))


# -- which calls are sent


async def test_a_limit_to_buy_takes_two_reads() -> None:
    """The bridge reads the instrument and the currency of the account."""
    scripted = gateway()

    assert await estimate_values(scripted, LIMIT) == [Decimal(11805)]
    assert scripted.targets == [f"{SECDEF}?conids=265598", META]


async def test_every_other_order_takes_a_quote() -> None:
    """The highest of last, bid and ask counts."""
    scripted = gateway()

    assert await estimate_values(scripted, MARKET) == [Decimal(11900)]
    assert scripted.targets[-1] == f"{SNAPSHOT}?conids=265598&fields=31,84,86,6509"


async def test_another_currency_takes_a_rate() -> None:
    """The exchange rate leads from the currency of the instrument to that of the account."""
    scripted = gateway()
    future = {"conid": 495512563, "orderType": "LMT", "side": "BUY", "quantity": 2, "price": 5000}

    assert await estimate_values(scripted, future) == [Decimal(550_000)]
    assert scripted.targets[-1] == f"{RATE}?source=EUR&target=USD"


async def test_each_ticket_of_a_bracket_has_its_own_estimate() -> None:
    """The estimates are in the order of the tickets. A read that several tickets need is sent once."""
    scripted = gateway()
    profit = {**LIMIT, "side": "SELL", "price": 1300, "parentId": "x"}
    stop = {**MARKET, "orderType": "STP", "side": "SELL", "price": 1000, "parentId": "x"}
    odd = {**LIMIT, "conid": 1}

    assert await estimate_values(scripted, LIMIT, profit, stop, odd) == [
        Decimal(11805),
        Decimal(13000),
        Decimal(11900),
        None,
    ]
    assert len(scripted.targets) == 3
    assert scripted.targets[0] == f"{SECDEF}?conids=265598,1"


async def test_a_change_has_the_estimate_of_its_ticket() -> None:
    """The body of a change is one object without a list. Without a size or a price its value is not known."""
    for ticket, value in ((LIMIT, Decimal(11805)), ({**LIMIT, "price": None}, None), ({"conid": 265598}, None)):
        call = Call(
            "POST", f"/v1/api/iserver/account/{ACCOUNT}/order/7", (), json.dumps(ticket).encode(), is_change=True
        )

        assert await estimate_order_values(context_of(gateway().send, call), ACCOUNT, lambda: NOW) == (value,)


@pytest.mark.parametrize(
    ("ticket", "account"),
    [
        (LIMIT, None),
        ({**LIMIT, "acctId": "DU7654321"}, ACCOUNT),
        ({**LIMIT, "ACCTID": "DU7654321"}, ACCOUNT),
        ({**LIMIT, "conid": "28812380;;;265598/1"}, ACCOUNT),
        ({**LIMIT, "conid": None}, ACCOUNT),
        ({}, ACCOUNT),
    ],
)
async def test_no_call_is_sent_if_the_value_cannot_be_known(ticket: dict[str, Any], account: str | None) -> None:
    """The account is missing, differs from that of the path, or the ticket has no single instrument."""
    scripted = gateway()

    assert await estimate_values(scripted, ticket, account=account) == [None]
    assert scripted.targets == []


async def test_a_ticket_may_repeat_the_account_of_the_path() -> None:
    """Most clients repeat the account of the path in the ticket."""
    assert await estimate_values(gateway(), {**LIMIT, "acctId": ACCOUNT}) == [Decimal(11805)]


# -- other responses of IBKR

ODD = [
    *(RateLimited("x"), Busy("x"), GatewayTimeout("x"), SessionUnavailable("x")),
    *(
        response_of("", 500),
        response_of({"error": "x"}, 503),
        response_of({"rate": 1}, 204),
        response_of({"error": "x"}),
    ),
    *(
        response_of(""),
        response_of("<html>"),
        response_of("[" * 100_000),
        response_of("null"),
        response_of("[]"),
        response_of("{}"),
        response_of("[null]"),
        response_of("7"),
    ),
    response_of('{"secdef":{},"rate":1e99999999999999999999}'),
    response_of("9" * 5000),
]


@pytest.mark.parametrize("odd", ODD, ids=repr)
@pytest.mark.parametrize("which", ["secdef", "meta", "snapshot", "rate"])
async def test_a_read_that_fails_leaves_the_value_unknown(which: str, odd: Response | BridgeError) -> None:
    """The failure of such a read is not reported as an error of the order."""
    foreign = {**STOCK, "currency": "EUR"}
    scripted = gateway(**{"secdef": {"secdef": [foreign]}, which: odd})

    assert await estimate_values(scripted, MARKET) == [None]


@pytest.mark.parametrize("which", ["secdef", "meta", "snapshot", "rate"])
async def test_the_rest_of_a_large_response_is_closed(which: str) -> None:
    """An unread rest would keep a slot of the Gateway."""
    body_stream = FakeBodyStream()
    foreign = {**STOCK, "currency": "EUR"}
    whole = json.dumps({"secdef": [foreign], "rate": 1.1, "id": ACCOUNT, "currency": "USD"}).encode()
    scripted = gateway(**{"secdef": {"secdef": [foreign]}, which: Response(200, {}, whole, body_stream)})

    assert await estimate_values(scripted, MARKET) == [None]
    assert body_stream.close_count == 1


async def test_other_errors_are_not_hidden() -> None:
    """A caller that disconnected says nothing about the value of its order."""

    async def raise_caller_gone(_: Call) -> Response:
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await estimate_order_values(context_of(raise_caller_gone, order(LIMIT)), ACCOUNT)


@pytest.mark.parametrize(
    ("secdef", "value"),
    [
        (STOCK, 11805),
        ({**STOCK, "multiplier": None}, 11805),
        ({**STOCK, "multiplier": "0"}, 11805),
        ({**STOCK, "conid": "265598"}, 11805),
        ({**STOCK, "assetClass": "OPT", "multiplier": "100"}, 1_180_500),
        ({**STOCK, "assetClass": "OPT", "multiplier": 100}, 1_180_500),
        ({**STOCK, "assetClass": "OPT", "multiplier": "1,000"}, 11_805_000),
        ({**STOCK, "assetClass": "OPT", "multiplier": 0.0}, None),
        ({**STOCK, "assetClass": "OPT", "multiplier": -100}, None),
        ({**STOCK, "assetClass": "OPT", "multiplier": True}, None),
        ({**STOCK, "assetClass": "OPT", "multiplier": [100]}, None),
        ({**STOCK, "assetClass": "OPT"}, None),
        ({**STOCK, "assetClass": "BOND", "multiplier": 10}, None),
        ({**STOCK, "assetClass": None}, None),
        ({**STOCK, "currency": None}, None),
        ({**STOCK, "currency": "usd"}, None),
        ({**STOCK, "currency": "USD&target=JPY"}, None),
        ({**STOCK, "currency": ["USD"]}, None),
        ({**STOCK, "conid": 1}, None),
    ],
)
async def test_a_definition_is_read_as_ibkr_writes_it(secdef: dict[str, Any], value: int | None) -> None:
    """IBKR sends 0.0 or null as the multiplier of a stock, and numbers or strings for other instruments."""
    assert await estimate_values(gateway(secdef={"secdef": [secdef]}), LIMIT) == [value]


@pytest.mark.parametrize(
    ("meta", "value"),
    [
        ({"id": ACCOUNT, "currency": "USD"}, 11805),
        ({"accountId": ACCOUNT, "currency": "USD"}, 11805),
        ({"accountId": "DU7654321", "currency": "USD"}, None),
        ({"currency": "USD"}, None),
        ({"id": ACCOUNT, "currency": "BASE"}, None),
        ({"id": ACCOUNT}, None),
    ],
)
async def test_the_base_currency_is_that_of_the_named_account(meta: dict[str, Any], value: int | None) -> None:
    """Another account may have another base currency."""
    assert await estimate_values(gateway(meta=meta), LIMIT) == [value]


@pytest.mark.parametrize(
    ("rate", "value"),
    [
        ("1.1", Decimal("12985.5")),
        ('"1.1"', Decimal("12985.5")),
        ("0.91324199", Decimal("10780.82169195")),
        ("0", None),
        ("-1", None),
        ("null", None),
        ("true", None),
        ("NaN", None),
        ("Infinity", None),
        ('"one"', None),
        ("[1]", None),
    ],
)
async def test_a_rate_is_a_positive_number(rate: str, value: Decimal | None) -> None:
    """All digits of the rate count."""
    scripted = gateway(secdef={"secdef": [{**STOCK, "currency": "EUR"}]}, rate=ok(f'{{"rate":{rate}}}'))

    assert await estimate_values(scripted, LIMIT) == [value]


# -- quotes


@pytest.mark.parametrize(
    ("row", "price"),
    [
        ({}, "1190.00"),
        ({"86": "1,189.45"}, "1189.50"),
        ({"84": "1,195"}, "1195"),
        ({"31": 1189}, "1190.00"),
        ({"31": "C2,000.00"}, "2000.00"),
        ({"31": "C1,000.00"}, "1190.00"),
        ({"31": "C1,000.00", "86": ""}, None),
        ({"31": "C1,000.00", "86": None}, None),
        ({"31": "H1,189.50"}, None),
        ({"31": ""}, "1190.00"),
        ({"31": "", "86": ""}, None),
        ({"31": None, "84": "1", "86": "-1"}, None),
        ({"86": "-1.00"}, "1189.50"),
        ({"86": "0"}, "1189.50"),
        ({"31": "0", "86": "0"}, None),
        ({"31": "110'165", "86": "110'170"}, None),
        ({"31": "1.189,50", "86": ""}, None),
        ({"31": "11,89.50", "86": ""}, None),
        ({"31": "NaN", "86": "Infinity"}, None),
        ({"31": [1], "86": {}}, None),
        ({"6509": "R"}, "1190.00"),
        ({"6509": "DPB"}, None),
        ({"6509": "ZB"}, None),
        ({"6509": "Y"}, None),
        ({"6509": "N"}, None),
        ({"6509": "O"}, None),
        ({"6509": ""}, None),
        ({"6509": None}, None),
        ({"_updated": None}, None),
        ({"_updated": "1750000000000"}, None),
        ({"_updated": True}, None),
        ({"_updated": 0}, None),
        ({"_updated": 10**400}, None),
    ],
)
def test_a_quote_is_the_highest_current_price(row: dict[str, Any], price: str | None) -> None:
    """IBKR writes thousands separators, a C before the close of yesterday, and an H before the last price of a halt."""
    quote = read_quote({**QUOTED, **row}, NOW)

    assert quote == (Quote(Decimal(price), 0.5) if price else None)


@pytest.mark.parametrize(
    ("age", "value"), [(0, 11900), (59, 11900), (-59, 11900), (61, None), (-61, None), (1e6, None)]
)
async def test_an_old_quote_does_not_count(age: float, value: int | None) -> None:
    """IBKR renews an open stream twice a second, so an older quote is not current."""
    old = {**QUOTED, "_updated": int((NOW - age) * 1000)}

    assert await estimate_values(gateway(snapshot=[old]), MARKET) == [value]


async def test_a_first_snapshot_has_no_quote() -> None:
    """It only opens the stream."""
    assert await estimate_values(gateway(snapshot=[{"conid": 265598, "conidEx": "265598"}]), MARKET) == [None]


# -- tickets


@pytest.mark.parametrize(
    ("body", "count"),
    [
        (b'{"orders":[{"a":1},{"b":2}]}', 2),
        (b'[{"a":1}]', 1),
        (b'{"a":1}', 1),
        (b"{}", 1),
        (b'{"orders":[]}', 0),
        (b"[]", 0),
        (b'{"orders":{}}', 0),
        (b'{"orders":[1]}', 0),
        (b'{"orders":[{"a":1},null]}', 0),
        (b'{"orders":[{"quantity":1,"quantity":2}]}', 0),
        (b'{"orders":[{"a":1}],"orders":[]}', 0),
        (b"7", 0),
        (b"null", 0),
        (b"", 0),
        (b"nonsense", 0),
        (b"\xff\xfe", 0),
        (b"[" * 100_000, 0),
        (b'{"quantity":1e99999999999999999999}', 0),
    ],
)
async def test_the_tickets_of_a_body_are_counted(body: bytes, count: int) -> None:
    """A body may be a list, an object with a list, or one ticket. A name that stands twice makes it ambiguous."""
    call = Call("POST", "/v1/api/x", (), body, is_change=True)

    assert len(unambiguous(body)) == count
    assert await estimate_order_values(context_of(gateway().send, call), ACCOUNT) == (None,) * count


def test_numbers_of_a_ticket_are_exact() -> None:
    """A binary fraction would change the decimal digits."""
    assert unambiguous(b'{"price":0.1,"quantity":10.00000000000000000000000000001}') == [
        {"price": Decimal("0.1"), "quantity": Decimal("10.00000000000000000000000000001")}
    ]


JSON = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), st.sampled_from(["USD", "STK"])
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(
                [
                    *("secdef", "conid", "currency", "assetClass", "multiplier", "rate", "id", "accountId", "orders"),
                    *("31", "84", "86", "6509", "_updated", "quantity", "price", "side", "orderType", "acctId"),
                ]
            ),
            inner,
            max_size=5,
        ),
    ),
    max_leaves=12,
)


@given(JSON, JSON, JSON, JSON, JSON | st.just([MARKET, LIMIT]))
@example({"secdef": [STOCK]}, {"id": ACCOUNT, "currency": "EUR"}, [QUOTED], {"rate": 1e308}, [MARKET])
async def test_no_response_of_ibkr_raises(secdef: Any, meta: Any, snapshot: Any, rate: Any, orders: Any) -> None:
    """Each ticket gets an amount or None."""
    scripted = gateway(secdef=secdef, meta=meta, snapshot=snapshot, rate=rate)
    body = json.dumps(orders).encode()

    values = await estimate_order_values(
        context_of(scripted.send, Call("POST", "/v1/api/x", (), body, is_change=True)), ACCOUNT, lambda: NOW
    )

    assert len(values) == len(unambiguous(body))
    assert all(value is None or (value.is_finite() and value >= 0) for value in values)


# -- quotes from a stream


async def test_a_streamed_quote_takes_no_call() -> None:
    """All market data lines may be in use, and an order must not fail because of that."""
    scripted = gateway()
    requested: list[tuple[str, tuple[str, ...]]] = []

    def streamed_quote(conid: str, fields: Collection[str]) -> dict[str, Any]:
        requested.append((conid, tuple(fields)))
        return QUOTED

    values = await estimate_order_values(
        context_of(scripted.send, order(MARKET)), ACCOUNT, lambda: NOW, streamed_quote=streamed_quote
    )

    assert list(values) == [Decimal(11900)]
    assert requested == [("265598", ("31", "84", "86", "6509"))]
    assert not [target for target in scripted.targets if SNAPSHOT in target]


@pytest.mark.parametrize("row", [None, {**QUOTED, "6509": "DPB"}, {**QUOTED, "_updated": None}])
async def test_a_streamed_quote_that_does_not_count_is_replaced_by_a_snapshot(row: dict[str, Any] | None) -> None:
    """The quote is delayed, or its age is not known."""
    scripted = gateway()

    values = await estimate_order_values(
        context_of(scripted.send, order(MARKET)), ACCOUNT, lambda: NOW, streamed_quote=lambda _, __: row
    )

    assert list(values) == [Decimal(11900)]
    assert scripted.targets[-1].startswith(SNAPSHOT)
