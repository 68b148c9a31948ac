"""Profit and loss, `spl`, an account's summary, `ssd`, and its ledger, `sld`."""

from __future__ import annotations

import json

from tests.clocks import ManualClock
from tests.sim.market.stream_client import StreamClient

ACCOUNT = "DU1234567"


async def receive_while_time_passes(client: StreamClient, clock: ManualClock, seconds: int) -> list[dict[str, object]]:
    """The messages of so many seconds, without heartbeats."""
    messages = []
    for _ in range(seconds):
        clock.advance(1)
        messages += await client.receive_pending()
    return [message for message in messages if "hb" not in message]


async def test_profit_comes_each_second_while_it_changes(client: StreamClient, clock: ManualClock) -> None:
    """There is a row for each account and model."""
    first = await client.request("spl+{}")

    update = await receive_while_time_passes(client, clock, 3)

    assert set(first["args"][f"{ACCOUNT}.Core"]) == {"rowType", "dpl", "nl", "upl", "uel", "mv"}
    assert [message["topic"] for message in update] == ["spl"] * 3
    assert update[0]["args"] != update[1]["args"]


async def test_a_summary_has_rows_of_text_and_of_money(client: StreamClient) -> None:
    """One of the text rows names the account."""
    summary = await client.request(f"ssd+{ACCOUNT}+{{}}")

    rows = {row["key"]: row for row in summary["result"]}
    assert summary["topic"] == f"ssd+{ACCOUNT}"
    assert rows["AccountCode"]["value"] == ACCOUNT
    assert set(rows["NetLiquidation"]) == {"key", "timestamp", "monetaryValue", "currency", "severity"}


async def test_keys_and_fields_select_but_the_account_is_always_named(client: StreamClient) -> None:
    """Each row always has its key and the time, too."""
    options = json.dumps({"keys": ["NetLiquidation"], "fields": ["monetaryValue", "value"]})

    rows = {row["key"]: row for row in (await client.request(f"ssd+{ACCOUNT}+{options}"))["result"]}

    assert {key: set(row) for key, row in rows.items()} == {
        "NetLiquidation": {"key", "timestamp", "monetaryValue"},
        "AccountCode": {"key", "timestamp", "value"},
    }


async def test_a_ledger_comes_every_ten_seconds(client: StreamClient, clock: ManualClock) -> None:
    """A row that has not changed has only its key and the time."""
    options = json.dumps({"fields": ["acctCode", "cashbalance"]})
    first = (await client.request(f"sld+{ACCOUNT}+{options}"))["result"]

    [update] = await receive_while_time_passes(client, clock, 10)

    assert {row["key"]: row["acctCode"] for row in first} == dict.fromkeys(
        ("LedgerListUSD", "LedgerListCHF", "LedgerListEUR", "LedgerListBASE"), ACCOUNT
    )
    rows = {row["key"]: row for row in update["result"]}  # type: ignore[attr-defined]
    assert set(rows["LedgerListEUR"]) == {"key", "timestamp"}
    assert "cashbalance" in rows["LedgerListUSD"]  # the profit of a future changes it


async def test_a_ledger_can_be_of_one_currency(client: StreamClient) -> None:
    """The request names the key of its row."""
    summary = await client.request(f'sld+{ACCOUNT}+{{"keys":["LedgerListUSD"],"fields":["cashbalance"]}}')

    [row] = summary["result"]
    assert (row["key"], set(row)) == ("LedgerListUSD", {"key", "timestamp", "cashbalance"})
