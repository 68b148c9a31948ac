"""What all shapes of the plain API promise."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from datetime import UTC, datetime
from decimal import Decimal

import msgspec
import pytest

from ibkr_bridge import models
from ibkr_bridge.models.accounts import CashBalance
from ibkr_bridge.models.base import Model, encode_shape
from ibkr_bridge.models.orders import OrderChange, OrderTicket
from ibkr_bridge.models.quotes import Bar

MODULES = [importlib.import_module(f"{models.__name__}.{each.name}") for each in pkgutil.iter_modules(models.__path__)]
SHAPES = sorted(
    {
        shape
        for module in MODULES
        for _, shape in inspect.getmembers(module, inspect.isclass)
        if issubclass(shape, Model)
    },
    key=lambda shape: shape.__name__,
)
REQUESTS = {
    "OrderTicket",
    "OrderChange",
    "QuestionAnswer",
    "Bracket",
    "Trail",
    "TokenOptions",
    "NewProfile",
    "NewProfileKey",
    "CredentialMembers",
    "NewConnection",
    "ReturnedVerifier",
    "ConsumerMembers",
}
OLDER = {"AuthStatus"}
"""Answers that are older than this promise: monitors compare them byte for byte."""


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.__name__)
def test_a_member_of_an_answer_is_never_missing(shape: type[Model]) -> None:
    """What has a default could be left out by a program that builds an answer; only requests may leave out members."""
    optional = [field.name for field in msgspec.structs.fields(shape) if not field.required]

    assert not optional or shape.__name__ in REQUESTS | OLDER


def test_an_unknown_value_is_null() -> None:
    """An app can then tell "IBKR does not know" from a misspelt name."""
    assert msgspec.json.encode(CashBalance("USD", None, None, None)) == (
        b'{"currency":"USD","cash":null,"settled_cash":null,"exchange_rate":null}'
    )


def test_money_is_text_and_time_is_utc() -> None:
    """A float would lose cents, and a time without a zone would mean another hour elsewhere."""
    price = Decimal("0.10")
    bar = Bar(datetime(2026, 11, 30, 14, 30, tzinfo=UTC), price, price, price, price, None)

    assert msgspec.json.decode(msgspec.json.encode(bar)) == {
        "start": "2026-11-30T14:30:00Z",
        "open": "0.10",
        "high": "0.10",
        "low": "0.10",
        "close": "0.10",
        "volume": None,
    }


def test_money_may_be_sent_as_text_or_as_a_number() -> None:
    """A number keeps its digits: it never becomes a float."""
    sent = b'{"side":"buy","type":"limit","quantity":10,"limit_price":190.10}'
    ticket = msgspec.json.decode(sent, type=OrderTicket)

    assert (ticket.quantity, str(ticket.limit_price)) == (Decimal(10), "190.10")


def test_a_misspelt_member_is_refused() -> None:
    """An order without the limit that its sender meant to set must not be placed."""
    with pytest.raises(msgspec.ValidationError, match="limit_prise"):
        msgspec.json.decode(b'{"limit_prise":"190.10"}', type=OrderChange)


def test_a_member_that_a_newer_bridge_adds_is_ignored() -> None:
    """An older client must not fail because its bridge knows more."""
    sent = b'{"currency":"USD","cash":null,"settled_cash":null,"exchange_rate":null,"interest":"1"}'

    assert msgspec.json.decode(sent, type=CashBalance).currency == "USD"


@pytest.mark.parametrize("name", sorted(REQUESTS))
def test_only_requests_refuse_unknown_members(name: str) -> None:
    """What a caller sends must be understood completely."""
    strict = {shape.__name__ for shape in SHAPES if shape.__struct_config__.forbid_unknown_fields}

    assert strict - {"RequestModel"} == REQUESTS
    assert name in strict


def test_half_a_character_is_written_as_a_mark() -> None:
    """UTF-8 has no form for it, and IBKR's JSON may have one."""
    assert encode_shape({"texts": ["cut \ud83d", "whole"], "number": None}) == (
        '{"texts":["cut \ufffd","whole"],"number":null}'.encode()
    )
