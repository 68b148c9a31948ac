"""Profit and loss, `spl`, an account's summary, `ssd`, and its ledger, `sld`."""

from __future__ import annotations

import json

from tests.clocks import ManualClock
from tests.sim.market.ear import Ear

ACCOUNT = "DU1234567"


async def moved(ear: Ear, clock: ManualClock, seconds: int) -> list[dict[str, object]]:
    """What is said in so many seconds, heartbeats left out."""
    found = []
    for _ in range(seconds):
        clock.advance(1)
        found += await ear.rest()
    return [message for message in found if "hb" not in message]


async def test_profit_comes_each_second_while_it_moves(ear: Ear, clock: ManualClock) -> None:
    """For each account and model."""
    first = await ear.ask("spl+{}")

    later = await moved(ear, clock, 3)

    assert set(first["args"][f"{ACCOUNT}.Core"]) == {"rowType", "dpl", "nl", "upl", "uel", "mv"}
    assert [message["topic"] for message in later] == ["spl"] * 3
    assert later[0]["args"] != later[1]["args"]


async def test_a_summary_has_rows_of_text_and_of_money(ear: Ear) -> None:
    """One of them names the account."""
    said = await ear.ask(f"ssd+{ACCOUNT}+{{}}")

    rows = {row["key"]: row for row in said["result"]}
    assert said["topic"] == f"ssd+{ACCOUNT}"
    assert rows["AccountCode"]["value"] == ACCOUNT
    assert set(rows["NetLiquidation"]) == {"key", "timestamp", "monetaryValue", "currency", "severity"}


async def test_keys_and_fields_choose_but_the_account_is_always_named(ear: Ear) -> None:
    """As are key and time."""
    asked = json.dumps({"keys": ["NetLiquidation"], "fields": ["monetaryValue", "value"]})

    rows = {row["key"]: row for row in (await ear.ask(f"ssd+{ACCOUNT}+{asked}"))["result"]}

    assert {key: set(row) for key, row in rows.items()} == {
        "NetLiquidation": {"key", "timestamp", "monetaryValue"},
        "AccountCode": {"key", "timestamp", "value"},
    }


async def test_a_ledger_comes_every_ten_seconds(ear: Ear, clock: ManualClock) -> None:
    """A currency that has not changed is its key and the time."""
    first = (await ear.ask(f"sld+{ACCOUNT}+{{}}"))["result"]

    [later] = await moved(ear, clock, 10)

    assert {row["key"]: row["acctCode"] for row in first} == dict.fromkeys(
        ("LedgerListUSD", "LedgerListEUR", "LedgerListBASE"), ACCOUNT
    )
    rows = {row["key"]: row for row in later["result"]}  # type: ignore[attr-defined]
    assert set(rows["LedgerListEUR"]) == {"key", "timestamp"}
    assert "netLiquidationValue" in rows["LedgerListUSD"]


async def test_a_ledger_of_one_currency(ear: Ear) -> None:
    """By its key."""
    said = await ear.ask(f'sld+{ACCOUNT}+{{"keys":["LedgerListUSD"],"fields":["cashbalance"]}}')

    [row] = said["result"]
    assert (row["key"], set(row)) == ("LedgerListUSD", {"key", "timestamp", "cashbalance"})
