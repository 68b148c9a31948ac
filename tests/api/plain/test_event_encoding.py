"""How events of the hub become events of the plain API."""

from __future__ import annotations

import json
from decimal import Decimal

from ibkr_bridge.api.plain.event_encoding import MAX_INSTRUMENTS, PlainEncoding, encoding_of, sse_model
from ibkr_bridge.api.plain.journal import OrderView
from ibkr_bridge.models.accounts import CashBalance
from ibkr_bridge.models.base import AssetClass
from ibkr_bridge.models.instruments import Instrument
from ibkr_bridge.streaming.subscriber import StreamEvent
from tests.harness import Harness


def encoding_for(harness: Harness) -> PlainEncoding:
    """The encoding of a running bridge's profile."""
    profile, clock = harness.bridge.profile, harness.bridge.profile.keeper._clock
    return encoding_of(profile, OrderView(profile, lambda text: text, clock), tuple, may_trade=True)


def test_an_event_has_its_name_its_id_and_one_line_of_data() -> None:
    """As the HTML standard wants it."""
    assert sse_model("account", CashBalance("USD", None, None, None), "r-1") == (
        b'event: account\nid: r-1\ndata: {"currency":"USD","cash":null,"settled_cash":null,"exchange_rate":null}\n\n'
    )


async def test_all_streams_of_a_profile_share_an_encoding(harness: Harness) -> None:
    """So that an event is translated once."""
    assert encoding_for(harness) is encoding_for(harness)


async def test_a_row_that_belongs_to_no_topic_is_left_out(harness: Harness) -> None:
    """IBKR's stream has empty updates."""
    encoding = encoding_for(harness)

    assert encoding.encode(StreamEvent({}, (("1", {"key": "DU1.Core"}), ("2", {}), ("3", {"conid": None})))) == b""


async def test_events_about_the_stream_name_our_topics(harness: Harness) -> None:
    """A page does not know IBKR's words."""
    row = {"topic": "smd+265598", "reason": "topic_silent"}

    data = encoding_for(harness).encode(StreamEvent({}, (("", row),), "stale"))

    assert data.startswith(b"event: stale\n")
    assert json.loads(data.partition(b"data: ")[2]) == {
        "topic": "quotes",
        "reason": "topic_silent",
        "conid": "265598",
    }


async def test_only_so_many_instruments_are_remembered(harness: Harness) -> None:
    """Pages may ask for any."""
    encoding = encoding_for(harness)
    for number in range(1, MAX_INSTRUMENTS + 10):
        instrument = Instrument(
            *(number, "X", None, AssetClass.STOCK, None, None, []),
            multiplier=Decimal(1),
            expiry=None,
            strike=None,
            right=None,
        )
        encoding.remember({number: instrument})

    assert len(encoding.instruments) == MAX_INSTRUMENTS
    assert 1 not in encoding.instruments


async def test_a_row_of_a_brackets_child_is_an_event_about_the_child(harness: Harness) -> None:
    """Its fill must not be shown as news of the parent, with what the journal last knew of that."""
    ticket = {"symbol": "MSFT", "side": "buy", "type": "market", "quantity": "2", "bracket": {"stop_loss": "1"}}
    confirm = {"X-Bridge-Confirm": "o163,o10331,o2137,o354,o383,o451"}
    order = (await harness.post("/accounts/DU1234567/orders", ticket, headers=confirm)).json
    parent, child = order["order_ids"]

    rows = [{"orderId": int(number), "conid": 272093, "status": "Filled"} for number in (child, parent)]
    events = encoding_for(harness).encode(StreamEvent({}, tuple(("1", row) for row in rows))).split(b"\n\n")

    shown = [json.loads(event.partition(b"data: ")[2]) for event in events if event]
    assert [(each["id"], each["status"], each["origin"]) for each in shown] == [
        (child, "filled", "bridge"),
        (order["id"], "filled", "bridge"),
    ]
