"""Findings from what the running bridge says."""

from __future__ import annotations

from typing import Any

import pytest

from ibkr_bridge.cli.doctor.bridge_checks import LAYER_OF_CONDITION
from ibkr_bridge.cli.doctor.bridge_probe import BridgeAnswer
from ibkr_bridge.conditions.condition import KINDS
from tests.cli.doctor.healthy import broken, condition, healthy, only_broken, settings, status


def with_status(quote: dict[str, Any] | None = None, **members: Any) -> BridgeAnswer:
    """What a bridge says with these members in its status."""
    return BridgeAnswer(status(**members), quote=quote or {"kind": "live"})


def test_every_condition_has_its_layer() -> None:
    """Else the first broken layer would be named wrongly."""
    assert set(LAYER_OF_CONDITION) == set(KINDS)


@pytest.mark.parametrize("name", sorted(KINDS))
def test_each_condition_is_a_check_of_its_own(name: str) -> None:
    """With the words that every other surface has."""
    facts = healthy(bridge=with_status(conditions=[condition(name)]))

    assert only_broken(facts) == (LAYER_OF_CONDITION[name].value, name, f"the text of {name}")


def test_a_notice_is_shown_and_is_no_problem() -> None:
    """It ends by itself."""
    assert broken(healthy(bridge=with_status(conditions=[condition("maintenance", "notice")]))) == []


def test_a_condition_of_a_newer_bridge_is_shown_too() -> None:
    """Doctor may be older than the bridge for a moment."""
    facts = healthy(bridge=with_status(conditions=[condition("brand_new")]))

    assert only_broken(facts)[:2] == ("bridge", "brand_new")


@pytest.mark.parametrize("answer", [None, BridgeAnswer(None, "bridge_unreachable", "no bridge", "start it")])
def test_a_bridge_that_is_down_is_one_finding(answer: BridgeAnswer | None) -> None:
    """Of the session nothing is known then."""
    assert only_broken(healthy(bridge=answer))[:2] == ("bridge", "bridge")


def test_live_accounts_in_paper_mode_are_reported() -> None:
    """Every order would be refused."""
    facts = healthy(bridge=with_status(accounts=[{"account": "U*****67", "kind": "live"}]))

    assert only_broken(facts)[:2] == ("accounts", "accounts")


def test_an_allowed_account_that_the_login_does_not_have_is_reported() -> None:
    """Masked."""
    facts = healthy(settings=settings(IBKR_ALLOWED_ACCOUNTS="DU7654399"))

    layer, _, found = only_broken(facts)

    assert layer == "accounts"
    assert "DU*****99" in found
    assert "DU7654399" not in found


@pytest.mark.parametrize("kind", ["delayed", "none"])
def test_a_user_without_market_data_is_reported(kind: str) -> None:
    """Prices are late or missing in every app."""
    assert only_broken(healthy(bridge=with_status({"kind": kind})))[:2] == ("data", "quotes")


@pytest.mark.parametrize("kind", ["live", "frozen", "closed"])
def test_a_closed_market_is_no_missing_permission(kind: str) -> None:
    """At night there is no live quote."""
    assert broken(healthy(bridge=with_status({"kind": kind}))) == []


def test_a_quote_that_failed_is_reported_with_its_error() -> None:
    """In the bridge's words."""
    facts = healthy(bridge=BridgeAnswer(status(), quote_error="the bridge refused (rate_limited): wait"))

    assert "rate_limited" in only_broken(facts)[2]


def test_a_mode_that_was_changed_without_a_restart_is_reported() -> None:
    """Even if nobody has reloaded, so that the bridge itself does not know."""
    facts = healthy(settings=settings(IBKR_TRADING_MODE="live"))

    assert only_broken(facts)[:2] == ("settings", "mode")
